"""The page `schema.md`, written from the schema: statuses, noise flags and columns with their meaning."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.errors import Status
from benchmark.store import schema


def markdown() -> str:
    """Text of `schema.md`: every status and flag, then every column, by section."""
    required = ", ".join(f"`{name}`" for name in schema.REQUIRED)
    lines = [
        "<!-- Generated: make schema -->",
        "# The row",
        "",
        f"Version {schema.SCHEMA_VERSION}. A column keeps its name and type for ever; a new column is",
        f"nullable, and rows written before it read as null. Never null: {required}.",
        "",
        "| `status` | meaning |",
        "| --- | --- |",
        *(f"| `{status}` | {meaning} |" for status, meaning in STATUSES.items()),
    ]
    lines += ["", "| entry of `noise_flags` | meaning |", "| --- | --- |"]
    lines += [f"| `{flag}` | {meaning} |" for flag, meaning in NOISE_FLAGS.items()]
    for section in dict.fromkeys(column.section for column in schema.COLUMNS):
        lines += ["", f"## {section}", "", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{column.name}` | `{schema.TYPE_WORDS[column.type]}` | {column.unit} | {column.meaning} |"
            for column in schema.COLUMNS
            if column.section == section
        ]
    return "\n".join(lines) + "\n"


STATUSES: Mapping[Status, str] = {
    "ok": "measured, and the answers agree with the reference",
    "compile_error": "the compiler gave up",
    "unsupported_op": "the compiler does not know an operator of the model",
    "fallback": "ran, but not on the device that was asked for",
    "oom_host": "the host's memory, or the limit set for a child, was not enough",
    "oom_device": "the device's memory was not enough",
    "timeout": "a child ran past its limit and was stopped",
    "crashed": "a child raised, aborted or was killed",
    "accuracy_fail": "the compiled model does not compute what the fp32 reference does",
    "incompatible": "this combination can never work",
    "unavailable": "this host lacks the device, the library, the weights or the data",
    "dominated": "not tried: a smaller batch or length of the same cell already ran out of memory",
    "interrupted": "stopped from outside",
}


NOISE_FLAGS: Mapping[str, str] = {
    "contended": "threads queued for a core: they had less than `sampling.least_on_cpu` of what they wanted",
    "preempted": "threads had to leave their core more than 100 times a second",
    "stolen": "other virtual machines took more than 1 % of the host's CPU time",
    "busy_host": "other processes used more than a quarter of a core",
    "quota": "the control group's CPU quota ran out",
    "throttled": "heat or power kept the device's clock down",
    "slowed": "the device's clock fell by more than 5 %",
    "shared_device": "other processes used the device",
    "device_errors": "the device's driver counted errors, see `device_errors`",
}

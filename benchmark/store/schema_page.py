"""The page `schema.md`: every status and flag, then every column, by section."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from benchmark.store.schema import COLUMNS, NOISE_FLAGS, REQUIRED, SCHEMA_VERSION, STATUSES, VERIFY_FLAGS

TYPE_WORDS: Final = {
    pa.string(): "string",
    pa.int64(): "int64",
    pa.float64(): "double",
    pa.bool_(): "bool",
    pa.timestamp("us", tz="UTC"): "timestamp[us, UTC]",
    pa.list_(pa.string()): "list<string>",
    pa.list_(pa.int64()): "list<int64>",
    pa.list_(pa.float64()): "list<double>",
    pa.map_(pa.string(), pa.string()): "map<string, string>",
    pa.map_(pa.string(), pa.float64()): "map<string, double>",
}
"""How `schema.md` spells a type: arrow's own spelling differs between its versions."""


def markdown() -> str:
    """Text of `schema.md`: every status and flag, then every column, by section."""
    required = ", ".join(f"`{name}`" for name in REQUIRED)
    lines = [
        "<!-- Generated: make schema -->",
        "# The row",
        "",
        f"Version {SCHEMA_VERSION}. A column keeps its name and type for ever; a new column is",
        f"nullable, and rows written before it read as null. Never null: {required}.",
        "",
        "| `status` | meaning |",
        "| --- | --- |",
        *(f"| `{status}` | {meaning} |" for status, meaning in STATUSES.items()),
    ]
    lines += ["", "| entry of `noise_flags` | meaning |", "| --- | --- |"]
    lines += [f"| `{flag}` | {meaning} |" for flag, meaning in NOISE_FLAGS.items()]
    lines += ["", "| entry of `verify_flags` | meaning |", "| --- | --- |"]
    lines += [f"| `{flag}` | {meaning} |" for flag, meaning in VERIFY_FLAGS.items()]
    for section in dict.fromkeys(column.section for column in COLUMNS):
        lines += ["", f"## {section}", "", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{column.name}` | `{TYPE_WORDS[column.type]}` | {column.unit} | {column.meaning} |"
            for column in COLUMNS
            if column.section == section
        ]
    return "\n".join(lines) + "\n"

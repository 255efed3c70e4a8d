"""Read the Neuron tools: devices and their processes from `neuron-ls`, counters from `neuron-monitor`.

Keys are those of the user guides (aws-neuron-sdk 81ce03ae, 2026-08-21, tools/neuron-sys-tools: neuron-ls.rst,
neuron-monitor-user-guide.rst): latencies in seconds, utilisation in percent, errors counted over the period
of a report. The tools have not run here yet; output that differs is refused, and the message names the key.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from benchmark.host import machine
from benchmark.records import frozen

T = TypeVar("T")

FOLDER: Final = Path("/opt/aws/neuron/bin")
"""Folder of aws-neuronx-tools; on a DLAMI it is in PATH too."""
_TYPE_NAMES: Final[Mapping[type, str]] = {
    dict: "a mapping",
    list: "a list",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


class Unreadable(ValueError):
    """A tool did not run, or its output differs from its user guide; the message says which."""


class NotInstalled(Unreadable):
    """The tool isn't on this host."""


@frozen
class NeuronProcess:
    """A process that holds a device."""

    pid: NonNegativeInt
    command: str


@frozen
class NeuronDevice:
    """A chip, as `neuron-ls -j` lists it."""

    index: NonNegativeInt
    cores: tuple[NonNegativeInt, ...]
    """Its logical NeuronCores, numbered as in NEURON_RT_VISIBLE_CORES."""
    lnc: PositiveInt
    """Physical cores per logical core."""
    memory_bytes: NonNegativeInt
    processes: tuple[NeuronProcess, ...]


@frozen
class Runtime:
    """A process that computes on Neuron devices, over one period; values that weren't reported are null."""

    pid: NonNegativeInt
    tag: str
    memory_bytes: NonNegativeInt | None
    """Memory of the devices that it holds."""
    utilisation: NonNegativeFloat | None
    """Mean over the cores in use, as a share."""
    latency_p50_s: NonNegativeFloat | None
    """Median latency of its executions by the device's clock; null if it executed nothing."""
    errors: tuple[str, ...]
    """Kinds of errors that occurred, by the monitor's names."""


@frozen
class MonitorReport:
    """One report of `neuron-monitor`, made at the end of a period."""

    runtimes: tuple[Runtime, ...]
    complaints: tuple[str, ...] = ()
    """Parts that could not be read here, or not be collected by the monitor."""


def devices(text: str) -> tuple[NeuronDevice, ...]:
    """Parse the output of `neuron-ls -j`.

    Raises:
        Unreadable: the message names the key that is missing or has another type.
    """
    listed = _of_type(_loaded(text, "neuron-ls"), list, "neuron-ls: the whole")
    return tuple(_device(one, f"neuron-ls: device {place}") for place, one in enumerate(listed))


def _device(raw: Any, where: str) -> NeuronDevice:
    index, count = _key(raw, "neuron_device", int, where), _key(raw, "nc_count", int, where)
    # Tools before SDK 2.25 list no ids: number the cores across the devices.
    numbered = raw.get("neuroncore_ids") is not None
    ids = _key(raw, "neuroncore_ids", list, where) if numbered else range(index * count, (index + 1) * count)
    listed = _key(raw, "neuron_processes", list, where) if raw.get("neuron_processes") is not None else []
    configured = raw.get("logical_neuroncore_config") is not None
    return NeuronDevice(
        index=index,
        cores=tuple(_of_type(one, int, f"{where}: neuroncore_ids") for one in ids),
        lnc=_key(raw, "logical_neuroncore_config", int, where) if configured else 1,
        memory_bytes=_key(raw, "memory_size", int, where),
        processes=tuple(
            NeuronProcess(
                pid=_key(one, "pid", int, f"{where}: neuron_processes"),
                command=_key(one, "command", str, f"{where}: neuron_processes"),
            )
            for one in listed
        ),
    )


def report(text: str) -> MonitorReport:
    """Parse one report of `neuron-monitor`. Values of a group that can't be read are null.

    Raises:
        Unreadable: it is no report, or doesn't name the process of its counters.
    """
    where = "neuron-monitor"
    listed = _key(_loaded(text, where), "neuron_runtime_data", list, where)
    complaints: list[str] = []
    runtimes = tuple(
        _runtime(one, f"{where}: neuron_runtime_data[{place}]", complaints)
        for place, one in enumerate(listed or ())
    )
    return MonitorReport(runtimes=runtimes, complaints=tuple(complaints))


def _runtime(raw: Any, where: str, complaints: list[str]) -> Runtime:
    pid, tag = _key(raw, "pid", int, where), _key(raw, "neuron_runtime_tag", str, where)
    if failed := raw.get("error"):
        complaints.append(f"{where}: {failed}")
    groups = _key(raw, "report", dict, where)

    def group_of(group: str, read: Callable[[Any, str], T]) -> T | None:
        try:
            return read(_group(groups, group, where), f"{where}.{group}")
        except Unreadable as error:
            complaints.append(str(error))
            return None

    latency, errors = group_of("execution_stats", _executions) or (None, ())
    return Runtime(
        pid=pid,
        tag=tag,
        memory_bytes=group_of("memory_used", _memory),
        utilisation=group_of("neuroncore_counters", _utilisation),
        latency_p50_s=latency,
        errors=errors,
    )


def _group(groups: Any, name: str, where: str) -> Any:
    group = _key(groups, name, dict, where)
    if failed := group.get("error"):
        raise Unreadable(f"{where}.{name}: {failed}")
    return group


def _memory(group: Any, where: str) -> int:
    used = _key(group, "neuron_runtime_used_bytes", dict, where)
    return _key(used, "neuron_device", int, f"{where}.neuron_runtime_used_bytes")


def _utilisation(group: Any, where: str) -> float | None:
    cores = _key(group, "neuroncores_in_use", dict, where)
    percents = [
        _key(core, "neuroncore_utilization", float, f"{where}.{name}") for name, core in cores.items()
    ]
    return sum(percents) / len(percents) / 100 if percents else None


def _executions(group: Any, where: str) -> tuple[float | None, tuple[str, ...]]:
    latencies = _key(group, "latency_stats", dict, where)
    if "device_latency" not in latencies:
        raise Unreadable(f"{where}.latency_stats: lacks device_latency")
    latency = latencies["device_latency"]  # null if nothing was executed
    p50 = None if latency is None else _key(latency, "p50", float, f"{where}.device_latency")
    counts = {
        **_key(group, "error_summary", dict, where),
        **{k: v for k, v in _key(group, "execution_summary", dict, where).items() if k != "completed"},
    }
    return p50, tuple(sorted(name for name, count in counts.items() if count))


def _loaded(text: str, tool: str) -> Any:
    if not text.strip():
        raise Unreadable(f"{tool} printed nothing")
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unreadable(f"{tool} printed no complete JSON ({error}): …{text.strip()[-40:]!r}") from error


def _key(raw: Any, key: str, kind: type[T], where: str) -> T:
    found = _of_type(raw, dict, where)
    if key not in found:
        raise Unreadable(f"{where}: lacks {key}")
    return _of_type(found[key], kind, f"{where}: {key}")


def _of_type(found: Any, kind: type[T], where: str) -> T:
    if not isinstance(found, (int, float) if kind is float else kind) or isinstance(found, bool):
        raise Unreadable(f"{where} should be {_TYPE_NAMES[kind]}, got {json.dumps(found)[:60]}")
    if isinstance(found, (int, float)) and found < 0:
        raise Unreadable(f"{where} should not be negative, got {found}")
    return found  # type: ignore[return-value]  # an int where a float is expected


def ls(timeout_s: float = 5.0) -> tuple[NeuronDevice, ...]:
    """List devices and the processes that hold them, by `neuron-ls`.

    Raises:
        NotInstalled: the tool isn't on this host.
        Unreadable: it failed, hung, or its output differs.
    """
    command = [located("neuron-ls"), "-j"]
    try:
        done = subprocess.run(  # noqa: S603 - a tool of the host
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(f"neuron-ls gave no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise Unreadable(f"neuron-ls can't be started: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise Unreadable(f"neuron-ls ended with exit code {done.returncode}: {said[0][:200]}")
    return devices(done.stdout)


def located(tool: str) -> str:
    """Path of a tool.

    Raises:
        NotInstalled: the message has the command that installs it.
    """
    found = shutil.which(tool) or shutil.which(str(FOLDER / tool))
    if found is None:
        raise NotInstalled(f"{tool} is not installed: sudo apt-get install aws-neuronx-tools")
    return found


def foreign(pid: int) -> bool:
    """Whether a process is neither this one nor forked by it, nor by the server that forked this one.

    Children of the same server don't count as foreign: they are timed one at a time. In a container the
    driver's process ids are those of the host and mean nothing, so none is called foreign.
    """
    if not machine.has_host_pids():
        return False
    server, here = os.getppid(), os.getpid()
    ours = {here} | ({server} if server > 1 else set())
    try:
        above = {parent.pid for parent in psutil.Process(pid).parents()}
    except psutil.Error:  # ended, or in a container of its own
        above = set()
    return not ours & (above | {pid})


def others(timeout_s: float = 5.0) -> int | None:
    """Number of foreign processes that hold devices; None in containers, and where `neuron-ls` fails."""
    if not machine.has_host_pids():
        return None
    with suppress(Unreadable):
        held = {process.pid for device in ls(timeout_s) for process in device.processes}
        return sum(map(foreign, held))
    return None

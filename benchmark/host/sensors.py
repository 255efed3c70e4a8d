"""Noise of this host at the moment: small readings of /sys and /proc, for rows and for `doctor --quiet`.

Each costs tens of microseconds, one of each CPU some five for each CPU that this process may use: a measuring
child can afford one before and one after its calls. None (or empty) means that it can't be read, as often in
virtual machines and containers. `root` is the folder of /sys and /proc.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = "/"

_CPUS = "sys/devices/system/cpu"
_MOST_BYTES = 4096
"""A file of /sys is no longer; of a file of /proc only the beginning is needed."""
_CPU_ZONES = ("x86_pkg_temp", "cpu", "soc")
_CPU_SENSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})


class Ticks(NamedTuple):
    """Time of all CPUs since the host started, in ticks of the kernel; differences of two readings matter."""

    total: int
    idle: int
    """Waiting for disks counted in."""
    steal: int
    """Needed by this virtual machine, but given to another."""


class Throttling(NamedTuple):
    """How often the CPU quota of a control group was used up so far."""

    periods: int
    """In which anything ran."""
    throttled: int
    """Of these, in which the quota ran out and everything stood still."""


def governor(root: str = ROOT) -> str | None:
    """The frequency governor of the CPUs this process may use; several are joined by commas."""
    found = sorted({name for name in _each_cpu("cpufreq/scaling_governor", root) if name})
    return ",".join(found) or None


def boost(root: str = ROOT) -> bool | None:
    """Whether the clock may rise above its nominal rate for as long as heat and power allow."""
    no_turbo = _number(f"{root}/{_CPUS}/intel_pstate/no_turbo")
    if no_turbo is not None:
        return not no_turbo
    allowed = _number(f"{root}/{_CPUS}/cpufreq/boost")
    return None if allowed is None else bool(allowed)


def frequency_mhz(root: str = ROOT) -> tuple[float, ...]:
    """The clock of each CPU this process may use; empty without cpufreq.

    /proc/cpuinfo has only the nominal rate then, which is no measurement.
    """
    return tuple(int(khz) / 1000 for khz in _each_cpu("cpufreq/scaling_cur_freq", root) if khz.isdigit())


def temperature_c(root: str = ROOT) -> float | None:
    """The hottest sensor of the CPU in degrees Celsius."""
    found = [milli / 1000 for path in _sensors(root) if (milli := _number(path)) is not None]
    return max(found, default=None)


def throttle_count(root: str = ROOT) -> int | None:
    """How often heat slowed the CPUs this process may use; only that it grew matters (Intel alone counts)."""
    kinds = ("core", "package")
    found = [
        int(count)
        for kind in kinds
        for count in _each_cpu(f"thermal_throttle/{kind}_throttle_count", root)
        if count.isdigit()
    ]
    return sum(found) if found else None


def load_average(root: str = ROOT) -> float | None:
    """Tasks that ran, wanted to run or waited for a disk: mean of the last minute, this process counted."""
    return _real(head(f"{root}/proc/loadavg").partition(" ")[0])


def cpu_pressure(root: str = ROOT) -> float | None:
    """Percent of the last ten seconds in which some task waited for a CPU."""
    _, found, rest = head(f"{root}/proc/pressure/cpu").partition("some avg10=")
    return _real(rest.partition(" ")[0]) if found else None


def cpu_ticks(root: str = ROOT) -> Ticks | None:
    """All CPUs' time since the host started."""
    name, *counts = head(f"{root}/proc/stat").partition("\n")[0].split()[:9] or [""]
    if name != "cpu" or len(counts) < 8:  # noqa: PLR2004 - user nice system idle iowait irq softirq steal
        return None
    ticks = [int(count) for count in counts]
    return Ticks(total=sum(ticks), idle=ticks[3] + ticks[4], steal=ticks[7])


def throttling(root: str = ROOT) -> Throttling | None:
    """How often the CPU quota of this process was used up so far; None if no quota is counted."""
    for folder in cgroups(root):
        words = head(f"{folder}/cpu.stat").split()
        counts = dict(zip(words[::2], words[1::2], strict=False))
        if "nr_periods" in counts and "nr_throttled" in counts:
            return Throttling(periods=int(counts["nr_periods"]), throttled=int(counts["nr_throttled"]))
    return None


def cpu_quota(root: str = ROOT) -> float | None:
    """CPUs that the control groups around this process grant it; None where they set no limit."""
    shares = []
    for folder in cgroups(root):
        limit = head(f"{folder}/cpu.max") or head(f"{folder}/cpu.cfs_quota_us") + head(
            f"{folder}/cpu.cfs_period_us"
        )
        quota, period = (*map(_real, limit.split()), None, None)[:2]
        if quota and period and quota > 0:  # no limit is spelled `max`, or -1 by the first version
            shares.append(quota / period)
    return min(shares, default=None)


def first_threads(root: str = ROOT) -> tuple[int, ...]:
    """One CPU of each core that this process may use: the first of its threads."""
    firsts: dict[str, int] = {}
    for cpu, siblings in zip(_allowed(), _each_cpu("topology/thread_siblings_list", root), strict=True):
        firsts.setdefault(siblings or str(cpu), cpu)
    return tuple(firsts.values())


def head(path: str) -> str:
    """The first page of a file, empty where it can't be read; a third of the time of `Path.read_text`."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(file, _MOST_BYTES).decode(errors="replace")
    except OSError:  # a sensor that is asleep says EAGAIN or ENODATA
        return ""
    finally:
        os.close(file)


@lru_cache(maxsize=8)
def cgroups(root: str = ROOT) -> tuple[str, ...]:
    """Folders of the control groups that bound this process's CPU, its own first, then what is around it."""
    return tuple(_cgroups(root))


def _cgroups(root: str) -> Iterator[str]:
    mount = Path(root, "sys/fs/cgroup")
    for line in head(f"{root}/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        own = Path(path.lstrip("/"))
        for folder in (own, *own.parents):
            for top in (mount, mount / "cpu") if controllers else (mount,):
                if (top / folder / "cpu.stat").exists():
                    yield str(top / folder)


@lru_cache(maxsize=8)
def _sensors(root: str) -> tuple[str, ...]:
    """Files with the CPU's temperatures: where they stand never changes while a host runs."""
    zones = [
        str(zone / "temp")
        for zone in sorted(Path(root, "sys/class/thermal").glob("thermal_zone*"))
        if head(f"{zone}/type").lower().startswith(_CPU_ZONES)
    ]
    chips = [
        str(sensor)
        for chip in sorted(Path(root, "sys/class/hwmon").glob("hwmon*"))
        if head(f"{chip}/name").strip() in _CPU_SENSORS
        for sensor in sorted(chip.glob("temp*_input"))
    ]
    return tuple(zones or chips)


def _each_cpu(file: str, root: str) -> Iterator[str]:
    """A file of each CPU this process may use; empty where it can't be read."""
    for cpu in _allowed():
        yield head(f"{root}/{_CPUS}/cpu{cpu}/{file}").strip()


def _allowed() -> Sequence[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ()  # else it is no Linux


def _number(path: str) -> int | None:
    text = head(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _real(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

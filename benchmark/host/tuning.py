"""Settings and load that make measurements noisy, and commands that change them: for `doctor --quiet`.

Nothing is changed here. What can't be read is reported as unknown, never guessed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmark.host import machine, sensors
from benchmark.records import frozen

UNREADABLE: Final = "can't be read here"

_CPUS = "/sys/devices/system/cpu"
_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
_CLOCKS = "/sys/devices/system/clocksource/clocksource0"
_FAST_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page")
"""Read without a system call; the better one first."""
_BUSY = 0.03
"""Share of all CPUs in use beyond which a measuring process may not get 97 % of its own."""
_WAITING_PERCENT, _STOLEN, _HOT_C, _VISIBLE_PERCENT = 1.0, 0.02, 85.0, 2.0


@frozen
class Probe:
    """One condition that affects noise."""

    name: str
    found: str
    good: bool | None
    """None if it can't be read, or if only the user can judge it."""
    advice: str = ""
    """A command on the first line, its benefit and cost on the second; empty if there is nothing to do."""


class Busy(NamedTuple):
    """A process that used a CPU just now."""

    name: str
    pid: int
    percent: float
    """Of one CPU."""


def look(root: str = sensors.ROOT, seconds: float = 0.5) -> tuple[Probe, ...]:
    """Every probe, the most important first; watches the host for so many seconds."""
    processes = list(psutil.process_iter(["name"]))
    list(_busy(processes))  # psutil counts from one call to the next
    before = sensors.cpu_ticks(root)
    time.sleep(seconds)
    after = sensors.cpu_ticks(root)
    busiest = sorted(_busy(processes), key=lambda one: -one.percent)
    return (
        load(before, after, sensors.load_average(root), busiest),
        pressure(root),
        steal(before, after),
        quota(root),
        governor(root),
        boost(root),
        heat(root),
        hyper_threads(root),
        swap(root),
        huge_pages(root),
        clock(root),
        isolation(root),
        interrupts({process.info["name"] for process in processes}),
        settings(machine.speed_settings()),
        power(root),
        gpu(root),
    )


def load(
    before: sensors.Ticks | None, after: sensors.Ticks | None, average: float | None, busiest: Sequence[Busy]
) -> Probe:
    """Share of all CPUs in use between two readings, and the processes that used it."""
    busy = None if (idle := _share("idle", before, after)) is None else 1 - idle
    named = [one for one in busiest[:3] if one.percent >= _VISIBLE_PERCENT]
    names = "".join(f", {one.name} {one.percent:.0f} %" for one in named)
    mean = "" if average is None else f"; {average:.2f} tasks, mean of a minute"
    if named and os.cpu_count() != 1:
        command = f"taskset -a -cp 0 {named[0].pid}"
        effect = (
            f"Keeps {named[0].name} on CPU 0; give the run the others by hardware.affinity=[1,…], or wait."
        )
    else:
        command, effect = (
            "uptime",
            "Wait, or ask the administrator of this host: the load can't be moved from here.",
        )
    return _judged(
        "load",
        "" if busy is None else f"{busy:.0%} of all CPUs busy{names}{mean}",
        good=busy is not None and busy <= _BUSY,
        advice=f"{command}\n{effect} Nothing disturbs more than other processes.",
    )


def pressure(root: str) -> Probe:
    """Time in which some task waited for a CPU."""
    waited = sensors.cpu_pressure(root)
    return _judged(
        "waiting",
        "" if waited is None else f"some task for a CPU in {waited:.1f} % of the last 10 s",
        good=waited is not None and waited <= _WAITING_PERCENT,
        advice="cat /proc/pressure/cpu\nMore tasks want to run than there are CPUs: wait until avg10 is "
        "below 1.",
    )


def steal(before: sensors.Ticks | None, after: sensors.Ticks | None) -> Probe:
    """Time that the hypervisor gave to another virtual machine."""
    now = _share("steal", before, after)
    return _judged(
        "steal",
        "" if now is None or after is None else f"{now:.1%} now, {after.steal / after.total:.2%} since start",
        good=now is not None and now < _STOLEN,
        advice="grep -m1 cpu /proc/stat\nOther virtual machines take CPU time (the 8th figure), and "
        "nothing here can stop them: take a dedicated or a metal instance, or another hour.",
    )


def quota(root: str) -> Probe:
    """CPU time granted to a container: when it is used up, all stands still until the next period."""
    cpus, counted = sensors.cpu_quota(root), sensors.throttling(root)
    spent = (
        f", spent in {counted.throttled} of {counted.periods} periods" if counted and counted.periods else ""
    )
    return _judged(
        "CPU quota",
        f"{'none' if cpus is None else f'{cpus:g} CPUs'}{spent}" if sensors.cgroups(root) else "",
        good=cpus is None,
        advice=f"{machine.program()} hardware.threads={max(1, int(cpus or 0))} …\nMore threads than that "
        "stand still for up to 0.1 s, which p95 and p99 show. Better none: docker without --cpus, pods "
        "without limits.cpu.",
    )


def governor(root: str) -> Probe:
    """The policy that sets the clock, and how fast the clock follows the load."""
    name = sensors.governor(root)
    return _judged(
        "governor",
        name or "",
        good=name == "performance",
        advice="sudo cpupower frequency-set -g performance\nSpares the first calls the time that the "
        "clock takes to rise; costs power while idle.",
    )


def boost(root: str) -> Probe:
    """Clocks above the nominal one last as long as heat and neighbours allow."""
    on = sensors.boost(root)
    intel = Path(f"{root}{_CPUS}/intel_pstate/no_turbo").exists()
    file, off = ("intel_pstate/no_turbo", 1) if intel else ("cpufreq/boost", 0)
    return _judged(
        "boost",
        "" if on is None else "on" if on else "off",
        good=on is False,
        advice=f"echo {off} | sudo tee {_CPUS}/{file}\nThe same clock cold and hot, alone and in company; "
        "costs peak speed, so don't compare such rows with others.",
    )


def heat(root: str) -> Probe:
    """Heat lowers the clock."""
    hot, slowed = sensors.temperature_c(root), sensors.throttle_count(root)
    readings = [] if hot is None else [f"{hot:.0f} °C"]
    readings += [] if slowed is None else [f"slowed {slowed} times since start"]
    return _judged(
        "heat",
        ", ".join(readings),
        good=(hot or 0.0) < _HOT_C and not slowed,
        advice=f"grep . {_CPUS}/cpu*/thermal_throttle/*_count\nIf these rise during a run, its clock fell: "
        "let the host cool, look after its fans, or turn boost off.",
    )


def hyper_threads(root: str) -> Probe:
    """Two threads of one core share its units: how fast one is depends on what the other does."""
    state = sensors.head(f"{root}{_CPUS}/smt/control").strip()
    return _judged(
        "SMT",
        state,
        good=state != "on",
        advice=f"{machine.program()} hardware.affinity=[{','.join(map(str, sensors.first_threads(root)))}] "
        "…\nOne thread a core, whose other thread stays idle unless another process uses it: `echo off | "
        f"sudo tee {_CPUS}/smt/control` prevents that, at the cost of everyone's throughput.",
    )


def swap(root: str) -> Probe:
    """Memory that was moved to a disk is read back in the middle of a call."""
    lines = (line.split() for line in sensors.head(f"{root}/proc/meminfo").splitlines())
    kib = {words[0]: int(words[1]) for words in lines if len(words) > 1}
    used = (kib.get("SwapTotal:", 0) - kib.get("SwapFree:", 0)) / 1024
    return _judged(
        "swap",
        f"{used:.0f} MiB in use" if "SwapTotal:" in kib else "",
        good=used == 0,
        advice="sudo swapoff -a\nBrings everything back into memory; processes are killed if that isn't "
        "enough.",
    )


def huge_pages(root: str) -> Probe:
    """If every process may get them, some do and some don't: processes then differ."""
    chosen = sensors.head(f"{root}{_HUGE_PAGES}").partition("[")[2].partition("]")[0]
    return _judged(
        "huge pages",
        chosen,
        good=chosen != "always",
        advice=f"echo madvise | sudo tee {_HUGE_PAGES}\nOnly programs that ask get them, so processes differ "
        "less; large tensors may get slower, so don't compare such rows with others.",
    )


def clock(root: str) -> Probe:
    """Cost of reading the clock."""
    name = sensors.head(f"{root}{_CLOCKS}/current_clocksource").strip()
    offered = sensors.head(f"{root}{_CLOCKS}/available_clocksource").split()
    better = next((one for one in _FAST_CLOCKS if one in offered), None)
    command = (
        f"echo {better} | sudo tee {_CLOCKS}/current_clocksource" if better else f"grep . {_CLOCKS}/*source"
    )
    return _judged(
        "clock",
        name,
        good=name in _FAST_CLOCKS,
        advice=f"{command}\nEach reading of {name} calls the kernel: a microsecond or more on every timed "
        "call.",
    )


def isolation(root: str) -> Probe:
    """CPUs that the scheduler leaves alone."""
    cpus = sensors.head(f"{root}{_CPUS}/isolated").strip()
    found = f"CPUs {cpus}: give them by hardware.affinity=[…]" if cpus else "no CPUs"
    return _judged(
        "isolated", found if Path(f"{root}{_CPUS}/isolated").exists() else "", good=True if cpus else None
    )


def interrupts(names: Collection[str]) -> Probe:
    """Whether a process moves interrupts between CPUs."""
    running = "irqbalance" in names
    return _judged(
        "irqbalance",
        "running" if running else "not seen",
        good=not running,
        advice="sudo systemctl stop irqbalance\nInterrupts stay on their CPUs instead of moving every ten "
        "seconds; a busy disk or network may get slower. Start it again afterwards.",
    )


def settings(found: Mapping[str, str]) -> Probe:
    """Environment variables that change speed; all but one are the user's choice, and rows keep them."""
    return _judged(
        "environment",
        " ".join(f"{name}={value}" for name, value in found.items()) or "nothing set",
        good="OMP_WAIT_POLICY" not in found,
        advice="unset OMP_WAIT_POLICY\nThen threads spin for a while before they sleep: passive made a "
        "tiny BERT 2.6 times slower on a quiet host, active is far worse beside a busy neighbour.",
    )


def power(root: str) -> Probe:
    """Whether the firmware saves a battery."""
    supplies = Path(f"{root}/sys/class/power_supply")
    discharging = any(sensors.head(str(one)).strip() == "Discharging" for one in supplies.glob("*/status"))
    return _judged(
        "power",
        ("battery" if discharging else "no battery in use") if supplies.is_dir() else "",
        good=not discharging,
        advice="cat /sys/class/power_supply/*/status\nPlug it in: on battery the firmware lowers clocks "
        "as it likes.",
    )


def gpu(root: str) -> Probe:
    """No file has the clocks and persistence mode of an NVIDIA GPU."""
    version = sensors.head(f"{root}/sys/module/nvidia/version").strip()
    advice = (
        "nvidia-smi -q -d CLOCK,PERFORMANCE\nShows them. `sudo nvidia-smi -pm 1` keeps the driver loaded "
        "between runs, `sudo nvidia-smi -lgc MHZ` holds one clock (-rgc lets go); costs peak speed."
    )
    found = f"driver {version}; its clocks stand in no file" if version else "no driver"
    return _judged("NVIDIA GPU", found, good=None, advice=advice if version else "")


def _judged(name: str, found: str, *, good: bool | None, advice: str = "") -> Probe:
    """A good probe needs no advice; one that wasn't read can't be judged."""
    if not found:
        return Probe(name=name, found=UNREADABLE, good=None)
    return Probe(name=name, found=found, good=good, advice="" if good else advice)


def _share(kind: str, before: sensors.Ticks | None, after: sensors.Ticks | None) -> float | None:
    """Share of this kind in all CPUs' time between two readings."""
    if before is None or after is None or after.total == before.total:
        return None
    return float(getattr(after, kind) - getattr(before, kind)) / (after.total - before.total)


def _busy(processes: Sequence[psutil.Process]) -> Iterator[Busy]:
    """Use of a CPU by each process but this one since the last call."""
    for process in processes:
        with suppress(psutil.Error):
            if process.pid != os.getpid():
                percent = process.cpu_percent()
                yield Busy(name=process.info["name"], pid=process.pid, percent=percent)

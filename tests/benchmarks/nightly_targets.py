"""What the nightly detector finds, misses and spends in simulated worlds: one line a world.

python tests/benchmarks/nightly_targets.py --seeds 3    (about a minute a seed; --worlds P5 for some of them)

In every world 200 series are watched; after the burn-in (30 or 40 nights, by the seed) a few become slower
every fourth night, by 5 % and by 10 % in turn, and stay so. Targets: at most .05 false alarms a night, +5 %
found within three nights in .90, +10 % the same night in .95, at most .35 extra runs (`most`: in a night).
All nights count for `false`, `extra`, `repeated` (alarms a night of what was alarmed before) and `ms`.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmark.stats.regression_detector import NightlyDetector

SERIES, STEPS, EVERY = 200, 8, 4
SIZES = (0.05, 0.10)


@dataclass(frozen=True, kw_only=True)
class World:
    """Standard deviations of logs, but for `outliers`, the share of processes 10 to 50 % slower."""

    processes: int = 5
    process: float = 0.02
    night: float = 0.02
    """Of a series in a night."""
    common: float = 0.02
    """Of a night in all series."""
    memory: float = 0.0
    """Autocorrelation of the common effect from night to night."""
    own_memory: float = 0.0
    """The same of each series' nights."""
    tails: bool = False
    """Nights of a series follow Student's t with three degrees of freedom."""
    mixed: bool = False
    """Noise differs from series to series: a half to one and a half times as much."""
    outliers: float = 0.0
    drift: float = 0.0
    """Of every series, a night."""
    missing: float = 0.0
    """Share of series missing in a night."""
    slower: int = 3
    """Series that become slower at a time."""


WORLDS = {
    f"P{processes} process {process:.0%} night {night:.0%} common {common:.0%}": World(
        processes=processes, process=process, night=night, common=common
    )
    for processes in (1, 3, 5, 10)
    for process, night, common in (
        (0.01, 0.01, 0.02),
        (0.02, 0.00, 0.00),
        (0.02, 0.02, 0.02),
        (0.02, 0.03, 0.03),
        (0.02, 0.04, 0.05),
        (0.03, 0.02, 0.02),
        (0.03, 0.04, 0.05),
    )
} | {
    "P1 process 2% night 2%, one at a time": World(processes=1, slower=1),
    "P5 common 5%, autocorrelated .9": World(common=0.05, memory=0.9),
    "P5 nights of a series autocorrelated .7": World(night=0.03, own_memory=0.7),
    "P5 nights heavy-tailed": World(night=0.03, tails=True),
    "P5 processes 5% outliers": World(outliers=0.05),
    "P5 noise differs between series": World(night=0.03, mixed=True),
    "P5 drift .1% a night": World(drift=0.001),
    "P5 10% of series missing": World(missing=0.1),
}


class Simulation:
    """A world as it runs: nights to read, and builds to rerun."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.random = world, np.random.default_rng(seed)
        self.level = np.log(self.random.uniform(1, 100, SERIES))
        self.slower = np.zeros(SERIES)
        self.scale = self.random.uniform(0.5, 1.5, SERIES) if world.mixed else np.ones(SERIES)
        self.common, self.own, self.nights, self.runs = 0.0, np.zeros(SERIES), 0, 0

    def night(self) -> dict[str, list[float]]:
        world, random = self.world, self.random
        fresh = random.standard_t(3, SERIES) / 3**0.5 if world.tails else random.normal(size=SERIES)
        self.common = autocorrelated(self.common, random.normal(0, world.common), world.memory)
        self.own = autocorrelated(self.own, world.night * self.scale * fresh, world.own_memory)
        self.nights += 1
        centre = self.level + self.slower + self.common + self.own + world.drift * self.nights
        times = np.exp(centre[:, None] + self.processes(self.scale[:, None], (SERIES, world.processes)))
        there = random.random(SERIES) >= world.missing
        return {str(place): list(times[place]) for place in np.flatnonzero(there)}

    def processes(self, scale, shape):
        out = (self.random.random(shape) < self.world.outliers) * self.random.uniform(0.1, 0.4, shape)
        return self.random.normal(0, self.world.process, shape) * scale + out

    def rerun(self, series: str, rounds: int) -> tuple[list[float], list[float]]:
        place = int(series)
        self.runs += 2 * rounds
        common = self.level[place] + self.random.normal(0, 0.02, rounds)
        accepted = np.exp(common + self.processes(self.scale[place], rounds))
        new = np.exp(common + self.slower[place] + self.processes(self.scale[place], rounds))
        return list(accepted), list(new)


def autocorrelated(before, fresh, memory: float):
    return memory * before + (1 - memory**2) ** 0.5 * fresh


def watch(world: World, seed: int, counts: Counter) -> None:
    """Watch a world from its first night on; `counts` counts what is printed."""
    simulation, detector = Simulation(world, seed), NightlyDetector()
    burn_in = (30, 40)[seed % 2]
    waiting = list(np.random.default_rng(seed).permutation(SERIES))
    since: dict[str, tuple[int, float]] = {}
    found: set[str] = set()
    for t in range(burn_in + EVERY * STEPS):
        step, rest = divmod(t - burn_in, EVERY)
        if t >= burn_in and rest == 0:
            size = SIZES[step % 2]
            for _ in range(world.slower):
                place = waiting.pop()
                simulation.slower[place] = np.log1p(size)
                since[str(place)] = (t, size)
                counts["injected", size] += 1
        data, before = simulation.night(), simulation.runs
        started = time.perf_counter()
        alarms = detector.night(t, data, simulation.rerun)
        counts["seconds"] += time.perf_counter() - started
        counts["nights"] += 1
        counts["false"] += sum(series not in since for series in alarms)
        counts["repeated"] += sum(series in found for series in alarms)
        for series in set(alarms) & since.keys() - found:
            start, size = since[series]
            counts["found", size] += t - start < (3 if size == SIZES[0] else 1)
        found |= set(alarms) & since.keys()
        nightly, extra = sum(map(len, data.values())), simulation.runs - before
        counts["runs"] += nightly
        counts["extra"] += extra
        counts["most"] = max(counts["most"], extra / nightly)


def line(of: Counter) -> str:
    nights = of["nights"]
    shares = [of["found", size] / of["injected", size] for size in SIZES]
    return (
        f"{of['false'] / nights:7.3f} {shares[0]:8.2f} {shares[1]:8.2f} {of['extra'] / of['runs']:7.2f}"
        f" {of['most']:6.2f} {of['repeated'] / nights:9.3f} {1000 * of['seconds'] / nights:6.0f}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--worlds", default="", help="only those whose line contains this")
    asked = options.parse_args()
    print(f"{'world':<48}{'false':>7} {'+5% in 3':>8} {'+10% now':>8} {'extra':>7} {'most':>6}", end="")
    print(f" {'repeated':>9} {'ms':>6}")
    for name, world in WORLDS.items():
        if asked.worlds in name:
            counts: Counter = Counter()
            for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
                watch(world, seed, counts)
            print(f"{name:<48}{line(counts)}", flush=True)


if __name__ == "__main__":
    main()

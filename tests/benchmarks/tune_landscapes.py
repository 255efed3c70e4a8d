"""How often the race of `tune` finds the best, how often it claims too much, and what it costs.

python tests/benchmarks/tune_landscapes.py [--seeds 200] [--optuna-seeds 200] [--only race] [--sizes 60 240]

A landscape is a product of options with effects of their own and together. Noise as measured here (two
cores): processes of a candidate differ by 1 to 4 %, one look in twelve is disturbed by some 14 %, the whole
machine drifts by 0.3 % a look, and a night differs from another, which is what earlier rows know, by 5 %.
Targets: within 2 % of the best in 95 %, a claim of "surely" wrong in at most 5 %, no false drop, looks at
most 20 % of a grid's at the same precision. Two such grids: `fixed` gives every candidate the looks with
which a grid of known noise can make the same claim in any landscape; `winner` as many as the winner had.
`costs` has compilations too, in looks. The others get the costs that the race had: they claim nothing.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from benchmark.tuning.candidates import Candidate, Look, Question
from benchmark.tuning.race import Race

OPTIONS = {12: (3, 2, 2), 60: (5, 2, 3, 2), 240: (5, 3, 4, 4)}
"""Values of each option; the first is the compiler."""
COMPILE_LOOKS = (0.0, 2.0, 10.0, 30.0, 100.0)
"""Looks that a compilation takes, by compiler."""
TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class World:
    """Standard deviations of logarithms, but for `disturbed`, the share of looks that are slowed."""

    ties: int = 1
    """Candidates that are equally the best."""
    dense: bool = False
    """All others are 2 to 12 % slower than the best."""
    process: tuple[float, float] = (0.01, 0.04)
    """From the steadiest candidate to the least steady one."""
    disturbed: float = 0.08
    by: float = 0.14
    drift: float = 0.003
    """Of the whole machine, from one look to the next."""
    step: float = 0.0
    """Slow-down of the whole machine, after half of the looks that a race without it takes."""
    night: float = 0.05
    """How far earlier rows of a candidate are from tonight."""


WORLDS = {
    "usual": World(),
    "five equally best": World(ties=5),
    "all near the best": World(dense=True),
    "quiet": World(process=(0.005, 0.01), disturbed=0.02, drift=0.001),
    "loud": World(process=(0.02, 0.08), disturbed=0.15),
    "30 % slower from half on": World(step=0.26),
}


@dataclass
class Landscape:
    """Candidates with their truth, and the machine that is looked at: time is counted in looks."""

    world: World
    size: int
    seed: int
    clock: int = 0
    level: float = 0.0
    step_at: float = math.inf
    truth: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng = np.random.default_rng([self.seed, self.size])
        shape = OPTIONS[self.size]
        self.options = list(itertools.product(*map(range, shape)))
        effects = [rng.normal(0, 0.25, size=count) for count in shape]
        truth = np.array([sum(e[o] for e, o in zip(effects, one, strict=True)) for one in self.options])
        truth += rng.normal(0, 0.08, size=self.size)
        if self.world.dense:
            truth = rng.uniform(0.0205, 0.12, size=self.size)
            truth[rng.integers(self.size)] = 0.0
        best = np.argsort(truth)[: self.world.ties]
        truth[best] = truth[best].min()
        self.truth = truth - truth.min()
        low, high = self.world.process
        self.spread = np.exp(rng.uniform(math.log(low), math.log(high), size=self.size))
        self.compile = np.array([COMPILE_LOOKS[one[0]] for one in self.options])
        self.known = self.truth + rng.normal(0, self.world.night, size=self.size)

    def look(self, index: int) -> float:
        """Logarithm of one process's latency."""
        rng, world = self.rng, self.world
        self.clock += 1
        self.level += rng.normal(0, world.drift)
        value = self.truth[index] + self.level + rng.normal(0, self.spread[index])
        value += abs(rng.normal(0, world.by)) if rng.random() < world.disturbed else 0.0
        return float(value + (world.step if self.clock > self.step_at else 0.0))

    def fixed_looks(self) -> int:
        """Looks of each candidate with which a grid of known noise can make the same claim."""
        sd = math.sqrt(2 * (float(np.mean(self.spread**2)) + self.world.disturbed * self.world.by**2 / 2))
        quantile = NormalDist().inv_cdf(1 - 0.05 / (self.size - 1))
        return max(2, math.ceil((quantile * sd / math.log1p(TOLERANCE)) ** 2))


@dataclass
class Result:
    """How one search ended."""

    chosen: int
    sure: bool
    looks: int
    costs: float
    winners_looks: int = 0
    false_drop: bool = False
    """Whether all that are the best were dropped."""


def raced(land: Landscape, history: bool) -> Result:
    """The race, without a limit of time."""
    candidates = [
        Candidate(
            name=str(index),
            making_s=float(land.compile[index]),
            expected=float(land.known[index]) if history else None,
        )
        for index in range(land.size)
    ]
    race, looks, costs = Race(candidates, Question(tolerance=TOLERANCE, seed=land.seed)), 0, 0.0
    while turn := race.next_round():
        costs += sum(land.compile[index] for index in turn.starts) + len(turn.looks)
        looks += len(turn.looks)
        race.add(turn, {index: Look(values=(math.exp(land.look(index)),)) for index in turn.looks})
    (winner,) = race.standing.front
    best = np.flatnonzero(land.truth == 0)
    return Result(
        chosen=winner,
        sure=race.standing.decided,
        looks=looks,
        costs=costs,
        winners_looks=race.looks_of(winner).shape[1],
        false_drop=all(int(index) in race.dropped for index in best),
    )


Search = Callable[[Landscape, float], int]


def at_random(land: Landscape, costs: float) -> int:
    """Three looks at candidates drawn at random; the best mean."""
    means, spent = {}, 0.0
    for index in map(int, land.rng.permutation(land.size)):
        spent += land.compile[index] + 3
        if spent > costs and means:
            break
        means[index] = np.mean([land.look(index) for _ in range(3)])
    return min(means, key=means.__getitem__)


def halving(land: Landscape, costs: float) -> int:
    """Successive halving: as much for each rung, the better half goes on; the best mean of all its looks."""
    left = costs - float(land.compile.sum())
    alive = list(range(land.size))
    if left < 2 * land.size:  # not all can be compiled: those that can, the cheapest first
        order = sorted(alive, key=lambda index: land.compile[index])
        alive = [i for i, sum_ in zip(order, np.cumsum(land.compile[order] + 4), strict=True) if sum_ < costs]
        left = costs - float(land.compile[alive].sum())
    sums, counts = np.zeros(land.size), np.zeros(land.size)
    rungs = max(1, math.ceil(math.log2(len(alive))))
    for _ in range(rungs):
        for _ in range(max(1, int(left / rungs / len(alive)))):
            for index in alive:
                sums[index] += land.look(index)
                counts[index] += 1
        alive = sorted(alive, key=lambda index: sums[index] / counts[index])[: math.ceil(len(alive) / 2)]
    return alive[0]


def plain_optuna(land: Landscape, costs: float) -> int:
    """Optuna as its first page has it: TPE, one look a trial; a configuration is compiled once."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=land.seed))
    index_of, compiled, spent = {one: i for i, one in enumerate(land.options)}, set(), 0.0
    while spent < costs:
        trial = study.ask()
        one = tuple(
            trial.suggest_categorical(str(n), range(count)) for n, count in enumerate(OPTIONS[land.size])
        )
        index = index_of[one]
        spent += 1 + (0 if index in compiled else land.compile[index])
        compiled.add(index)
        study.tell(trial, land.look(index))
    return index_of[tuple(study.best_params[str(n)] for n in range(len(OPTIONS[land.size])))]


OTHERS: dict[str, Search] = {"random": at_random, "halving": halving, "optuna": plain_optuna}


def step_half_way(world: World, size: int, seed: int) -> float:
    """When the whole machine becomes slower: half of the looks that the race takes otherwise."""
    return raced(Landscape(world, size, seed), history=True).looks / 2 if world.step else math.inf


def table(world: World, size: int, seeds: Sequence[int], others: Sequence[str], optuna_seeds: int) -> str:
    """The lines of one world: the race with and without earlier rows, then the others."""
    lines = []
    for history in (True, False):
        found, lands = [], []
        for seed in seeds:
            land = Landscape(world, size, seed)
            land.step_at = step_half_way(world, size, seed)
            found.append(raced(land, history))
            lands.append(land)
        near = [
            land.truth[one.chosen] <= math.log1p(TOLERANCE) for one, land in zip(found, lands, strict=True)
        ]
        sure = [one.sure for one in found]
        wrong = [s and not n for s, n in zip(sure, near, strict=True)]
        grid = [one.looks / (size * one.winners_looks) for one in found]
        fixed = [one.looks / (size * land.fixed_looks()) for one, land in zip(found, lands, strict=True)]
        whole = [
            one.costs / (land.compile.sum() + size * one.winners_looks)
            for one, land in zip(found, lands, strict=True)
        ]
        lines.append(
            f"  {'race' if history else 'race, no history':17}{np.mean(near):8.1%}{np.mean(sure):8.1%}"
            f"{np.mean(wrong):8.1%}{np.mean([one.false_drop for one in found]):8.1%}{np.mean(grid):8.1%}"
            f"{np.mean(fixed):8.1%}{np.mean(whole):8.1%}{np.mean([one.looks for one in found]) / size:8.1f}"
        )
        costs = [one.costs for one in found] if history else costs  # noqa: F821 - of the first line
    for name in others:
        some = seeds[:optuna_seeds] if name == "optuna" else seeds
        near = []
        for seed, cost in zip(some, costs, strict=False):
            land = Landscape(world, size, seed)
            near.append(land.truth[OTHERS[name](land, cost)] <= math.log1p(TOLERANCE))
        lines.append(f"  {name:17}{np.mean(near):8.1%}   ({len(near)} seeds, claims nothing)")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--optuna-seeds", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 240], choices=OPTIONS)
    parser.add_argument("--worlds", default="", help="part of a world's name")
    parser.add_argument("--only", choices=["race"], help="without the other searches")
    given = parser.parse_args()
    print(
        f"{'':19}{'near':>8}{'sure':>8}{'wrong':>8}{'f.drop':>8}{'winner':>8}{'fixed':>8}{'costs':>8}{'looks':>8}"
    )
    for size, (name, world) in itertools.product(given.sizes, WORLDS.items()):
        if given.worlds in name:
            print(f"{size} candidates, {name}", flush=True)
            others = [] if given.only or world.step else list(OTHERS)
            print(table(world, size, range(given.seeds), others, given.optuna_seeds), flush=True)


if __name__ == "__main__":
    main()

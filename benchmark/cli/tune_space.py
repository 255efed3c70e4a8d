"""The space of `tune`: its cells, what is known of them, and why a question about them can't be answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pyarrow.compute as pc

from benchmark.cell import Plan, PlannedRun
from benchmark.cli.progress import estimated, labels
from benchmark.cli.run import ahead_of, cached, refuse_different_places, refuse_hopeless, workers_of
from benchmark.cli.start import set_environment
from benchmark.config.experiment import Experiment
from benchmark.config.sweep import TypedGrid, compose_grid
from benchmark.errors import ConfigError, LibraryMissing
from benchmark.formatting import counted
from benchmark.host.libraries import command_for
from benchmark.identity import options_of
from benchmark.pipeline.budget import hourly
from benchmark.pipeline.looks import Wanted
from benchmark.pipeline.prior import expectations
from benchmark.serving_records import ServingOptions
from benchmark.stages.plan import Look as LookAtHost
from benchmark.stages.plan import plan
from benchmark.stats.intervals import samples_needed
from benchmark.store import history
from benchmark.store.results import ResultsStore
from benchmark.store.selection import OWN
from benchmark.tuning.candidates import Candidate
from benchmark.tuning.proposals import MOST, Proposals

_FEW: Final = 4
"""Candidates that a message names."""
_OWN_KEYS: Final = ("sampling.repeats", "sampling.min_repeats", "sampling.repeat_precision", "run", "stage")
"""Keys that the race decides itself."""
_SAME_MODEL: Final = (
    *("environment_id", "hardware", "model", "task", "weights", "compiler", "fast_math", "quantization"),
    *("batch_size", "sequence_length", "image_size"),
)
"""Columns in which a candidate and the row with its accuracy are equal."""


class Space(NamedTuple):
    """Candidates of a race."""

    runs: tuple[PlannedRun, ...]
    """One run of each candidate."""
    labels: tuple[str, ...]
    """What distinguishes each candidate from the others."""
    candidates: tuple[Candidate, ...]
    plan: Plan
    """Of all cells, also those that can't run here."""
    at_least: bool = False
    """Whether looks are estimated from the minimum times of their sampling."""

    @property
    def refused(self) -> Counter[str]:
        """Cells that can't run, by reason."""
        return Counter(run.reason for run in self.plan.of_cells if run.fate != "run")

    @property
    def first(self) -> Experiment:
        """The first candidate's experiment: places, campaign and budget are the same for all."""
        return self.runs[0].cell.experiment

    @property
    def one_look_s(self) -> float:
        """Seconds of one look at each, without compilations."""
        return sum(one.look_s for one in self.candidates)

    @property
    def making_s(self) -> float:
        """Seconds of all compilations."""
        return sum({one.making or one.name: one.making_s for one in self.candidates}.values())

    def looking(self, seconds: float) -> str:
        """How long looks take, as a part of a sentence."""
        return estimated(seconds, at_least=self.at_least)


def space(experiments: Sequence[Experiment], wanted: Wanted, look: LookAtHost) -> Space:
    """Estimate what each cell of a grid costs; `look` looks at the hosts that can run it.

    Raises:
        ConfigError: no two candidates do the same work on these hosts.
    """
    store = ResultsStore(experiments[0].store_root)
    planned = plan(experiments, lambda _: {}, exhausted=partial(history.exhausted, store), look=look)
    runs = tuple(run for run in planned.of_cells if run.fate == "run")
    _refuse(planned, runs, wanted)
    ahead = ahead_of(planned, store, cached(experiments[0]), workers_of(experiments[0].launcher))
    makers: dict[Any, tuple[str, float]] = {}
    for run in runs:
        if run.run_id in ahead.making:
            makers[run.artifact_group] = (run.run_id, ahead.making[run.run_id].seconds)
    names = _distinct(runs)
    known = expectations(store, runs, wanted.objectives[0])
    candidates = [
        Candidate(
            name=label,
            look_s=max(1e-3, ahead.runs[run.run_id].seconds),
            making=makers.get(run.artifact_group, (None, 0.0))[0],
            making_s=makers.get(run.artifact_group, (None, 0.0))[1],
            expected=known.get(run.cell.cell_id),
        )
        for run, label in zip(runs, names, strict=True)
    ]
    return Space(runs, names, tuple(candidates), planned, ahead.at_least)


def composed(words: Sequence[str], wanted: Wanted) -> TypedGrid:
    """Compose the cells of these overrides, with looks for sampling.

    Raises:
        ConfigError: a key isn't for a race, or no cell can ever run.
    """
    given = {word.lstrip("+").partition("=")[0] for word in words}
    if own := [key for key in _OWN_KEYS if key in given]:
        raise ConfigError(f"{own[0]}: a race decides this itself: leave it out")
    more = [] if "sampling" in given else ["sampling=look"]
    more += ["sampling.repeats=1", "sampling.min_repeats=1", "sampling.repeat_precision=null"]
    if wanted.p95 and not {"sampling.min_calls", "sampling"} & given:
        more += [f"sampling.min_calls={samples_needed(0.95)}", "sampling.max_s=5"]
    grid = compose_grid([*words, *more], "tune")
    set_environment(grid.experiments)
    refuse_hopeless(grid.experiments)
    refuse_different_places(grid.experiments)
    return grid


def _refuse(planned: Plan, runs: Sequence[PlannedRun], wanted: Wanted) -> None:
    """Refuse what can't race: too few candidates, several works, scenarios without calls, missing prices."""
    if len(runs) < 2:  # noqa: PLR2004 - a race needs two
        reasons = Counter(run.reason for run in planned.of_cells if run.fate != "run")
        why = "".join(f"; {count} can't run: {reason}" for reason, count in reasons.items())
        raise ConfigError(
            f"{counted(len(runs), 'candidate')} of {counted(len(planned.of_cells), 'cell')} can race, and a "
            f"race needs 2: sweep a key, such as compiler=eager,openvino{why}"
        )
    works: dict[str, set[Any]] = {}
    for run in runs:
        e, sizes = run.cell.experiment, asdict(run.cell.shape)
        sizes.pop("batch_size")
        for key, one in {
            "model": e.model.name,
            "task": e.task.name,
            "scenario": e.scenario.name,
            **sizes,
        }.items():
            works.setdefault(key, set()).add(one)
        if e.scenario.labelled or e.scenario.training:
            raise ConfigError(f"scenario={e.scenario.name}: tune times calls: choose latency or throughput")
        if serving := e.scenario.serving:
            _refuse_under_load(serving, wanted)
    if several := [
        f"{key} {', '.join(sorted(map(str, ones)))}" for key, ones in works.items() if len(ones) > 1
    ]:
        raise ConfigError(f"candidates do different work ({'; '.join(several)}): run `tune` for each")
    if "usd" in wanted.objectives:
        lacking = [run for run in runs if hourly(run) is None]
        if lacking:
            machines = ", ".join(
                dict.fromkeys(
                    run.environment.facts.instance_type or f"hardware={run.cell.experiment.hardware.name}"
                    for run in lacking
                )
            )
            raise ConfigError(
                f"--objective usd: {len(lacking)} of {counted(len(runs), 'candidate')} have no price "
                f"({machines}): set budget.usd_per_hour=, or hardware.instance_type= to one of "
                "benchmark/cloud/prices.csv"
            )


def _refuse_under_load(serving: ServingOptions, wanted: Wanted) -> None:
    """Refuse a latency where the rate is searched, and a rate where it is given."""
    rates = {*wanted.objectives} - {"latency"}
    if serving.searches and not rates == {*wanted.objectives}:
        raise ConfigError(
            "--objective latency: scenario=server searches the highest rate within its limits: use "
            "--objective throughput, or give scenario.rate="
        )
    if rates and not serving.searches:
        raise ConfigError(
            f"--objective {','.join(wanted.objectives)}: this load has the same rate for all candidates: use "
            "--objective latency, or a limit such as scenario.slo_ms= without a rate"
        )


def proposals(found: Space) -> Proposals | None:
    """What proposes candidates of a space that is too large to look at each; null for smaller ones.

    Raises:
        LibraryMissing: it needs Optuna.
    """
    if len(found.runs) <= MOST:
        return None
    options = [dict(word.split("=", 1) for word in run.cell.experiment.overrides) for run in found.runs]
    try:
        return Proposals(options)
    except ImportError as error:
        raise LibraryMissing(
            f"a space of more than {MOST} candidates ({len(found.runs)}) needs optuna, which proposes some "
            f"of them: {command_for('tune')}"
        ) from error


def refuse_short(found: Space, budget_s: float | None) -> None:
    """Refuse a budget that holds less than one look at each candidate.

    Raises:
        ConfigError: says how long that takes.
    """
    least_s = found.one_look_s * min(1.0, MOST / len(found.runs))
    if budget_s is not None and least_s > budget_s:
        raise ConfigError(
            f"--minutes {budget_s / 60:g}: one look at each of {counted(len(found.runs), 'candidate')} takes "
            f"{found.looking(least_s)}: give more minutes, or fewer candidates"
        )


class Accuracies(NamedTuple):
    """Candidates by an accuracy floor."""

    below: Mapping[int, str] = MappingProxyType({})
    """Why these are out."""
    unsure: Mapping[int, str] = MappingProxyType({})
    """Of those that keep the floor: whose interval reaches below it."""


def accuracies(found: Space, floor: float) -> Accuracies:
    """Hold candidates to an accuracy floor, by their measured accuracies.

    Raises:
        ConfigError: candidates whose accuracy was never measured.
    """
    store = ResultsStore(found.first.store_root)
    known: dict[tuple[Any, ...], tuple[float, float | None]] = {}
    if store.exists:
        rows = store.table(
            [*_SAME_MODEL, "accuracy", "accuracy_lo"],
            among=OWN & (pc.field("status") == "ok") & pc.field("accuracy").is_valid(),
        )
        for row in rows.to_pylist():
            known[tuple(row[name] for name in _SAME_MODEL)] = row["accuracy"], row["accuracy_lo"]
    measured = {index: one for index, run in enumerate(found.runs) if (one := known.get(_key(run)))}
    if lacking := [label for index, label in enumerate(found.labels) if index not in measured]:
        few = ", ".join(lacking[:_FEW]) + (f" and {len(lacking) - _FEW} more" if len(lacking) > _FEW else "")
        raise ConfigError(
            f"--accuracy-floor: {len(lacking)} of {counted(len(found.runs), 'candidate')} have no measured "
            f"accuracy ({few}): run the same overrides with scenario=accuracy and a dataset= first"
        )
    below = {i: f"accuracy {one:.4f} is below {floor:g}" for i, (one, _) in measured.items() if one < floor}
    unsure = {
        index: "unknown" if lo is None else f"{lo:.4f}"
        for index, (_, lo) in measured.items()
        if index not in below and (lo is None or lo < floor)
    }
    doubt = f"its accuracy may be below {floor:g}: the lower bound is "
    return Accuracies(below, {index: doubt + lo for index, lo in unsure.items()})


def _key(run: PlannedRun) -> tuple[Any, ...]:
    e, shape = run.cell.experiment, run.cell.shape
    quantization = options_of(e.compiler).get("quantization", "none")
    values: Mapping[str, Any] = {
        "environment_id": run.environment.environment_id,
        "hardware": e.hardware.name,
        "model": e.model.name,
        "task": e.task.name,
        "weights": e.weights,
        "compiler": e.compiler.name,
        "fast_math": e.compiler.fast_math,
        "quantization": None if quantization == "none" else quantization,
        "batch_size": e.batch,
        "sequence_length": shape.sequence_length,
        "image_size": shape.image_size,
    }
    return tuple(values[name] for name in _SAME_MODEL)


def _distinct(runs: Sequence[PlannedRun]) -> tuple[str, ...]:
    """Names of candidates, without the words that all of them share."""
    whole = [text.split() for text in labels(runs).values()]
    shared = set.intersection(*map(set, whole))
    short = [" ".join(word for word in words if word not in shared) for words in whole]
    return tuple(short if all(short) else map(" ".join, whole))

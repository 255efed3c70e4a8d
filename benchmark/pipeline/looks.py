"""Looks of a race: each is one fresh process of a cell, with a row like any other.

A look that has its row is not taken again, so a race that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from benchmark.cell import CellProcesses, MemoryLimits, Plan, PlannedRun, run_id
from benchmark.pipeline.budget import Ending, hourly
from benchmark.pipeline.engine import Runner
from benchmark.records import frozen
from benchmark.store.results import ResultsStore
from benchmark.tuning.candidates import Look
from benchmark.tuning.race import Round

Objective = Literal["latency", "throughput", "usd"]

_COLUMNS: Final = (
    *("run_id", "status", "stage", "error", "stage_seconds", "cosine", "noise_flags"),
    *("latency_p50_ms", "latency_p95_ms", "throughput_per_s", "qps_under_slo"),
)
_WAITS: Final = frozenset({"wait", "plan"})
_MAKES: Final = ("build", "compile")


@frozen
class Wanted:
    """What is optimised, and the floors of a candidate that one look shows."""

    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=2)]
    cosine_floor: float | None = None
    p95: bool = False
    """Whether the p95 of a call counts."""


class Looks:
    """Takes the looks of a race, round by round."""

    def __init__(
        self, runner: Runner, store: ResultsStore, runs: Sequence[PlannedRun], wanted: Wanted
    ) -> None:
        """`runs` has one run of each candidate, in the order of the race."""
        self._runner, self._store, self._runs, self._wanted = runner, store, runs, wanted
        self.used_s = 0.0
        """Seconds of all looks and compilations so far, also those of earlier commands, by their rows."""
        self.made_s = 0.0
        """Those of building and compiling."""
        self._memory = MemoryLimits()

    def plan(self, turn: Round) -> Plan:
        """The looks of this round that have no row yet."""
        runs = self._of(turn)
        stored = self._rows(runs.values())
        missing = tuple(run for run in runs.values() if run.run_id not in stored)
        return Plan(missing, missing, 0, (), CellProcesses())

    def take(self, turn: Round, missing: Plan, workers: int) -> tuple[dict[int, Look], Ending]:
        """Measure what is missing; return what is known of the round then, and why it may be incomplete.

        Raises:
            KeyboardInterrupt: after the current look has left an `interrupted` row.
        """
        ending = self._runner.run(missing, workers) if missing.queue else "done"
        runs = self._of(turn)
        rows = self._rows(runs.values())
        self.used_s += sum(map(seconds_of, rows.values()))
        self.made_s += sum(map(making_of, rows.values()))
        for run in runs.values():
            if rows.get(run.run_id, {}).get("status") in {"oom_host", "oom_device"}:
                self._memory.add_run(run)
        looks = {
            index: _timed(look(rows[run.run_id], run, self._wanted), rows[run.run_id])
            for index, run in runs.items()
            if run.run_id in rows
        }
        return looks, ending

    def too_large(self, indices: Iterable[int]) -> dict[int, str]:
        """Which of these candidates need more memory than one that had too little, and why."""
        found = {i: self._memory.dominate(self._runs[i].cell, self._runs[i].environment) for i in indices}
        return {index: f"dominated: {why}" for index, why in found.items() if why}

    def _of(self, turn: Round) -> dict[int, PlannedRun]:
        return {index: numbered(self._runs[index], turn.number) for index in turn.looks}

    def _rows(self, runs: Collection[PlannedRun]) -> dict[str, Mapping[str, Any]]:
        rows = self._store.of_runs([run.run_id for run in runs], _COLUMNS).to_pylist()
        return {row["run_id"]: row for row in rows if row["status"] != "interrupted"}


def numbered(run: PlannedRun, number: int) -> PlannedRun:
    """The run of this candidate in a round."""
    campaign = run.cell.experiment.campaign
    return replace(run, repeat=number, run_id=run_id(campaign, run.cell, run.environment, number))


def look(row: Mapping[str, Any], run: PlannedRun, wanted: Wanted) -> Look:
    """What a row says about its candidate."""
    if row["status"] != "ok":
        error = str(row["error"] or "").partition("\n")[0]
        # A search under load may have been too short by chance.
        chance = row["status"] in {"crashed", "incompatible"} and row["stage"] == "measure"
        return Look((), refused=f"{row['status']} at {row['stage']}: {error}", perhaps=chance)
    cosine = row["cosine"]
    if wanted.cosine_floor is not None and (cosine is None or cosine < wanted.cosine_floor):
        found = "unknown" if cosine is None else f"{cosine:.6f}"
        return Look((), refused=f"cosine {found} is below {wanted.cosine_floor:g}")
    values = tuple(value(objective, row, run) for objective in wanted.objectives)
    if None in values:
        flags = row["noise_flags"] or ()
        why = f"its row has no {wanted.objectives[values.index(None)]}"
        return Look((), refused=", ".join([why, *flags]), perhaps="generator_late" in flags)
    if wanted.p95 and row["latency_p95_ms"] is None:
        return Look((), refused="its row has no p95: too few calls; raise sampling.max_s")
    return Look(tuple(one for one in values if one is not None), p95_ms=row["latency_p95_ms"])


def value(objective: Objective, row: Mapping[str, Any], run: PlannedRun) -> float | None:
    """An objective of a row as a number of which less is better: ms, seconds a unit, dollars a million.

    The throughput of a search under load is the rate that it found.
    """
    if objective == "latency":
        return float(row["latency_p50_ms"]) if row["latency_p50_ms"] else None
    rate = row["throughput_per_s"]
    if run.cell.experiment.scenario.serving:
        rate = row["qps_under_slo"] and row["qps_under_slo"] * run.cell.experiment.batch
    if not rate:
        return None
    unit_s = 1 / float(rate)
    if objective == "throughput":
        return unit_s
    usd_per_hour = hourly(run)
    return None if usd_per_hour is None else 1e6 * unit_s * usd_per_hour / 3600


def seconds_of(row: Mapping[str, Any]) -> float:
    """Seconds that a run took, without waiting for other commands."""
    stages = dict(row["stage_seconds"] or ())
    return float(sum(s for name, s in stages.items() if "." not in name and name not in _WAITS))


def making_of(row: Mapping[str, Any]) -> float:
    """Seconds in which a run built and compiled."""
    stages = dict(row["stage_seconds"] or ())
    return float(sum(stages.get(name, 0.0) for name in _MAKES))


def _timed(found: Look, row: Mapping[str, Any]) -> Look:
    return found._replace(seconds=max(0.0, seconds_of(row) - making_of(row)))

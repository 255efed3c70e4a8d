"""Decide every cell's fate before anything starts: what can't work, what is done, the order of the rest."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.cell import (
    Cell,
    Environment,
    Fate,
    MemoryLimits,
    Plan,
    PlannedRun,
    cell_of,
    environment_of,
    run_id,
    stated_parameters,
)
from benchmark.config.experiment import Experiment
from benchmark.config.grid import Excluded
from benchmark.errors import LibraryMissing
from benchmark.host import libraries, machine
from benchmark.store.history import Exhausted

Statuses = Callable[[str], Mapping[str, str]]
"""Campaign to run_id → status of the rows it has."""
Fresh = Callable[[frozenset[str]], Mapping[tuple[str, str, int], tuple[str, str]]]
"""Environments to (cell, environment, repeat) → run_id and status of the newest row of any campaign."""


def plan(
    experiments: Iterable[Experiment],
    statuses: Statuses,
    *,
    fresh: Fresh = lambda _: {},
    exhausted: Callable[[frozenset[str]], Sequence[Exhausted]] = lambda _: (),
    excluded: tuple[Excluded, ...] = (),
) -> Plan:
    """Lay out a grid, by what the store knows of it already."""
    cells: dict[str, _Asked] = {}
    surroundings = _Surroundings()
    duplicates = 0
    for experiment in experiments:
        cell = cell_of(experiment)
        environment, missing = surroundings.of(experiment)
        duplicates += run_id(experiment.campaign, cell, environment) in cells
        for repeat in range(experiment.sampling.repeats):
            identity = run_id(experiment.campaign, cell, environment, repeat)
            cells.setdefault(identity, _Asked(cell, environment, missing, repeat))
    rows = _rows(cells, statuses, fresh)
    here = frozenset(asked.environment.environment_id for asked in cells.values())
    history = () if all(asked.cell.experiment.run == "all" for asked in cells.values()) else exhausted(here)
    # A limit that is to be run anew in this grid is none yet.
    known = MemoryLimits(limit for limit in history if limit.run_id not in cells or limit.run_id in rows)
    runs = []
    for identity, asked in cells.items():
        fate, reason = _fate(asked, rows.get(identity), known)
        if asked.repeat and fate not in {"run", "done"}:
            continue  # what can't be measured is told once
        runs.append(
            PlannedRun(
                cell=asked.cell,
                environment=asked.environment,
                repeat=asked.repeat,
                run_id=identity,
                fate=fate,
                reason=reason,
                row_id=rows[identity][0] if identity in rows else None,
            )
        )
    return Plan(tuple(runs), _ordered(runs), duplicates, excluded)


class _Asked(NamedTuple):
    """One process of a cell, before its fate is known."""

    cell: Cell
    environment: Environment
    missing: str | None
    """What this host lacks to bring it as far as it is wanted."""
    repeat: int


def _rows(cells: Mapping[str, _Asked], statuses: Statuses, fresh: Fresh) -> dict[str, tuple[str, str]]:
    """By run_id the row that is enough, as its run_id and status; runs without one are left out."""
    campaigns = dict.fromkeys(asked.cell.experiment.campaign for asked in cells.values())
    found = {campaign: statuses(campaign) for campaign in campaigns}
    stale = {
        asked.environment.environment_id for asked in cells.values() if asked.cell.experiment.run == "stale"
    }
    anywhere = fresh(frozenset(stale)) if stale else {}
    rows = {}
    for identity, (cell, environment, _, repeat) in cells.items():
        policy, status = cell.experiment.run, found[cell.experiment.campaign].get(identity)
        if status is not None and _enough(policy, status):
            rows[identity] = (identity, status)
        elif policy == "stale" and (
            elsewhere := anywhere.get((cell.cell_id, environment.environment_id, repeat))
        ):
            rows[identity] = elsewhere
    return rows


def _enough(policy: str, status: str) -> bool:
    return {"failed": status == "ok", "all": False}.get(policy, status != "interrupted")


def _fate(asked: _Asked, row: tuple[str, str] | None, known: MemoryLimits) -> tuple[Fate, str]:
    if row:
        return "done", f"has a row: {row[1]}"
    if refusal := refuse(asked.cell):
        return "incompatible", refusal
    if asked.missing:
        return "unavailable", asked.missing
    if limit := known.dominate(asked.cell, asked.environment):
        return "dominated", limit
    return "run", ""


def _ordered(runs: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """What can't be measured first, for it takes no time; then rounds of cells, by their artefacts."""
    refused = [run for run in runs if run.fate not in {"run", "done"}]
    to_run = [run for run in runs if run.fate == "run"]
    if to_run and (sampling := to_run[0].cell.experiment.sampling).order == "random":
        random.Random(sampling.order_seed).shuffle(to_run)  # noqa: S311 - no secret
    else:
        groups: dict[Any, list[PlannedRun]] = {}
        for run in to_run:
            groups.setdefault(run.artifact_group, []).append(run)
        to_run = [run for group in groups.values() for run in group]
    return (*refused, *sorted(to_run, key=lambda run: run.repeat))


def refuse(cell: Cell) -> str | None:
    """Say why a cell can never work, on any host, or None."""
    return next(_refusals(cell), None)


def _refusals(cell: Cell) -> Iterator[str]:
    e = cell.experiment
    if e.hardware.kind not in e.compiler.runs_on:
        kinds = " or ".join(sorted(e.compiler.runs_on))
        yield (
            f"compiler={e.compiler.name} runs on {kinds}, not on hardware={e.hardware.name} "
            f"({e.hardware.kind}): choose another compiler, or another hardware"
        )
    if refusal := e.compiler.refuse(e.hardware.kind):
        yield f"compiler={e.compiler.name}: {refusal}"
    if refusal := e.compiler.refuse_model(e.model, e.task.name):
        yield f"compiler={e.compiler.name}: {refusal}"
    pipeline = e.compiler.pipeline_cores or 1
    if pipeline > 1 and (needed := pipeline * e.scenario.replicas) > (cores := e.hardware.facts().cores):
        yield f"compiler.pipeline_cores={pipeline} needs hardware.cores={needed}, not {cores}"
    if stated_parameters(e) is None:
        known = " or ".join(f"task={task}" for task in e.model.parameters)
        yield f"model={e.model.name}: its YAML states no parameters of a {e.task.name} head: choose {known}"
    if refusal := e.task.refuse(e.model, cell.shape):
        yield f"model={e.model.name}: {refusal}"
    if e.weights == "pretrained" and e.model.hub_id is None:
        yield f"weights=pretrained: conf/model/{e.model.name}.yaml names no hub_id; use random or a folder"


class _Surroundings:
    """Versions and devices of a grid, asked for once for cells that share them."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], tuple[tuple[Any, ...], tuple[Environment, str | None]]] = {}

    def of(self, experiment: Experiment) -> tuple[Environment, str | None]:
        """The environment as far as it can be told, and what this host lacks."""
        plugins = (experiment.hardware, experiment.compiler, experiment.task)
        key = (*map(id, plugins), experiment.stage == "compile")
        if key not in self._known:
            self._known[key] = (plugins, self._look(experiment))
        return self._known[key][1]

    @staticmethod
    def _look(experiment: Experiment) -> tuple[Environment, str | None]:
        hardware, compiler, task = experiment.hardware, experiment.compiler, experiment.task
        absent = None if experiment.needs_no_device else hardware.missing()
        wants = [absent] if absent else []
        found: dict[str, str] = {}
        try:
            python = compiler.python
            if python is not None:
                found["python"] = libraries.fit(python)
            found.update(compiler.versions())
            if not hardware.simulated:  # there the model is never built
                install = "pip install -e ." if python is None else f"pip install {' '.join(task.libraries)}"
                found.update(libraries.versions(*task.libraries, install=install, python=python))
        except LibraryMissing as error:
            wants.append(str(error))
        return environment_of(hardware.facts(), found, machine.speed_settings()), "; ".join(wants) or None

"""Decide the fate of every cell before anything starts: refuse what can't work, skip what is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from benchmark import host, libraries
from benchmark.cell import Cell, Environment, Fate, Plan, PlannedRun, cell_of, environment_of, run_id
from benchmark.config import Experiment
from benchmark.errors import LibraryMissing


def plan(experiments: Iterable[Experiment], statuses: Callable[[str], Mapping[str, str]]) -> Plan:
    """Lay out a grid. `statuses` answers a campaign with run_id → status of the rows it has."""
    planned: dict[str, PlannedRun] = {}
    environments: dict[str, tuple[Environment, str | None]] = {}
    finished: dict[str, Mapping[str, str]] = {}
    asked = 0
    for experiment in experiments:
        asked += 1
        cell = cell_of(experiment)
        surroundings = repr((experiment.hardware, experiment.compiler, experiment.task))
        if surroundings not in environments:
            environments[surroundings] = _environment(experiment)
        environment, missing = environments[surroundings]
        if experiment.campaign not in finished:
            finished[experiment.campaign] = statuses(experiment.campaign)
        identity = run_id(experiment.campaign, cell, environment)
        fate, reason = _fate(cell, missing, finished[experiment.campaign].get(identity))
        planned.setdefault(
            identity,
            PlannedRun(cell=cell, environment=environment, run_id=identity, fate=fate, reason=reason),
        )
    return Plan(runs=tuple(planned.values()), duplicates=asked - len(planned))


def _fate(cell: Cell, missing: str | None, status: str | None) -> tuple[Fate, str]:
    policy = cell.experiment.run
    keep = {"missing": status not in {None, "interrupted"}, "failed": status == "ok", "all": False}
    if keep[policy]:
        return "done", f"has a row: {status}"
    if refusal := refuse(cell):
        return "incompatible", refusal
    if missing:
        return "unavailable", missing
    return "run", ""


def refuse(cell: Cell) -> str | None:
    """Say why a cell can never work, on any host, or None."""
    e = cell.experiment
    if e.hardware.kind not in e.compiler.runs_on:
        kinds = " or ".join(sorted(e.compiler.runs_on))
        return (
            f"compiler={e.compiler.name} runs on {kinds}, not on hardware={e.hardware.name} "
            f"({e.hardware.kind}): choose another compiler, or another hardware"
        )
    if refusal := e.compiler.refuse():
        return f"compiler={e.compiler.name}: {refusal}"
    if refusal := e.task.refuse(cell.sequence_length):
        return f"model={e.model.name}: {refusal}"
    if e.weights == "pretrained" and e.model.hub_id is None:
        return f"weights=pretrained: conf/model/{e.model.name}.yaml names no hub_id; use random or a folder"
    return None


def _environment(experiment: Experiment) -> tuple[Environment, str | None]:
    """Versions and device as far as they can be told, and what this host lacks."""
    hardware, compiler, task = experiment.hardware, experiment.compiler, experiment.task
    wants = [absent] if (absent := hardware.missing()) else []
    found: dict[str, str] = {}
    try:
        found.update(compiler.versions())
        if not hardware.simulated:  # there the model is never built
            found.update(libraries.versions(*task.libraries, install="pip install -e ."))
    except LibraryMissing as error:
        wants.append(str(error))
    return environment_of(hardware.facts(), found, host.speed_settings()), "; ".join(wants) or None

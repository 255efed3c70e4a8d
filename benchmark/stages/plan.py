"""Decide before anything starts: which cells can't work, which are done, and the order of the others."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmark import placement
from benchmark.cell import (
    Cell,
    CellProcesses,
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
from benchmark.config.folder import options
from benchmark.config.grid import Excluded
from benchmark.errors import LibraryMissing
from benchmark.host import libraries, machine
from benchmark.identity import in_absent_package, no_weights, weights_digest
from benchmark.models import gguf_header, memory_needed
from benchmark.records import Exhausted
from benchmark.redaction import public_variables

Statuses = Callable[[str], Mapping[str, str]]
"""Campaign to run_id → status of the rows it has."""
P50s = Callable[[Collection[str]], Mapping[str, float]]
"""run_ids to the median latency of those that have one, in ms."""
Look = Callable[[Experiment], tuple[Environment, str | None]]
"""The environment of an experiment, as far as it is known, and what its host lacks; None: nothing."""
Fresh = Callable[[frozenset[str]], Mapping[tuple[str, str, int], tuple[str, str]]]
"""Environments to (cell, environment, repeat) → run_id and status of the newest row of any campaign."""


def plan(  # noqa: PLR0913 - one for each thing that it reads in the store
    experiments: Iterable[Experiment],
    statuses: Statuses,
    *,
    fresh: Fresh = lambda _: {},
    p50s: P50s = lambda _: {},
    exhausted: Callable[[frozenset[str]], Sequence[Exhausted]] = lambda _: (),
    excluded: tuple[Excluded, ...] = (),
    look: Look | None = None,
) -> Plan:
    """Plan a grid, by the rows that the store has; `look` looks at another host than this one."""
    cells: dict[str, _Candidate] = {}
    environments = _Environments(look or look_here)
    duplicates = 0
    for experiment in experiments:
        cell = cell_of(experiment)
        environment, missing = environments.of(experiment)
        duplicates += run_id(experiment.campaign, cell, environment) in cells
        for repeat in range(_most_processes(experiment)):
            identity = run_id(experiment.campaign, cell, environment, repeat)
            cells.setdefault(identity, _Candidate(cell, environment, missing, repeat))
    rows = _rows(cells, statuses, fresh)
    here = frozenset(candidate.environment.environment_id for candidate in cells.values())
    history = (
        () if all(candidate.cell.experiment.run == "all" for candidate in cells.values()) else exhausted(here)
    )
    # A limit whose run is repeated in this grid doesn't count yet.
    known = MemoryLimits(limit for limit in history if limit.run_id not in cells or limit.run_id in rows)
    runs = []
    for identity, candidate in cells.items():
        fate, reason = _fate(candidate, rows.get(identity), known)
        if candidate.repeat and fate not in {"run", "done"}:
            continue  # what can't be measured leaves one row, not one a repeat
        runs.append(
            PlannedRun(
                cell=candidate.cell,
                environment=candidate.environment,
                repeat=candidate.repeat,
                run_id=identity,
                fate=fate,
                reason=reason,
                row_id=rows[identity][0] if identity in rows else None,
            )
        )
    runs, processes = _with_processes(runs, rows, p50s)
    return Plan(tuple(runs), _ordered(runs), duplicates, excluded, processes)


def _most_processes(e: Experiment) -> int:
    """Processes that a cell may be measured in: the answers to labelled items are the same in each."""
    return e.sampling.repeats if e.stage == "measure" and not e.scenario.labelled else 1


def _with_processes(
    runs: Sequence[PlannedRun], rows: Mapping[str, tuple[str, str]], p50s: P50s
) -> tuple[list[PlannedRun], CellProcesses]:
    """Mark the runs that their cell needs no more: other processes of it have rows enough."""
    processes = CellProcesses()
    several = [run for run in runs if run.cell.experiment.sampling.repeats > 1 and run.row_id]
    if not several:
        return [*runs], processes
    known = p50s([str(run.row_id) for run in several])
    for run in several:
        processes.add(run, rows[run.run_id][1], known.get(str(run.row_id)))
    return [
        replace(run, fate="done", reason=reason)
        if run.fate == "run" and (reason := processes.enough(run))
        else run
        for run in runs
    ], processes


class _Candidate(NamedTuple):
    """One run of a cell, before its fate is decided."""

    cell: Cell
    environment: Environment
    missing: str | None
    """What this host lacks for the requested stages."""
    repeat: int


def _rows(cells: Mapping[str, _Candidate], statuses: Statuses, fresh: Fresh) -> dict[str, tuple[str, str]]:
    """For each run that needs no other: run_id and status of its row."""
    campaigns = dict.fromkeys(candidate.cell.experiment.campaign for candidate in cells.values())
    stored = {campaign: statuses(campaign) for campaign in campaigns}
    stale = {
        candidate.environment.environment_id
        for candidate in cells.values()
        if candidate.cell.experiment.run == "stale"
    }
    anywhere = fresh(frozenset(stale)) if stale else {}
    rows = {}
    for identity, (cell, environment, _, repeat) in cells.items():
        policy, status = cell.experiment.run, stored[cell.experiment.campaign].get(identity)
        if status is not None and _enough(policy, status):
            rows[identity] = (identity, status)
        elif policy == "stale" and (
            elsewhere := anywhere.get((cell.cell_id, environment.environment_id, repeat))
        ):
            rows[identity] = elsewhere
    return rows


def _enough(policy: str, status: str) -> bool:
    return {"failed": status == "ok", "all": False}.get(policy, status != "interrupted")


def _fate(candidate: _Candidate, row: tuple[str, str] | None, known: MemoryLimits) -> tuple[Fate, str]:
    if row:
        return "done", f"has a row: {row[1]}"
    if refusal := refuse(candidate.cell):
        return "incompatible", refusal
    if candidate.missing:
        return "unavailable", candidate.missing
    e, there_gib = candidate.cell.experiment, machine.memory_gib()
    if not e.hardware.simulated and (
        lacking := memory_needed.lacking(e.model, stated_parameters(e), candidate.cell.shape, there_gib)
    ):
        return "unavailable", lacking
    if limit := known.dominate(candidate.cell, candidate.environment):
        return "dominated", limit
    return "run", ""


def _ordered(runs: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Refused runs first, because they take no time; then rounds of all cells, grouped by artefact."""
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
    """Why a cell can never work, on any host; None if it can."""
    return next(_refusals(cell), None)


def _refusals(cell: Cell) -> Iterator[str]:
    e = cell.experiment
    if refusal := e.hardware.refuse():
        yield refusal
    if e.hardware.kind not in e.compiler.runs_on:
        kinds = " or ".join(sorted(e.compiler.runs_on))
        yield (
            f"compiler={e.compiler.name} runs on {kinds}, not on hardware={e.hardware.name} "
            f"({e.hardware.kind}): choose another compiler, or another hardware"
        )
    for refusal in (e.compiler.refuse(e.hardware.kind), e.compiler.refuse_model(e.model, e.task.name)):
        if refusal:
            yield f"compiler={e.compiler.name}: {refusal}"
    yield from _refuse_parts(e)
    pipeline = e.compiler.pipeline_cores or 1
    if pipeline > 1 and (needed := pipeline * e.scenario.replicas) > (cores := e.hardware.facts().cores):
        yield f"compiler.pipeline_cores={pipeline} needs hardware.cores={needed}, not {cores}"
    yield from placement.refusals(e.task, e.model, e.compiler, e.hardware, e.scenario)
    if e.model.parameters and stated_parameters(e) is None:
        known = " or ".join(f"task={task}" for task in e.model.parameters)
        yield f"model={e.model.name}: its YAML states no parameters of a {e.task.name} head: choose {known}"
    if refusal := e.task.refuse(e.model, cell.shape):
        yield f"model={e.model.name}: {refusal}"
    yield from filter(
        None,
        (
            e.scenario.refuse(e.task, e.compiler, e.hardware, cell.shape, e.dataset),
            _refuse_weights(e),
        ),
    )
    if e.scenario.labelled:
        yield from _refuse_items(e)


def _refuse_weights(e: Experiment) -> str | None:
    """Why this model can't have these weights."""
    if e.weights == "pretrained" and e.model.hub_id is None:
        return f"weights=pretrained: {_yaml(e)} names no hub_id; use random or a folder"
    if e.weights in {"random", "pretrained"} or in_absent_package(Path(e.weights)):
        return None
    return _refuse_folder(e)


def _refuse_parts(e: Experiment) -> Iterator[str]:
    """Refuse options of the compiler for parts that the model doesn't have."""
    parts = e.task.parts_of(e.model)
    for part in e.compiler.parts_named:
        if part not in parts:
            known = f"its parts: {', '.join(parts)}" if parts else "it is one network"
            yield f"compiler.parts.{part}: model={e.model.name} has no such part ({known}): leave it out"


_ITEMS_OF: Mapping[str, Collection[str]] = {
    "text-classification": ("text", "pair"),
    "image-classification": ("image",),
    "feature-extraction": ("text", "pair", "image"),
    "question-answering": ("question",),
    "text-generation": ("text",),
}
"""Task to the kinds of item that its models can answer."""


def _refuse_items(e: Experiment) -> Iterator[str]:
    """Why a labelled scenario can't ask this model these items."""
    scenario, task = f"scenario={e.scenario.name}", e.task.name
    if e.dataset is None:
        yield f"{scenario} needs labelled data: choose dataset={'|'.join(options('dataset'))}"
        return
    if e.hardware.simulated:
        yield f"{scenario}: hardware={e.hardware.name} computes no answers: choose another hardware"
    kinds = _ITEMS_OF.get(task)
    if kinds is None:
        yield f"{scenario} can't ask a model for {task}: choose task={'|'.join(_ITEMS_OF).replace('-', '_')}"
    elif e.dataset.kind not in kinds:
        answered = " or ".join(kinds)
        yield f"dataset={e.dataset.name} holds a {e.dataset.kind} an item, {task} answers a {answered}"
    if task == "feature-extraction" and e.head == "none":
        yield f"{scenario}: features are no answers: set head=linear_probe, or another task"
    if task != "feature-extraction" and e.head != "none":
        yield f"head={e.head} reads the features of task=feature_extraction; {task} has a head of its own"


def _refuse_folder(e: Experiment) -> str | None:
    """Why a local folder or file can't be the weights of this model, as far as a glance shows."""
    folder = Path(e.weights)
    if (digest := weights_digest(folder)) is None:
        return no_weights(folder)
    if folder.suffix == gguf_header.SUFFIX:
        return gguf_header.refuse(folder, e.model.architecture)
    model_type, stated = _model_type(folder, digest), e.model.architecture.get("model_type")
    if model_type and stated and model_type != stated:
        return (
            f"weights={folder}: a {model_type} is no {stated}, the architecture of model={e.model.name}: "
            "choose another model or folder"
        )
    return None


@lru_cache(maxsize=64)
def _model_type(folder: Path, digest: str) -> str | None:
    """Architecture of a folder of weights, by its `config.json`; null for pipelines."""
    del digest  # changed content is read again
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config.get("model_type") if isinstance(config, dict) else None


def _yaml(e: Experiment) -> str:
    """The model's YAML, for messages."""
    return e.model.file or f"the YAML of model={e.model.name}"


def environment_key(e: Experiment) -> tuple[Any, ...]:
    """Equal for experiments that need the same of a host. Equal plug-ins of a grid are one object."""
    plugins = (e.hardware, e.compiler, e.task, e.read_data)
    return (*map(id, plugins), e.head, e.stage == "compile", e.weights)


class _Environments:
    """Versions and devices, looked up once for all cells that share them."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._known: dict[tuple[Any, ...], tuple[Experiment, tuple[Environment, str | None]]] = {}
        """With an experiment, whose plug-ins keep their ids as long as it is kept."""

    def of(self, experiment: Experiment) -> tuple[Environment, str | None]:
        """The environment, as far as it is known, and what its host lacks."""
        key = environment_key(experiment)
        if key not in self._known:
            self._known[key] = (experiment, self._look(experiment))
        return self._known[key][1]


def look_here(experiment: Experiment) -> tuple[Environment, str | None]:
    """The environment on this host, as far as it is known, and what this host lacks."""
    hardware, compiler, task = experiment.hardware, experiment.compiler, experiment.task
    absent = None if experiment.needs_no_device else hardware.missing()
    wants = [absent] if absent else []
    if experiment.read_data and (lacking := experiment.read_data.missing()):
        wants.append(lacking)
    if in_absent_package(Path(experiment.weights)):
        wants.append(no_weights(Path(experiment.weights)))
    versions: dict[str, str] = {}
    try:
        python = compiler.python
        if python is not None:
            versions["python"] = libraries.fit(python)
        versions.update(compiler.versions())
        if not hardware.simulated:  # a simulated device never builds the model
            install = libraries.command_for() if python is None else f"pip install {' '.join(task.libraries)}"
            versions.update(libraries.versions(*task.libraries, install=install, python=python))
            if experiment.weights.endswith(gguf_header.SUFFIX):
                versions.update(libraries.versions("gguf", install="pip install gguf", python=python))
    except LibraryMissing as error:
        wants.append(str(error))
    settings = {**machine.speed_settings(), **public_variables(experiment.environment)}
    return environment_of(hardware.facts(), versions, settings), "; ".join(wants) or None

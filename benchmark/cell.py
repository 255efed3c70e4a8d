"""A cell is one fully resolved point of a grid, a run is one attempt to measure it; here both get their ids.

cell_id         the resolved configuration without paths, sampling effort, limits and campaign
environment_id  hardware and the versions of compiler, driver and framework
run_id          campaign, cell, environment and repeat
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark import axes
from benchmark.config.experiment import Experiment
from benchmark.config.grid import Excluded
from benchmark.errors import Dominated, Incompatible, RunFailure, Unavailable
from benchmark.identity import hashed, options_of, weights_digest
from benchmark.models.gguf_header import SUFFIX as GGUF
from benchmark.paths import CampaignPaths
from benchmark.placement import of_copy
from benchmark.records import DeviceFacts, Exhausted, Shape, frozen
from benchmark.request_trace import TraceError, read
from benchmark.serving_records import CallSize
from benchmark.stats.intervals import half_width

Fate = Literal["run", "done", "incompatible", "unavailable", "dominated"]

_FOLDERS = re.compile(r"(?<![^:\s=,])/(?:[^/:\s]+/)*")
"""Of absolute paths, alone or in a list."""


@frozen
class Cell:
    """An experiment on the axes that its model has."""

    experiment: Experiment
    shape: Shape
    """The axes of its task."""
    cell_id: str

    @property
    def sequence_length(self) -> int | None:
        """Tokens; null for models without a sequence axis."""
        return self.shape.sequence_length

    @property
    def family_id(self) -> str:
        """The id without batch and length: cells of a family differ in the memory they need."""
        content = identity(self.experiment, self.shape)
        return hashed({key: value for key, value in content.items() if key not in axes.GROWING})

    @property
    def label(self) -> str:
        """The cell in a few words, for people."""
        e = self.experiment
        quantization = options_of(e.compiler).get("quantization", "none")
        arithmetic = e.compiler.fast_math + (f" {quantization}" if quantization != "none" else "")
        return f"{e.model.name} {e.hardware.name} {e.compiler.name} {arithmetic} {self.shape.label}"


@frozen
class Environment:
    """What the figures of a cell depend on besides its configuration."""

    environment_id: str
    facts: DeviceFacts
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    """Environment variables that can change speed."""

    @property
    def stands_in(self) -> bool:
        """Whether a library is a stand-in: its version has the local label `simulated`."""
        return any(version.partition("+")[2] == "simulated" for version in self.versions.values())


@frozen
class PlannedRun:
    """One run of a cell, and the plan's decision about it."""

    cell: Cell
    environment: Environment
    run_id: str
    fate: Fate
    reason: str = ""
    """Why it isn't run; empty for `run`."""
    repeat: int = 0
    """Number of the process, from 0, where a cell is measured in several."""
    row_id: str | None = None
    """The run whose row makes it `done`: its own, or with run=stale one of another campaign."""

    @property
    def refusal(self) -> RunFailure | None:
        """The failure that its row reports, for cells that can't be measured."""
        kind = _REFUSALS.get(self.fate)
        return kind(self.reason) if kind else None

    @property
    def processes_of(self) -> tuple[str, str, str]:
        """Grouping key: equal for the processes of a cell in its campaign."""
        return self.cell.experiment.campaign, self.cell.cell_id, self.environment.environment_id

    @property
    def artifact_group(self) -> tuple[Any, ...]:
        """Grouping key: equal for runs that share an artefact."""
        e, facts = self.cell.experiment, self.environment.facts
        versions = tuple(self.environment.versions.items())
        target = (e.hardware.kind, facts.device_name, facts.isa, facts.threads, versions)
        plugins = (id(e.model), id(e.task), id(e.compiler))  # equal sections of a grid are one object
        cores = tuple(of_copy(e.task, e.model, e.compiler, e.hardware, e.scenario).items())
        content = (e.weights, e.seed, e.inputs, self.cell.shape, e.scenario.training is None)
        return (*plugins, *content, target, cores)

    @property
    def of_sizes(self) -> Mapping[int, PlannedRun]:
        """What is compiled for it, by the batches of the cell that a call takes: itself, and larger ones."""
        e = self.cell.experiment
        larger = {size: cell_of(replace(e, batch=size * e.batch)) for size in e.scenario.sizes[1:]}
        return {1: self, **{size: replace(self, cell=cell) for size, cell in larger.items()}}

    @property
    def of_calls(self) -> Mapping[CallSize, PlannedRun]:
        """What is compiled for it, by the requests and the prompts that a call has room for."""
        runs = dict[CallSize, PlannedRun]()
        for room, run in self.of_sizes.items():
            e = run.cell.experiment
            serving = e.scenario.serving
            runs[CallSize(room, run.cell.shape.input_length or 0)] = run
            for prompt in serving.prompt_lengths if serving else ():
                cell = cell_of(replace(e, input_length=prompt))
                runs[CallSize(room, prompt)] = replace(run, cell=cell)
        return runs

    @property
    def log(self) -> Path:
        """The file that its child processes write to."""
        return CampaignPaths(folder=Path(self.cell.experiment.output_folder)).log(self.run_id)

    @property
    def picture(self) -> Path:
        """The file for the image that the model makes, if it makes one."""
        return CampaignPaths(folder=Path(self.cell.experiment.output_folder)).picture(self.run_id)

    @property
    def checkpoint(self) -> Path:
        """The folder for the model that it trains, if it saves one."""
        return CampaignPaths(folder=Path(self.cell.experiment.output_folder)).checkpoint(self.run_id)

    @property
    def loads(self) -> Path:
        """The folder of its loads until it has its row."""
        return CampaignPaths(folder=Path(self.cell.experiment.output_folder)).loads(self.run_id)

    def answers(self, name: str) -> Path:
        """Folder of answers to a data set that aren't complete yet."""
        return CampaignPaths(folder=Path(self.cell.experiment.output_folder)).answers(name)


_REFUSALS: Mapping[Fate, type[RunFailure]] = {
    "incompatible": Incompatible,
    "unavailable": Unavailable,
    "dominated": Dominated,
}


class Plan(NamedTuple):
    """A grid and the decision about each of its cells."""

    runs: tuple[PlannedRun, ...]
    """In the order of the grid."""
    queue: tuple[PlannedRun, ...]
    """Runs that have to leave a row, in the order in which they do; refused ones first."""
    duplicates: int
    """Cells left out because they equal another one, such as a vision model at two sequence lengths."""
    excluded: tuple[Excluded, ...]
    processes: CellProcesses
    """Of the runs that have a row, where a cell is measured in several processes."""

    @property
    def of_cells(self) -> tuple[PlannedRun, ...]:
        """One run of each cell: the first that has to run, else the first."""
        found: dict[Any, PlannedRun] = {}
        for run in self.runs:
            first = found.setdefault(run.processes_of, run)
            if first.fate == "done" and run.fate != "done":
                found[run.processes_of] = run
        return tuple(found.values())

    @property
    def refused(self) -> tuple[PlannedRun, ...]:
        """Runs of the queue that can't be measured: their rows cost no time."""
        return tuple(run for run in self.queue if run.refusal)

    @property
    def pending(self) -> tuple[PlannedRun, ...]:
        """Runs of the queue that will be measured."""
        return tuple(run for run in self.queue if not run.refusal)


class MemoryLimits:
    """Sizes that ran out of memory: larger cells of the same family are not tried."""

    def __init__(self, known: Iterable[Exhausted] = ()) -> None:
        self._environments: set[str] = set()
        self._known: dict[tuple[str, str], list[Exhausted]] = {}
        for limit in known:
            self.add(limit)

    def add(self, limit: Exhausted) -> None:
        """Remember one more."""
        self._environments.add(limit.environment_id)
        self._known.setdefault((limit.environment_id, limit.family_id), []).append(limit)

    def add_run(self, run: PlannedRun) -> None:
        """Remember a run that has just run out of memory."""
        e = run.cell.experiment
        self.add(
            Exhausted(
                family_id=run.cell.family_id,
                environment_id=run.environment.environment_id,
                batch_size=e.batch,
                sequence_length=run.cell.sequence_length,
                memory_gib=e.limits.memory_gib,
                run_id=run.run_id,
            )
        )

    def dominate(self, cell: Cell, environment: Environment) -> str | None:
        """Name the smaller batch or length of the family that ran out of memory, or return None."""
        if environment.environment_id not in self._environments:
            return None
        e, length = cell.experiment, cell.sequence_length or 0
        for limit in self._known.get((environment.environment_id, cell.family_id), ()):
            least = (limit.batch_size, limit.sequence_length or 0)
            above = e.batch >= least[0] and length >= least[1] and (e.batch, length) != least
            if above and _no_more(e.limits.memory_gib, limit.memory_gib):
                size = f"batch {least[0]}" + (f", length {least[1]}" if least[1] else "")
                return f"{size} of this cell ran out of memory (run {limit.run_id}); run=all tries it anyway"
        return None


class CellProcesses:
    """What the processes of each cell have found so far, and whether a cell needs another one."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[tuple[str, float | None]]] = {}

    def add(self, run: PlannedRun, status: str, p50_ms: float | None) -> None:
        """Remember one more."""
        self._found.setdefault(run.processes_of, []).append((status, p50_ms))

    def enough(self, run: PlannedRun) -> str:
        """Why the cell of this run needs no further process; empty if it does."""
        sampling = run.cell.experiment.sampling
        found = self._found.get(run.processes_of, ())
        for status, _ in found:
            if status != "ok":
                return f"another process of its cell has a row: {status}"
        if sampling.repeat_precision is None or len(found) < sampling.min_repeats:
            return ""
        half = half_width([p50_ms or math.nan for _, p50_ms in found])
        return (
            f"p50 of its cell is known to {half:.1%} by {len(found)} processes"
            if half <= sampling.repeat_precision
            else ""
        )


def _no_more(granted: float | None, exhausted: float | None) -> bool:
    """Whether a cell gets no more memory than the one that ran out of it."""
    return exhausted is None or (granted is not None and granted <= exhausted)


def cell_of(experiment: Experiment) -> Cell:
    """Drop the axes that the model doesn't have, and give the cell its id."""
    shape = _shape(experiment)
    return Cell(experiment=experiment, shape=shape, cell_id=hashed(identity(experiment, shape)))


def _shape(e: Experiment) -> Shape:
    sizes = {
        "sequence_length": e.seq_len,
        "input_length": e.input_length,
        "output_length": e.output_length,
        "image_size": e.image_size or e.model.image_size,
        "steps": e.steps,
    }
    return Shape(batch_size=e.batch, **{axis: sizes[axis] for axis in e.task.axes_of(e.model)})


def identity(experiment: Experiment, shape: Shape) -> dict[str, Any]:
    """The content of `cell_id`: two cells with the same content are the same cell."""
    e = experiment
    return {
        **({} if e.stage == "measure" else {"stage": e.stage}),
        "model": {f.name: getattr(e.model, f.name) for f in fields(e.model) if f.compare},
        "task": options_of(e.task),
        "hardware": options_of(e.hardware),
        "compiler": options_of(e.compiler),
        "scenario": _scenario(e),
        "weights": _weights(e.weights),
        "seed": e.seed,
        "inputs": e.inputs,
        **(_labelled(e) if e.scenario.labelled else {}),
        **({"dataset": _data(e)} if e.scenario.training and e.dataset else {}),
        **asdict(shape),
    }


def _scenario(e: Experiment) -> Mapping[str, Any]:
    """Its options; a trace of requests counts by what it holds."""
    options = options_of(e.scenario)
    if not (e.scenario.serving and e.scenario.serving.trace):
        return options
    try:
        trace = read(e.scenario.serving.trace)
    except TraceError as error:  # the plan refuses it
        return {**options, "trace": str(error)}
    return {**options, "trace": hashed([part.tolist() for part in trace])}


def _labelled(e: Experiment) -> dict[str, Any]:
    """What scenarios with labelled data depend on; the floor, which only judges, counts as their option."""
    return {"dataset": _data(e), "head": e.head, "relative_floor": e.accuracy.relative_floor}


def _data(e: Experiment) -> dict[str, Any] | None:
    return {**options_of(e.dataset), "files": e.dataset.digest()} if e.dataset else None


def _weights(weights: str) -> str:
    """A folder counts by what it holds: retrained weights are another cell, a renamed folder is not."""
    if weights in {"random", "pretrained"}:
        return weights
    return weights_digest(Path(weights)) or f"no weights in {Path(weights).name}"


def environment_of(
    facts: DeviceFacts, versions: Mapping[str, str], settings: Mapping[str, str]
) -> Environment:
    """Hardware and software with their id; folders in settings, such as LD_PRELOAD's, don't count."""
    counted = {name: _FOLDERS.sub("", value) for name, value in settings.items()}
    content = {"facts": asdict(facts), "versions": dict(versions), "settings": counted}
    return Environment(
        environment_id=hashed(content), facts=facts, versions=dict(versions), settings=dict(settings)
    )


def versions_of_reference(cell: Cell, environment: Environment) -> dict[str, str]:
    """Versions of the libraries that weights and reference are made with, whatever compiles the model."""
    e = cell.experiment
    reader = ("gguf",) if e.weights.endswith(GGUF) else ()
    return {name: environment.versions[name] for name in (*e.task.libraries, *reader)}


def run_id(campaign: str, cell: Cell, environment: Environment, repeat: int = 0) -> str:
    """Id of one run: the same command in the same campaign and environment finds its own rows."""
    return hashed([campaign, cell.cell_id, environment.environment_id, repeat])


def stated_parameters(experiment: Experiment) -> int | None:
    """Parameters that the model's YAML states for this task; None where the model doesn't have the task."""
    return experiment.model.parameters.get(experiment.task.name.replace("-", "_"))

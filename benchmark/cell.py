"""A cell is one fully resolved point of a grid; this is where its identities are made.

cell_id         the resolved configuration less paths, sampling effort, limits and campaign
environment_id  hardware identity and the versions of compiler, driver and framework
run_id          campaign, cell, environment and repeat
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark import axes
from benchmark.config.experiment import Experiment
from benchmark.config.grid import Excluded
from benchmark.errors import Dominated, Incompatible, RunFailure, Unavailable
from benchmark.records import DeviceFacts, Shape, frozen

Fate = Literal["run", "done", "incompatible", "unavailable", "dominated"]


@frozen
class Cell:
    """An experiment with the axes its model does not have taken away."""

    experiment: Experiment
    shape: Shape
    """The axes its task has."""
    cell_id: str

    @property
    def sequence_length(self) -> int | None:
        """Tokens; null for models without a sequence axis."""
        return self.shape.sequence_length

    @property
    def family_id(self) -> str:
        """Identity less batch and length: what fits in memory is judged along them."""
        made_of = identity(self.experiment, self.shape)
        return _hash({key: value for key, value in made_of.items() if key not in axes.GROWING})

    @property
    def label(self) -> str:
        """The cell in a few words, for people."""
        e = self.experiment
        return f"{e.model.name} {e.hardware.name} {e.compiler.name} {e.compiler.fast_math} {self.shape.label}"


@frozen
class Environment:
    """What a cell's numbers depend on beside its configuration."""

    environment_id: str
    facts: DeviceFacts
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    """Environment variables that can change speed."""

    @property
    def stands_in(self) -> bool:
        """Whether a library stands in for a real one: its version has the local label `simulated`."""
        return any(version.partition("+")[2] == "simulated" for version in self.versions.values())


@frozen
class PlannedRun:
    """One cell and what will become of it."""

    cell: Cell
    environment: Environment
    run_id: str
    fate: Fate
    reason: str = ""
    """Why it is not run; empty for `run`."""
    repeat: int = 0
    """Which of the cell's processes, from 0."""
    row_id: str | None = None
    """The run whose row makes it `done`: its own, or with run=stale one of another campaign."""

    @property
    def refusal(self) -> RunFailure | None:
        """The failure its row will tell, for cells that can't be measured."""
        kind = _REFUSALS.get(self.fate)
        return kind(self.reason) if kind else None


_REFUSALS: Mapping[Fate, type[RunFailure]] = {
    "incompatible": Incompatible,
    "unavailable": Unavailable,
    "dominated": Dominated,
}


class Plan(NamedTuple):
    """A grid and what will become of its cells."""

    runs: tuple[PlannedRun, ...]
    """In the order of the grid."""
    queue: tuple[PlannedRun, ...]
    """What still has to leave a row, in the order in which it will."""
    duplicates: int
    """Cells left out because they equal another one, such as a vision model at two sequence lengths."""
    excluded: tuple[Excluded, ...] = ()


def cell_of(experiment: Experiment) -> Cell:
    """Normalise the axes and give the cell its identity."""
    shape = _shape(experiment)
    return Cell(experiment=experiment, shape=shape, cell_id=_hash(identity(experiment, shape)))


def _shape(e: Experiment) -> Shape:
    asked = {
        "sequence_length": e.seq_len,
        "input_length": e.input_length,
        "output_length": e.output_length,
        "image_size": e.image_size or e.model.image_size or e.model.architecture.get("image_size"),
        "steps": e.steps,
    }
    return Shape(batch_size=e.batch, **{axis: asked[axis] for axis in e.task.axes})


def identity(experiment: Experiment, shape: Shape) -> dict[str, Any]:
    """What makes two cells the same cell."""
    e = experiment
    return {
        **({} if e.stage == "measure" else {"stage": e.stage}),
        "model": {field.name: getattr(e.model, field.name) for field in fields(e.model)},
        "task": spelled(e.task),
        "hardware": spelled(e.hardware),
        "compiler": spelled(e.compiler),
        "scenario": spelled(e.scenario),
        "weights": e.weights,
        "seed": e.seed,
        "inputs": e.inputs,
        **asdict(shape),
    }


def environment_of(
    facts: DeviceFacts, versions: Mapping[str, str], settings: Mapping[str, str]
) -> Environment:
    """Identity of hardware and software together."""
    made_of = {"facts": asdict(facts), "versions": dict(versions), "settings": dict(settings)}
    return Environment(
        environment_id=_hash(made_of), facts=facts, versions=dict(versions), settings=dict(settings)
    )


def run_id(campaign: str, cell: Cell, environment: Environment, repeat: int = 0) -> str:
    """Identity of one run: the same command in the same campaign and environment finds its own rows."""
    return _hash([campaign, cell.cell_id, environment.environment_id, repeat])


def stated_parameters(experiment: Experiment) -> int | None:
    """Parameters of the model under its task, by its YAML; null where it has no such task."""
    return experiment.model.parameters.get(experiment.task.name.replace("-", "_"))


def spelled(plugin: Any) -> Mapping[str, Any]:
    """A plug-in as its YAML would spell it, with every default written out. Shared: change nothing."""
    return _spelled(plugin)


@lru_cache(maxsize=4096)
def _spelled(plugin: Any) -> Mapping[str, Any]:
    kind = type(plugin)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **asdict(plugin)}


def code_digest(*plugins: Any) -> str:
    """Hash of the source of plug-ins and of what they share: an artefact depends on it as on the compiler."""
    kinds = {
        kind
        for plugin in plugins
        for kind in type(plugin).__mro__
        if kind.__module__.startswith("benchmark.")
    }
    return _source_digest(frozenset(map(inspect.getfile, kinds)))


@lru_cache(maxsize=256)
def _source_digest(plugins: frozenset[str]) -> str:
    files = {Path(plugin) for plugin in plugins}
    ours = Path(__file__).parent
    files |= {*ours.glob("models/*.*"), *ours.glob("neuron/*.*")}  # sentences and registry too
    return _hash(sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))


def _hash(made_of: Any) -> str:
    text = json.dumps(made_of, sort_keys=True, default=sorted, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

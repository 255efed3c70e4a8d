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
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from benchmark.config import Experiment
from benchmark.errors import Incompatible, RunFailure, Unavailable
from benchmark.records import DeviceFacts, frozen

Fate = Literal["run", "done", "incompatible", "unavailable"]


@frozen
class Cell:
    """An experiment with the axes its model does not have taken away."""

    experiment: Experiment
    sequence_length: int | None
    """Tokens; null for models without a sequence axis."""
    cell_id: str

    @property
    def label(self) -> str:
        """The cell in a few words, for people."""
        e = self.experiment
        length = f" s{self.sequence_length}" if self.sequence_length else ""
        return f"{e.model.name} {e.hardware.name} {e.compiler.name} {e.compiler.fast_math} b{e.batch}{length}"


@frozen
class Environment:
    """What a cell's numbers depend on beside its configuration."""

    environment_id: str
    facts: DeviceFacts
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    """Environment variables that can change speed."""


@frozen
class PlannedRun:
    """One cell and what will become of it."""

    cell: Cell
    environment: Environment
    run_id: str
    fate: Fate
    reason: str = ""
    """Why it is not run; empty for `run`."""

    @property
    def refusal(self) -> RunFailure | None:
        """The failure its row will tell, for cells that can't be measured."""
        kinds: dict[str, type[RunFailure]] = {"incompatible": Incompatible, "unavailable": Unavailable}
        return kinds[self.fate](self.reason) if self.fate in kinds else None


@frozen
class Plan:
    """A grid, in the order in which it will run."""

    runs: tuple[PlannedRun, ...]
    duplicates: int
    """Cells left out because they equal another one, such as a vision model at two sequence lengths."""

    @property
    def pending(self) -> tuple[PlannedRun, ...]:
        """What still has to leave a row."""
        return tuple(run for run in self.runs if run.fate != "done")


def cell_of(experiment: Experiment) -> Cell:
    """Normalise the axes and give the cell its identity."""
    length = experiment.seq_len if experiment.task.has_sequence_length else None
    return Cell(experiment=experiment, sequence_length=length, cell_id=_hash(identity(experiment, length)))


def identity(experiment: Experiment, sequence_length: int | None) -> dict[str, Any]:
    """What makes two cells the same cell."""
    e = experiment
    return {
        "model": asdict(e.model),
        "task": spelled(e.task),
        "hardware": spelled(e.hardware),
        "compiler": spelled(e.compiler),
        "scenario": spelled(e.scenario),
        "weights": e.weights,
        "seed": e.seed,
        "batch_size": e.batch,
        "sequence_length": sequence_length,
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


def spelled(plugin: Any) -> dict[str, Any]:
    """A plug-in as its YAML would spell it, with every default written out."""
    kind = type(plugin)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **asdict(plugin)}


def code_digest(*plugins: Any) -> str:
    """Hash of the source of plug-ins and of what they share: an artefact depends on it as on the compiler."""
    files = {Path(inspect.getfile(type(plugin))) for plugin in plugins}
    files |= {Path(__file__).with_name(name) for name in ("torch_models.py", "torch_arithmetic.py")}
    return _hash(sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))


def _hash(made_of: Any) -> str:
    text = json.dumps(made_of, sort_keys=True, default=sorted, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

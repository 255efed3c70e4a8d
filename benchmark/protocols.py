"""The seams: what a plug-in must answer. At most four methods each; the plug-in *is* its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from benchmark.measurement import DeviceState, Timing
from benchmark.precision import Tolerance
from benchmark.records import (
    CompileReport,
    DeviceFacts,
    FastMath,
    Model,
    Row,
    Sampling,
    Session,
    Shape,
    Unit,
    Workload,
)

T = TypeVar("T")


@runtime_checkable
class Task(Protocol):
    """How a kind of model is made, loaded and fed. The methods but `refuse` run in a child."""

    @property
    def name(self) -> str:
        """The task as Hugging Face names it."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Fields of `Shape` that these models have beside the batch; cells that differ in others are one."""

    @property
    def unit(self) -> Unit:
        """What throughput counts: items, images, or tokens given and made."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions it stands on: their versions are part of identities and keys."""

    @property
    def preload(self) -> tuple[str, ...]:
        """Modules worth importing once, before children are forked."""

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Say why the model can't be fed so, or None."""

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Write the model into `folder`; return facts about it.

        Raises:
            Unavailable: pretrained weights that can't be had here.
        """

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the weights: a torch module in eval mode, positional tensors in, a tensor or a tuple out.

        Or a `torch_parts.CompositeModel`, whose parts are such modules.
        """

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Tensors by name, in the order of the module's positional inputs.

        Seeded ones; or real text and pictures, prepared by the tokenizer in the folder `real`.

        Raises:
            Unavailable: real ones that can't be had here.
        """


@runtime_checkable
class Compiler(Protocol):
    """Turns a workload into something that can be called. It never sees the cache."""

    @property
    def name(self) -> str:
        """The stem of its file and of its YAML."""

    @property
    def runs_on(self) -> frozenset[str]:
        """Kinds of device it can target."""

    @property
    def leaves_artifact(self) -> bool:
        """Whether `compile` writes files that `load` needs."""

    @property
    def preload(self) -> tuple[str, ...]:
        """Modules worth importing once, before children are forked."""

    @property
    def python(self) -> str | None:
        """Interpreter whose worker builds, compiles and measures; null: this one."""

    @property
    def fast_math(self) -> FastMath:
        """How much arithmetic may leave fp32."""

    @property
    def tolerance(self) -> Tolerance:
        """The least exact arithmetic that its options ask for: answers are held to the floor of that."""

    def refuse(self, kind: str) -> str | None:
        """Say why these options can't be had on this kind of device, or None.

        A compiler that knows some models only has `refuse_model(model, task)` beside it, which says why not.
        """

    def versions(self) -> Mapping[str, str]:
        """Versions that decide the generated code. Runs in the parent: no heavy import.

        Raises:
            LibraryMissing: with the command that installs it.
        """

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Write the artefact into `folder`. Runs in a child.

        Raises:
            UnsupportedOperator: an operator of the model is unknown to the compiler.
        """

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load for timing. Runs in a fresh child; `folder` is null where there is no artefact."""


@runtime_checkable
class Device(Protocol):
    """Where a cell runs."""

    @property
    def name(self) -> str:
        """What the user calls this hardware: the stem of its YAML."""

    @property
    def kind(self) -> str:
        """What compilers know: cpu, cuda, inferentia1, neuron, simulated."""

    @property
    def simulated(self) -> bool:
        """Whether its numbers are invented; rows say so, and no report shows them unless asked."""

    @property
    def isolated(self) -> bool:
        """Whether runs need child processes."""

    def missing(self) -> str | None:
        """Say what this host lacks to be such a device and what to do, or None."""

    def facts(self) -> DeviceFacts:
        """Identity; for a device that is missing, as far as the configuration tells."""

    def configure_process(self) -> None:
        """In the child, before anything is loaded: affinity, visible cores."""

    def synchronized(self, session: Session) -> Session:
        """The session as it has to be timed: its calls wait for the device where they are asynchronous."""

    def state(self) -> DeviceState:
        """How the device is just now, as far as it tells. Runs in the child, beside timed calls: quick."""


@runtime_checkable
class Scenario(Protocol):
    """How a loaded model is called and timed."""

    @property
    def name(self) -> str:
        """The stem of its YAML."""

    @property
    def replicas(self) -> int:
        """Copies of the model that it calls."""

    @property
    def workers(self) -> int:
        """Callers of each."""

    def measure(self, sessions: Sequence[Session], sampling: Sampling) -> Timing:
        """Warm up, then call the copies until the sampling is content. Runs in the child."""


class Call(Protocol):
    """Where a stage's heavy part runs: a child process, or here for devices that compute nothing."""

    def __call__(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """Return what `function` returns.

        Raises:
            RunFailure: of the kind that tells what became of the child.
        """


class Observer(Protocol):
    """Whoever watches a grid run. `working` is called by several threads while cells are prepared."""

    def working(self, where: str, label: str, stage: str) -> AbstractContextManager[None]:
        """A cell is in a stage while the block lasts; `where` is a device or a compile worker."""

    def finished(self, row: Row) -> None:
        """A cell has left its row in the store."""

    def skipped(self, run_id: str, label: str) -> None:
        """Another command has left the row of a cell in the meantime."""

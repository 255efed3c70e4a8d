"""The seams: what each kind of plug-in must answer. A plug-in is a frozen dataclass of its own options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from benchmark.items import Items, Kind, Split
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
from benchmark.serving_records import ServingOptions
from benchmark.training_records import Objective, TrainingOptions, TrainingSetup

T = TypeVar("T")


@runtime_checkable
class Task(Protocol):
    """How models of one task are made, loaded and fed. Weights, module and inputs are made in a child."""

    @property
    def name(self) -> str:
        """Name of the task on Hugging Face, such as `text-generation`."""

    def axes_of(self, model: Model) -> tuple[str, ...]:
        """Fields of `Shape` that the model has, beside the batch size. All other fields are ignored."""

    def unit_of(self, model: Model) -> Unit:
        """What throughput counts: items, images, or tokens (prompt and generated)."""

    def parts_of(self, model: Model) -> tuple[str, ...]:
        """Names of the networks that are compiled one by one; empty: the model is one network."""

    def shares_of(self, model: Model) -> Mapping[str, float]:
        """Least share of the model's parameters that a part has, where it is known."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions that it needs. Their versions are part of identities and cache keys."""

    @property
    def preload(self) -> tuple[str, ...]:
        """Modules that are imported once, before child processes are forked."""

    @property
    def objective(self) -> Objective | None:
        """What training compares the model's answers with; None: its models aren't trained."""

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Return why the model can't take this shape, or None."""

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Write the model into `folder`; return facts about it.

        `weights` is `random`, `pretrained`, a GGUF file to convert, or a local folder: then nothing is
        written, and the task checks that the folder holds this model.

        Raises:
            ConfigError: the YAML states another model, or another number of parameters.
            Unavailable: the pretrained weights can't be loaded on this host.
        """

    def module(self, folder: Path, shape: Shape) -> Any:
        """A torch module in eval mode, positional tensors in, tensors out; or a `CompositeModel` of such."""

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Tensors by name, in the order of the module's positional inputs.

        Seeded random values; or real text and images, prepared by the processors in the folder `real`.

        Raises:
            Unavailable: the real inputs can't be loaded on this host.
        """


@runtime_checkable
class Compiler(Protocol):
    """Compiles a workload and loads the result. It never sees the cache. See also `CompilerDefaults`."""

    @property
    def name(self) -> str:
        """Stem of its module and of its YAML."""

    @property
    def runs_on(self) -> frozenset[str]:
        """Kinds of device that it generates code for."""

    @property
    def leaves_artifact(self) -> bool:
        """Whether `compile` writes files that `load` needs."""

    @property
    def unpickles(self) -> bool:
        """Whether `load` unpickles these files: then no bucket gives them that isn't trusted."""

    @property
    def preload(self) -> tuple[str, ...]:
        """Modules that are imported once, before child processes are forked."""

    @property
    def python(self) -> str | None:
        """Interpreter that builds, compiles and measures; None: the one that runs this program."""

    @property
    def fast_math(self) -> FastMath:
        """How much of the arithmetic may use fewer bits than fp32."""

    @property
    def tolerance(self) -> Tolerance:
        """The least exact arithmetic that its options allow: it chooses the floor for the answers' cosine."""

    @property
    def pipeline_cores(self) -> int | None:
        """Device cores that one model is split over, for the row; None: the compiler has no pipeline."""

    @property
    def variables(self) -> str:
        """Regular expression of the environment variables that change what it makes; empty: none does."""

    @property
    def parts_named(self) -> tuple[str, ...]:
        """Parts of models, such as a VAE, that it has options for."""

    def weight_bytes(self, part: str) -> int:
        """Least bytes of one weight of a part on the device."""

    def commands(
        self, model: Model, parts: Sequence[str], target: str | None, versions: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Command line of the compiler program that it calls, by part; empty: it calls none.

        `target` is as in `DeviceFacts`; a missing version means the newest. Nothing has to be installed.
        """

    def placement(self, parts: Sequence[str], cores: int) -> Mapping[str, tuple[int, ...]]:
        """Cores of the device for each part, of the `cores` of one copy of the model, counted from 0.

        They may be more than `cores`: then the plan refuses the cell. Empty where models have no core of
        their own, as on a CPU.
        """

    def refuse(self, kind: str) -> str | None:
        """Return why these options don't work on this kind of device, or None."""

    def refuse_model(self, model: Model, task: str) -> str | None:
        """Return why this compiler can't take the model for this task, or None."""

    def known_fault(self, model_type: str, versions: Mapping[str, str]) -> str:
        """Return a failure that others have seen with this kind of model, and its source; or an empty text.

        It is added to the reason of a failed compilation.
        """

    def versions(self) -> Mapping[str, str]:
        """Versions that decide the generated code. Runs in the parent process: no heavy import.

        Raises:
            LibraryMissing: with the command that installs the library.
        """

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Write the artefact into `folder`. Runs in a child process.

        Raises:
            UnsupportedOperator: the compiler lacks an operator of the model.
        """

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load for timing. Runs in a fresh child process; `folder` is None where there is no artefact."""

    def refuse_training(self) -> str | None:
        """Return why nothing is trained with these options, or None."""

    def for_training(self, workload: Workload, folder: Path) -> TrainingSetup:
        """Prepare this process to train; what it compiles lies in `folder`, which ends with the process."""


class CompilerDefaults:
    """Answers of a compiler that takes every model and has no pipeline. Override what differs."""

    fast_math: FastMath
    unpickles: ClassVar[bool] = False

    @property
    def pipeline_cores(self) -> int | None:
        """No pipeline."""
        return None

    @property
    def variables(self) -> str:
        """None."""
        return ""

    @property
    def parts_named(self) -> tuple[str, ...]:
        """None."""
        return ()

    def weight_bytes(self, part: str) -> int:
        """Those of its fast_math: a compiler that casts may keep weights as it multiplies them."""
        del part
        return 4 if self.fast_math == "none" else 2

    def commands(
        self,
        model: Model,  # noqa: ARG002 - there is no command
        parts: Sequence[str],  # noqa: ARG002
        target: str | None,  # noqa: ARG002
        versions: Mapping[str, str],  # noqa: ARG002
    ) -> Mapping[str, str]:
        """No program is called."""
        return {}

    def placement(self, parts: Sequence[str], cores: int) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002 - the same for every model
        """No core of its own."""
        return {}

    def refuse_model(self, model: Model, task: str) -> str | None:  # noqa: ARG002 - the same for every model
        """Take every model."""
        return None

    def known_fault(self, model_type: str, versions: Mapping[str, str]) -> str:  # noqa: ARG002 - likewise
        """None is known."""
        return ""

    def refuse_training(self) -> str | None:
        """Refuse to train: most compilers make programs that only answer."""
        return "what it makes can't be trained: use compiler=eager or compiler=inductor"

    def for_training(self, workload: Workload, folder: Path) -> TrainingSetup:
        """Refused before: nothing calls it."""
        raise NotImplementedError


@runtime_checkable
class Device(Protocol):
    """The hardware that a cell runs on."""

    @property
    def name(self) -> str:
        """Name that the user chooses this hardware by: the stem of its YAML."""

    @property
    def kind(self) -> str:
        """What compilers know it by: cpu, cuda, neuroncore-v2, simulated."""

    @property
    def torch_device(self) -> Literal["cpu", "cuda"] | None:
        """Torch device that computes on it; None: torch has no kernels for it, compilers trace on the CPU."""

    @property
    def simulated(self) -> bool:
        """Whether its figures are simulated. Rows say so; reports leave them out unless simulated=true."""

    @property
    def isolated(self) -> bool:
        """Whether runs need child processes."""

    @property
    def core_memory_bytes(self) -> int | None:
        """Memory that one core has for models; None: not known, or not its own."""

    def refuse(self) -> str | None:
        """Return why no host can have this device, such as more cores than the instance type has, or None."""

    def missing(self) -> str | None:
        """Return what this host lacks to run on the device, and what to do about it; None: nothing."""

    def facts(self) -> DeviceFacts:
        """Identity of the device. On a host without it: what the configuration states."""

    def shares(self, replicas: int) -> tuple[tuple[int, ...], ...]:
        """Cores that each copy of the model gets, in a process of its own, numbered as on this host.

        Empty where the device has no cores to give: all copies are then in one process. Runs in the child.

        Raises:
            Unavailable: other processes hold too many of them.
        """

    def configure_process(self, share: Sequence[int] = ()) -> None:
        """Prepare the child process before any library is loaded: CPU affinity, visible device cores.

        `share` is one of `shares`; empty, the device chooses.
        """

    def synchronized(self, session: Session) -> Session:
        """Return a session whose calls end when the device is done: asynchronous calls are made to wait."""

    def of_rank(self, rank: int) -> Device | None:
        """Return the device of one of several processes that train together; None: there are fewer."""

    def state(self) -> DeviceState:
        """Sensor readings of this moment. Runs in the child process between timed calls: it must be quick."""


@runtime_checkable
class Scenario(Protocol):
    """How a loaded model is called and timed."""

    @property
    def name(self) -> str:
        """Stem of its YAML."""

    @property
    def replicas(self) -> int:
        """Copies of the model that are loaded."""

    @property
    def workers(self) -> int:
        """Threads that call each copy."""

    @property
    def training(self) -> TrainingOptions | None:
        """How it trains the model; None: it calls the compiled one."""

    @property
    def serving(self) -> ServingOptions | None:
        """How it loads the model with requests; None: it calls the model itself."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batches that are compiled for it, in batches of the cell: 1, and larger ones that it calls."""

    def variants(self, cores: int) -> Sequence[Scenario]:
        """Scenarios of which the fastest, with the best batch of `sizes`, is measured.

        Empty: it is measured as it is. A device has so many cores; copies of the model grow in number.
        """

    def refuse(
        self, task: Task, compiler: Compiler, device: Device, shape: Shape, dataset: Dataset | None = None
    ) -> str | None:
        """Return why this can't be measured so, or None."""

    @property
    def labelled(self) -> bool:
        """Whether it answers the items of a data set once each, not the same inputs again and again."""

    def measure(
        self, sessions: Sequence[Session], sampling: Sampling, asking: Asking | None = None
    ) -> Timing:
        """Warm up, then call the copies until the stopping rule is met. Runs in the child process.

        `asking` is given to labelled scenarios. A scenario that trains or serves is not asked to.
        """


class ScenarioDefaults:
    """Answers of a scenario that calls the compiled model, whatever it is, with the workload's inputs."""

    @property
    def training(self) -> TrainingOptions | None:
        """It doesn't train."""
        return None

    @property
    def serving(self) -> ServingOptions | None:
        """It calls the model itself."""
        return None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The cell's batch."""
        return (1,)

    def variants(self, cores: int) -> Sequence[Scenario]:  # noqa: ARG002 - whatever their number
        """None: it is measured as it is."""
        return ()

    def refuse(
        self,
        task: Task,  # noqa: ARG002 - the same for all
        compiler: Compiler,  # noqa: ARG002
        device: Device,  # noqa: ARG002
        shape: Shape,  # noqa: ARG002
        dataset: Dataset | None = None,  # noqa: ARG002
    ) -> str | None:
        """Refuse nothing."""
        return None

    @property
    def labelled(self) -> bool:
        """It answers no data set."""
        return False


class Asking(Protocol):
    """Items of a data set, batch by batch, for a labelled scenario."""

    def first_inputs(self) -> Sequence[np.ndarray]:
        """Inputs of the first call, for the warm-up."""

    def ask(self, session: Session, replace_inputs: Callable[[Session, Sequence[np.ndarray]], None]) -> None:
        """Answer the items that have no answer yet."""

    def times(self) -> tuple[Sequence[int], float, float]:
        """Nanoseconds of each call so far, their seconds, and CPU seconds."""


@runtime_checkable
class Dataset(Protocol):
    """Labelled data: items to answer, and perhaps others to fit on."""

    @property
    def name(self) -> str:
        """Stem of its YAML."""

    @property
    def kind(self) -> Kind:
        """What an item holds."""

    @property
    def metric(self) -> str:
        """The figure that counts, beside the share of right answers."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of their numbers, where its YAML states them."""

    def missing(self) -> str | None:
        """Return what this host lacks to read it, and what to do about it; None: nothing."""

    def digest(self) -> str:
        """Hash that changes with its files, without reading them whole."""

    def items(self, split: Split) -> Items:
        """Items of a split, checked.

        Raises:
            Unavailable: it can't be read, or has items by which nothing can be scored.
        """


class Call(Protocol):
    """Runs the heavy part of a stage: in a child process, or in this one for devices that compute nothing."""

    def __call__(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """Return what `function` returns; a `RunFailure` says by its class how the child process ended."""


class Observer(Protocol):
    """Gets the events of a grid run. Several threads call `working` while cells are prepared."""

    def working(self, where: str, run_id: str, stage: str) -> AbstractContextManager[None]:
        """A cell is in this stage while the block lasts. `where` is a device or a compile worker."""

    def waiting(self, where: str, run_id: str, holder: str) -> None:
        """The run waits for the host; `holder` says which command has it. Called again when that changes."""

    def finished(self, row: Row) -> None:
        """The row of a cell is in the store."""

    def skipped(self, run_id: str) -> None:
        """Another command has stored the row of this cell in the meantime."""

    def unneeded(self, run_id: str) -> None:
        """The cell needs no further process: this run leaves no row."""

"""The nouns that pass between stages: frozen, typed at construction, units in their names."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Strict
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from benchmark import axes

T = TypeVar("T")

_STRICT = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

Names = Annotated[tuple[str, ...], Strict(False)]  # noqa: FBT003 - YAML knows lists only
Unit = Literal["items", "images", "tokens"]
FastMath = Literal["none", "matmult", "all"]
"""How much arithmetic may leave fp32: nothing, matrix products, everything the compiler likes."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def frozen(cls: type[T]) -> type[T]:
    """House dataclass: immutable, keyword-only, typed at construction, no unknown fields."""
    if sys.version_info < (3, 10):  # noqa: UP036 - a worker's, without kw_only: defaults come last
        names = cls.__annotations__
        cls.__annotations__ = {name: names[name] for name in sorted(names, key=cls.__dict__.__contains__)}
    return dataclass(frozen=True, kw_only=True, config=_STRICT)(cls)  # type: ignore[return-value]


@frozen
class Model:
    """A model as its YAML states it: enough to build it without a download."""

    name: str
    """The name it is chosen by: the stem of its YAML."""
    architecture: Mapping[str, Any]
    """`model_type` and the fields of its transformers configuration that differ from the defaults."""
    parameters: Mapping[str, PositiveInt]
    """By task the parameters of the published model with that head: these are the tasks it has, and building
    fails if the architecture has others."""
    max_sequence_length: PositiveInt | None = None
    """Tokens it takes at most, special tokens included; null where nothing limits them."""
    image_size: PositiveInt | None = None
    """Pixels along an edge that it is usually given; null where the architecture states the only size."""
    hub_id: str | None = None
    """Where `weights=pretrained` comes from; without it only random or local weights are possible."""
    revision: str | None = None
    """Commit of the hub repository; null takes the branch `main`, and the row then says `main`."""


@frozen
class Shape:
    """How large a call is; an axis that the task does not have is null."""

    batch_size: PositiveInt
    """Items, whatever an item is: a sentence, a picture, a generation."""
    sequence_length: PositiveInt | None = None
    """Tokens of one item."""
    input_length: PositiveInt | None = None
    """Tokens given to a generation."""
    output_length: PositiveInt | None = None
    """Tokens made by a generation."""
    image_size: PositiveInt | None = None
    """Pixels along an edge of one image."""
    steps: PositiveInt | None = None
    """Denoising steps of a diffusion."""

    @property
    def axes(self) -> dict[str, int]:
        """The axes it has, batch aside."""
        return {name: value for name, value in asdict(self).items() if value and name != "batch_size"}

    @property
    def label(self) -> str:
        """In a few characters, for people."""
        return axes.label({name: value for name in axes.SIZES if (value := getattr(self, name))})


@frozen
class Sampling:
    """How long to look: until both minima and the precision are reached, or one maximum."""

    warmup_calls: NonNegativeInt
    """Calls before the first sample."""
    warmup_s: NonNegativeFloat
    """Seconds of warm-up at least."""
    min_calls: PositiveInt
    """Samples at least."""
    max_calls: PositiveInt
    """Samples at most."""
    min_s: NonNegativeFloat
    """Seconds of sampling at least."""
    max_s: PositiveFloat
    """Seconds of sampling at most."""
    order: Literal["grid", "random"] = "grid"
    """In which order cells are timed: as the grid has them, or shuffled, so that a drift of the host
    meets no axis in particular."""
    order_seed: NonNegativeInt = 0
    """Of the shuffling; rows keep it in `config`."""
    precision: PositiveFloat | None = None
    """Half width of the 95 % interval, as a share of the percentile, at which sampling ends; null: no end."""
    precision_percentile: Annotated[float, Field(gt=0, lt=100)] = 50.0
    """Of which percentile."""
    repeats: PositiveInt = 1
    """Fresh processes for each cell, a row each; no cell is timed twice before all have been timed once."""
    least_on_cpu: Annotated[float, Field(ge=0, le=1)] = 0.97
    """A run is noisy whose threads had less than this share of the CPU time they wanted."""
    noise_retries: NonNegativeInt = 2
    """How often a noisy run is timed again, in the same process; the quietest counts."""
    inputs: Literal["fixed", "varied"] = "fixed"
    """The same values in every call, or shuffled ones (seeded) before every block of calls."""


@frozen
class DeviceFacts:
    """What identifies the device a cell asks for, as found on this host."""

    device_name: str
    cores: PositiveInt
    """Cores of the device that the run uses."""
    instance_type: str | None = None
    """Cloud instance type from the firmware's DMI tables, or as configured; null where neither says."""
    driver_version: str | None = None
    threads: PositiveInt | None = None
    """Intra-op threads a host library may use."""
    isa: str = ""
    """Instruction sets that change generated code; part of the cache key."""
    target: str | None = None
    """What to generate code for, as the device's compiler names it: then it compiles on hosts without the
    device too. Null where it needs the device, or the host is it."""


@frozen
class ChildLimits:
    """What a child process may use, and where its output goes."""

    log: Path
    timeout_s: PositiveFloat
    memory_bytes: PositiveInt | None = None
    """Private memory it may take (RLIMIT_DATA) beyond what imports hold; null sets no limit."""
    command_pid: PositiveInt = Field(default_factory=os.getpid)
    """Process of the command that the child works for; see `machine.command_pid`."""


@frozen
class Workload:
    """A model ready to be compiled: how to get the module, and what to feed it. Not compiled yet."""

    name: str = "model"
    """Which part of a model it is."""
    load_module: Callable[[], Any]
    """Called in a child: the module in eval mode, positional tensors in, a tensor or a tuple out. Of a model
    in parts: a `torch_parts.CompositeModel`, which knows how to call them."""
    parts: tuple[Workload, ...] = ()
    """Networks that are compiled apart and called in turn; empty for a model that is one network."""
    calls: PositiveInt = 1
    """How often one call of the model calls this part."""
    input_names: Names
    """Names of the positional inputs, in order."""
    input_shapes: Mapping[str, tuple[int, ...]]
    input_dtypes: Mapping[str, str]
    reference: Path | None
    """Folder with `inputs.safetensors` and the fp32 answers to them in `outputs.safetensors`; null where
    nothing is computed (simulated)."""
    weights_digest: str
    parameters: PositiveInt | None
    flops_per_call: NonNegativeInt | None
    """Floating-point operations of one call; null where they can't be counted."""
    weight_bytes: NonNegativeInt | None
    """Bytes of fp32 parameters that one call has to read."""
    padding_share: float | None
    """Share of the tokens that are padding; null where there are no tokens."""
    shape: Shape
    threads: PositiveInt | None
    torch_device: Literal["cpu", "cuda"]
    target: str | None = None
    """What to generate code for, where that isn't the host it is compiled on; see `DeviceFacts`."""
    task: str = ""
    """As Hugging Face names it."""
    weights: Path | None = None
    """Folder as `save_pretrained` writes it, for libraries that load models their own way."""


@frozen
class CompileReport:
    """What the compiler told about its work; unknown stays null."""

    flags: Names = ()
    """The effective flags, as given to the compiler."""
    subgraphs: int | None = None
    graph_breaks: int | None = None
    ops_on_device_fraction: float | None = None
    unsupported_ops: Names | None = None
    """Operators that the compiler doesn't know: where it compiled all the same, they are left to the CPU."""
    script_modules: int | None = None
    """Modules that the compiled program was cut into, those of the device and those between."""
    neff_bytes: int | None = None
    """Of what is loaded to a Neuron device."""


@frozen
class Artifact:
    """A compiled workload. `folder` is null for compilers that leave nothing behind."""

    folder: Path | None
    key: str | None
    report: CompileReport
    cache_hit: bool | None
    compile_s: float | None
    """Seconds the compiler took when the artefact was made, also on a cache hit."""
    part_compile_s: Mapping[str, float] = Field(default_factory=dict)
    """The same by part, for a model in parts."""
    compile_workers: int | None = None
    """Compilations that ran at a time then."""
    artifact_bytes: int | None


@frozen
class Arithmetic:
    """The arithmetic in effect, whatever was asked for."""

    model_dtype: str
    matmul_dtype: str
    other_dtype: str
    autocast: str


@frozen
class Session:
    """A loaded model: one call of `run` is one timed run."""

    run: Callable[[], Any]
    arithmetic: Arithmetic
    inputs: tuple[Any, ...] = ()
    """Arrays or tensors that `run` reads, for who wants to vary them in place."""
    before_block: Callable[[], None] | None = None
    """Called before each block of timed calls, untimed."""
    call: Callable[..., Sequence[Any]] | None = None
    """The same network on other inputs of these shapes, positional and of the kind of `inputs`."""
    answers: Callable[[], Sequence[Any]] | None = None
    """What is to be compared with the reference, where that is not what `run` returns."""
    save_image: Callable[[Path], bool] | None = None
    """Save what `answers` made for people to look at, where there is such a thing; say whether there is."""
    token_ns: Callable[[], Sequence[Sequence[int]]] | None = None
    """For each call since this was last asked, nanoseconds from its start to each of its tokens."""
    clock: Callable[[], int] = time.perf_counter_ns
    """Nanoseconds; a simulated device brings its own."""
    device_ns: Callable[[], Sequence[int]] | None = None
    """What the device itself took for each call since this was last asked, by its own clock."""


@frozen
class Quality:
    """The compiled model's answers against the fp32 reference on the same inputs."""

    cosine: float | None = None
    """Least over the items of the batch and the outputs."""
    max_abs_error: float | None = None
    top1_agreement: float | None = None
    """Share of items whose greatest entry of the first output stands at the same place."""


@frozen
class Failure:
    """Why a cell has no measurement."""

    status: str
    stage: str
    error: str
    error_class: str | None = None
    """Of what a library raised, as it names it."""
    unsupported_ops: Names = ()
    """Operators that the compiler doesn't know."""


@frozen
class Row:
    """What a run leaves in the store; the columns are spelled in `schema` alone."""

    values: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """Identity of the run: the store keeps one row for each."""
        return str(self.values["run_id"])

    @property
    def status(self) -> str:
        """What became of the cell."""
        return str(self.values["status"])

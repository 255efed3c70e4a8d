"""The records that pass between stages: frozen, typed at construction, with units in their names."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Strict,
    ValidationInfo,
    field_validator,
)
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from benchmark import axes

T = TypeVar("T")

_STRICT = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

SECOND = "second"
"""Folder of the second inputs, in that of a reference."""

Names = Annotated[tuple[str, ...], Strict(False)]  # noqa: FBT003 - YAML knows lists only
_Share = Annotated[float, Field(ge=1e-4, lt=1)]
"""A precision. No clock and no host is steady enough for less."""
Unit = Literal["items", "images", "tokens"]
FastMath = Literal["none", "matmult", "all"]
"""What may be computed below fp32: nothing, matrix products, or whatever the compiler chooses."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def frozen(cls: type[T]) -> type[T]:
    """Dataclass of this program: immutable, keyword-only, checked at construction, no unknown fields."""
    if sys.version_info < (3, 10):  # noqa: UP036 - a worker of Python 3.9 has no kw_only: defaults come last
        names = cls.__annotations__
        cls.__annotations__ = {name: names[name] for name in sorted(names, key=cls.__dict__.__contains__)}
    return dataclass(frozen=True, kw_only=True, config=_STRICT)(cls)  # type: ignore[return-value]


@frozen
class Model:
    """A model as its YAML describes it: enough to build it without a download."""

    name: str
    """The stem of its YAML, as in `model=bert`."""
    architecture: Mapping[str, Any]
    """`model_type` and the fields of its transformers configuration that differ from the defaults."""
    parameters: Mapping[str, PositiveInt] = Field(default_factory=dict)
    """Task to parameters of the published model, which building checks; empty: any task, unchecked."""
    max_sequence_length: PositiveInt | None = None
    """Most tokens; null: no limit. A YAML without it means that of the configuration."""
    image_size: PositiveInt | None = None
    """Usual pixels along an edge. A YAML without it means the size that the configuration is for."""
    hub_id: str | None = None
    """Hugging Face id of `weights=pretrained`; without it only random or local weights are possible."""
    revision: str | None = None
    """Commit of the hub repository; null is the branch `main`."""
    file: str | None = field(default=None, compare=False)
    """The YAML that it was read from, for messages; no part of its identity."""


@frozen
class Shape:
    """Size of one call; an axis that the task does not have is null."""

    batch_size: PositiveInt
    """Items: sentences, images or generations."""
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
        """Its axes without the batch."""
        return {name: value for name, value in asdict(self).items() if value and name != "batch_size"}

    @property
    def label(self) -> str:
        """A few characters for tables and logs, such as `b1 s128`."""
        return axes.label({name: value for name in axes.SIZES if (value := getattr(self, name))})


@frozen
class Sampling:
    """Stopping rule of a measurement: both minima and the precision are reached, or one maximum is."""

    warmup_calls: NonNegativeInt
    """Calls before the first sample."""
    warmup_s: NonNegativeFloat
    """Least seconds of warm-up."""
    min_calls: PositiveInt
    """Least number of samples."""
    max_calls: PositiveInt
    """Most samples."""
    min_s: NonNegativeFloat
    """Least seconds of sampling."""
    max_s: PositiveFloat
    """Most seconds of sampling."""
    order: Literal["grid", "random"] = "grid"
    """Order in which cells are timed; random, a drift of the host doesn't look like an effect of an axis."""
    order_seed: NonNegativeInt = 0
    """Seed of the shuffling; rows keep it in `config`."""
    precision: _Share | None = None
    """Half width of the 95 % interval, as a share of the percentile, at which sampling ends; null: no end."""
    precision_percentile: Annotated[float, Field(gt=0, lt=100)] = 50.0
    """The percentile that `precision` is about."""
    repeats: PositiveInt = 1
    """Most fresh processes for each cell, a row each; all cells are timed once before any is timed again."""
    min_repeats: PositiveInt = 1
    """Processes before the precision of `repeat_precision` counts."""
    repeat_precision: _Share | None = None
    """Half width of the 95 % interval of p50 over processes, as a share, at which no other process of a cell
    starts; null: always `repeats`."""
    least_on_cpu: Annotated[float, Field(ge=0, le=1)] = 0.97
    """A run is noisy if its threads got less than this share of the CPU time they needed."""
    noise_retries: NonNegativeInt = 2
    """Most times that a noisy run is timed again in its process; the quietest attempt counts."""
    inputs: Literal["fixed", "varied"] = "fixed"
    """fixed: every call has the same values; varied: they are shuffled (seeded) before each block."""

    @field_validator("max_calls", "max_s")
    @classmethod
    def _is_reachable(cls, most: float, fields: ValidationInfo) -> float:
        """Refuse a maximum below a minimum."""
        name = "min_s" if fields.field_name == "max_s" else "min_calls"
        if (least := fields.data.get(name, 0)) > most:
            raise ValueError(f"is below sampling.{name}={least:g}: raise this, or lower that")
        return most


@frozen
class DeviceFacts:
    """Identity of the device that a cell runs on, as found on this host."""

    device_name: str
    cores: PositiveInt
    """Cores of the device that the run uses."""
    instance_type: str | None = None
    """Cloud instance type: as configured, or from the firmware's DMI tables; null if neither has it."""
    driver_version: str | None = None
    threads: PositiveInt | None = None
    """Intra-op threads a host library may use."""
    isa: str = ""
    """Instruction sets that change generated code; part of the cache key."""
    target: str | None = None
    """Target of code generation for compilers that work without the device; else null."""


@frozen
class Workload:
    """A model with its inputs, ready to be compiled."""

    name: str = "model"
    """Name of the part, in a model of several."""
    load_module: Callable[[], Any]
    """Called in a child: the module in eval mode, or the `CompositeModel` that calls the parts."""
    parts: tuple[Workload, ...] = ()
    """Networks that are compiled separately; empty for a model that is one network."""
    calls: PositiveInt = 1
    """Calls of this part in one call of the model."""
    input_names: Names
    """Names of the positional inputs, in order."""
    input_shapes: Mapping[str, tuple[int, ...]]
    input_dtypes: Mapping[str, str]
    reference: Path | None
    """Folder with inputs and their fp32 answers, twice (`second`); null for simulated devices."""
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
    """As in `DeviceFacts`."""
    task: str = ""
    """As Hugging Face names it."""
    weights: Path | None = None
    """Folder as `save_pretrained` writes it, for libraries that load models their own way."""
    cores: tuple[NonNegativeInt, ...] = ()
    """Device cores that it is placed on, counted from the first one of its copy; empty: it has none. Of
    several each takes a share of the batch, or of the layers, as the compiler has it."""
    states: Names = ()
    """Inputs that keep their values from call to call, such as keys and values: the network changes them in
    place. Its first output is the answer of a call, the others say what has changed."""
    untrained: Names = ()
    """Tensors that published weights lack, such as those of a head: their values are random."""

    @property
    def second_reference(self) -> Path | None:
        """Folder with the second inputs and the fp32 answers to them; null where there is none."""
        second = self.reference and self.reference / SECOND
        return second if second and second.is_dir() else None


@frozen
class CompileReport:
    """What the compiler reports about its work; null is unknown."""

    flags: Names = ()
    """The effective flags, as given to the compiler."""
    subgraphs: int | None = None
    graph_breaks: int | None = None
    ops_on_device_fraction: float | None = None
    unsupported_ops: Names | None = None
    """Operators that the compiler doesn't know; if it compiled all the same, they run on the CPU."""
    narrowed: Names | None = None
    """Types that are computed in fewer bits than the model has, such as `int64 to int32`."""
    script_modules: int | None = None
    """Modules that the compiled program consists of: those of the device and those between them."""
    neff_bytes: int | None = None
    """Bytes that are loaded to a Neuron device."""


@frozen
class Artifact:
    """A compiled workload. `folder` is null for compilers that write no files."""

    folder: Path | None
    key: str | None
    report: CompileReport
    cache_hit: bool | None
    compile_s: float | None
    """Seconds of the compilation that made the artefact, on a cache hit too."""
    part_compile_s: Mapping[str, float] = Field(default_factory=dict)
    """The same by part, for a model in parts."""
    compile_workers: int | None = None
    """Compilations that ran at the same time then."""
    artifact_bytes: int | None


@frozen
class Arithmetic:
    """The arithmetic in effect, which may differ from the options."""

    model_dtype: str
    matmul_dtype: str
    other_dtype: str
    autocast: str
    matmul_precision: str | None = None
    """Torch's setting; null where torch doesn't compute the products."""


@frozen
class Session:
    """A loaded model: one call of `run` is one timed run."""

    run: Callable[[], Any]
    arithmetic: Arithmetic
    choices: tuple[Callable[[], Arithmetic], ...] = ()
    """Settings of this process to choose the fastest of. Each sets it and returns the arithmetic in effect;
    the first is kept where none is faster."""
    inputs: tuple[Any, ...] = ()
    """Arrays or tensors that `run` reads; they may be changed in place."""
    before_block: Callable[[], None] | None = None
    """Called before each block of timed calls; not timed."""
    block: Callable[[int, int, int], tuple[list[Any], float]] | None = None
    """Lets several copies, each a process with this many callers, call for a block: at most so many calls of
    each caller, about so many nanoseconds. Returns `timing.callers.Caller`s, and CPU seconds."""
    call: Callable[..., Sequence[Any]] | None = None
    """Calls the same network with other inputs: positional, same shapes and types as `inputs`."""
    write_states: Callable[[Sequence[Any]], None] | None = None
    """Writes the states of the workload to the device, where they stay; `call` takes the other inputs, and
    returns the first output. None: `call` takes all inputs."""
    grows_states: bool = False
    """Whether `write_states` takes the states of the prompt alone; each call adds a column to them."""
    state_bytes: PositiveInt | None = None
    """Bytes of a number of the states that it keeps; None: those of the type in which they are given."""
    keeps_states: bool = False
    """Whether the states of its parts stay on the device from call to call."""
    kv_bytes_per_token: Callable[[], float | None] | None = None
    """Bytes of keys and values of one token of one item, as the last call kept them; None before a call."""
    answers: Callable[[Path], Sequence[Any]] | None = None
    """Makes the answers to compare with the reference in this folder, where `run` doesn't return them."""
    score: Callable[[np.ndarray], Sequence[Any]] | None = None
    """Generates along given tokens: their negative log likelihoods, and the likeliest in their places."""
    save_image: Callable[[Path], bool] | None = None
    """Saves the image that `answers` made; returns False if it made none."""
    token_ns: Callable[[], Sequence[Sequence[int]]] | None = None
    """Nanoseconds from a call's start to each of its tokens, for each call since this was last called."""
    generate: Callable[[int], Sequence[int]] | None = None
    """Makes the first so many tokens alone, at most those of the workload; returns the nanoseconds from its
    start to each."""
    clock: Callable[[], int] = time.perf_counter_ns
    """Nanoseconds; a simulated device has its own clock."""
    device_ns: Callable[[], Sequence[int]] | None = None
    """Duration of each call since this was last called, by the device's own clock."""
    energy_j: Callable[[], float | None] | None = None
    """Reading of the device's counter of energy, in J; None where it can't be read."""


@frozen
class Quality:
    """The compiled model's answers against the fp32 reference on the same inputs, of both sets."""

    cosine: float | None = None
    """Least over the items of the batches and the outputs."""
    relative_error: float | None = None
    """Greatest distance to the reference, in distances between its answers to different inputs."""
    difference_cosine: float | None = None
    """Between the difference of the answers to both inputs and that of the reference's: least over items and
    outputs."""
    max_abs_error: float | None = None
    top1_agreement: float | None = None
    """Share of items whose first output has its maximum at the same index; null where it has one entry."""
    verify_flags: Names = ()
    """Reasons why the comparison says little, see `schema.VERIFY_FLAGS`."""


@frozen
class Exhausted:
    """A cell that ran out of memory; so will larger ones of its family that have no more of it."""

    family_id: str
    environment_id: str
    batch_size: PositiveInt
    sequence_length: PositiveInt | None
    memory_gib: PositiveFloat | None
    """The limit it ran under; null if only the kernel set one."""
    run_id: str


@frozen
class Failure:
    """Why a cell has no measurement."""

    status: str
    stage: str
    error: str
    error_class: str | None = None
    """Class of the library's exception behind it."""
    unsupported_ops: Names = ()
    """Operators that the compiler doesn't know."""


@frozen
class Row:
    """The row of a run; its columns are those of `store.schema`."""

    values: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """Identity of the run: the store keeps one row for it."""
        return str(self.values["run_id"])

    @property
    def status(self) -> str:
        """`ok`, or the kind of failure."""
        return str(self.values["status"])

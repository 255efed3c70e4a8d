"""What a training run is asked to do, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from benchmark.precision import AutocastDtype
from benchmark.records import Arithmetic, CompileReport, frozen

Objective = Literal["class", "token", "span"]
"""What the answers of a model are trained towards, by cross entropy: one class for each item (class), one for
each position (token), or the first and the last token of a span (span)."""
Strategy = Literal["ddp", "fsdp2"]
"""How ranks share a model: each has all of it (ddp), or a part of each block (fsdp2)."""


LEAST_TIMED = 2
"""Steps after the warm-up that a run needs."""


def _same(module: Any) -> Any:
    return module


@frozen
class TrainingOptions:
    """How a model is trained: the fields of conf/scenario/training.yaml."""

    steps: PositiveInt | None = None
    """Steps of the optimizer, warm-up included; null: as many as `epochs` has."""
    epochs: PositiveInt | None = None
    """Passes over the data; null: `steps` counts."""
    warmup_steps: PositiveInt = 5
    """First steps, which aren't part of samples/s and step times: the first one compiles."""
    items: PositiveInt = 256
    """Items of the synthetic data; with a data set its own count. An epoch has items / global batch steps,
    the rest is dropped."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-3
    """Learning rate, constant."""
    weight_decay: NonNegativeFloat = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of SGD."""
    ranks: PositiveInt = 1
    """Processes that share each step: on a CPU each with its part of the threads, on GPUs a card each."""
    strategy: Strategy = "ddp"
    """How ranks share the model; without effect on one rank."""
    scaling: Literal["weak", "strong"] = "weak"
    """weak: `batch` is that of a rank and of one backward pass; strong: `batch` is that of a whole step."""
    accumulation: PositiveInt = 1
    """Backward passes of a rank for each step of the optimizer."""
    checkpointing: bool = False
    """Keep no activations inside blocks, and compute them again in the backward pass: less memory."""
    save: bool = False
    """Save the trained model in the campaign's folder, for weights=FOLDER; the row has `checkpoint_path`."""
    hang_s: PositiveFloat = 8.0
    """Seconds without a step, and at least ten times the longest step, after which ranks count as hung."""

    def step_items(self, batch: int) -> int:
        """Items of one step over all ranks: the global batch."""
        return batch if self.scaling == "strong" else batch * self.ranks * self.accumulation

    def pass_items(self, batch: int) -> int:
        """Items of one backward pass of one rank."""
        return self.step_items(batch) // (self.ranks * self.accumulation)

    def refuse_items(self, items: int, batch: int, known: str) -> str | None:
        """Return why so many items aren't enough, or None; `known` says how many there are."""
        if (needed := self.step_items(batch)) > items:
            return f"one step takes {needed} items, and {known}: use a smaller batch, or more items"
        if (steps := self.steps_of(items, batch)) < self.warmup_steps + LEAST_TIMED:
            return (
                f"{steps} steps leave fewer than {LEAST_TIMED} to time after scenario.warmup_steps="
                f"{self.warmup_steps}: train longer, or lower warmup_steps"
            )
        return None

    def rank_threads(self, threads: int | None, cores: int) -> int | None:
        """Threads of one rank: those of the cell, where the cores that each rank has allow so many."""
        return threads and min(threads, max(1, cores // self.ranks))

    def steps_of(self, items: int, batch: int) -> int:
        """Steps of a run on so many items."""
        return self.steps or (self.epochs or 1) * (items // self.step_items(batch))


@frozen
class Answered:
    """Answers of a trained model to items that it wasn't trained on."""

    dataset: str
    items_hash: str
    accuracy: tuple[float, float, float]
    """Share of right answers and its 95 % interval."""
    count: PositiveInt
    metrics: Mapping[str, float]
    """Figures by name."""
    metric: str
    """The figure that counts."""


@frozen
class Trained:
    """Results of a training run, beside the durations of its steps."""

    step_items: PositiveInt
    """Items of one step over all ranks."""
    losses: tuple[float, ...]
    """Mean loss of each step over all ranks, from the first step on."""
    training_s: NonNegativeFloat
    """Seconds of all steps, the first one included."""
    loading_share: Annotated[float, Field(ge=0, le=1)]
    """Share of the timed steps that waited for data."""
    flops: NonNegativeInt | None
    """Floating-point operations of one step over all ranks, those of recomputed activations left out; null
    where they can't be counted."""
    replica_error: NonNegativeFloat | None
    """Greatest relative difference between the parameters of two ranks at the end; null where there are no
    two copies."""
    report: CompileReport
    """Of what was compiled in the first step."""
    answered: Answered | None = None
    """Null for synthetic data."""
    checkpoint: str | None = None
    """Folder of the trained model."""


@frozen
class TrainingSetup:
    """What a compiler has prepared in a process that trains."""

    arithmetic: Arithmetic
    autocast: AutocastDtype | None = None
    """Type that the forward pass casts to; null: it doesn't."""
    compiled: Callable[[Any], Any] = _same
    """Wraps the module that returns the loss; its first call may compile."""
    report: Callable[[], CompileReport] = CompileReport
    """Called after the last step."""

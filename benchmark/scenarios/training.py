"""Training: steps of an optimizer, on one process or shared by several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, takewhile
from typing import ClassVar

from benchmark.measurement import Timing
from benchmark.protocols import Asking, Compiler, Dataset, Device, Task
from benchmark.records import Sampling, Session, Shape, frozen
from benchmark.training_records import TrainingOptions


@frozen
class Training(TrainingOptions):
    """Trains a model that has a head. One timed call is one step: data, forward, backward, optimizer."""

    name: ClassVar[str] = "training"
    labelled: ClassVar[bool] = False
    replicas: ClassVar[int] = 1
    workers: ClassVar[int] = 1

    @property
    def training(self) -> TrainingOptions:
        """These options."""
        return self

    serving: ClassVar[None] = None
    sizes: ClassVar[tuple[int, ...]] = (1,)

    def variants(self, cores: int) -> tuple[()]:  # noqa: ARG002 - whatever their number
        """None: its ranks are as asked for."""
        return ()

    def refuse(
        self, task: Task, compiler: Compiler, device: Device, shape: Shape, dataset: Dataset | None = None
    ) -> str | None:
        """Refuse what can't be trained, and options that contradict each other or have no effect."""
        if reason := compiler.refuse_training():
            return f"compiler={compiler.name}: {reason}"
        if task.objective is None:
            return (
                f"task={task.name.replace('-', '_')} has no labels to train with: choose one that has, "
                "such as task=text_classification or task=image_classification"
            )
        if dataset is not None and (task.objective != "class" or dataset.kind == "question"):
            return (
                f"dataset={dataset.name}: training reads data sets of classes, for tasks of one class each: "
                "use dataset=null, for synthetic items, or another data set or task"
            )
        sizes = self._refuse_sizes(shape.batch_size, dataset)
        return self._refuse_options() or self._refuse_ranks(device) or sizes

    def _refuse_options(self) -> str | None:
        if (self.steps is None) == (self.epochs is None):
            return (
                f"scenario.steps={self.steps or 'null'} and scenario.epochs={self.epochs or 'null'}: give "
                "one of them, and null for the other"
            )
        if self.momentum and self.optimizer != "sgd":
            return (
                f"scenario.momentum={self.momentum:g} has no effect with optimizer={self.optimizer}: use sgd"
            )
        return None

    def _refuse_ranks(self, device: Device) -> str | None:
        if device.of_rank(self.ranks - 1) is not None:
            return None
        most = sum(1 for _ in takewhile(lambda rank: device.of_rank(rank) is not None, count()))
        of = "cores" if device.torch_device == "cpu" else "devices"
        return (
            f"scenario.ranks={self.ranks}: hardware={device.name} has {most} {of}: use at most {most} ranks"
        )

    def _refuse_sizes(self, batch: int, dataset: Dataset | None) -> str | None:
        parts = self.ranks * self.accumulation
        if self.scaling == "strong" and batch % parts:
            return (
                f"batch={batch} can't be split into {parts} equal parts, ranks x accumulation with "
                f"scenario.scaling=strong: use a multiple of {parts}"
            )
        if dataset is not None:  # how many items it has is known once it is read
            return None
        return self.refuse_items(self.items, batch, f"there are scenario.items={self.items}")

    def measure(
        self, sessions: Sequence[Session], sampling: Sampling, asking: Asking | None = None
    ) -> Timing:
        """A scenario that trains calls no compiled model."""
        raise NotImplementedError

"""What a model is trained on, synthetic items or those of a data set, and how it answers the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmark.errors import Incompatible
from benchmark.items import Items
from benchmark.labelled.metrics import statistics, value
from benchmark.labelled.questions import Classes, questions
from benchmark.protocols import Dataset, Task
from benchmark.records import Model, Workload
from benchmark.stats.paired import wilson
from benchmark.training.batches import Tensors, answer_shape, synthetic, targets
from benchmark.training_records import Answered, TrainingOptions

_SYNTHETIC = 40009
"""Between the seeds of a model's reference inputs and of the data that it is trained on."""
_PART = 64
"""Items that are prepared, or answered, at a time."""


class Data(NamedTuple):
    """Items to train on, and what the trained model is asked."""

    tensors: Tensors
    """Inputs in the module's order, and the target last; an entry an item."""
    exam: Exam | None
    """Null for synthetic items."""

    @property
    def items(self) -> int:
        """How many there are."""
        return len(self.tensors[0])


class Exam(NamedTuple):
    """Items that the model isn't trained on."""

    dataset: Dataset
    items: Items
    asked: Classes
    names: Sequence[str]
    """The module's inputs, in order."""

    def answered(self, network: Any, device: str) -> Answered:
        """Ask the trained network each item, in fp32 and without dropout."""
        graded = []
        network.eval()
        for start in range(0, len(self.items.items), _PART):
            part = self.items.items[start : start + _PART]
            given = self.asked.arrays(part)
            with torch.no_grad():
                answers = network(*(torch.from_numpy(given[name]).to(device) for name in self.names))
            graded.append(self.asked.graded(part, given, [answers[0].float().cpu().numpy()]))
        joined = {name: np.concatenate([one[name] for one in graded]) for name in graded[0]}
        count, right = len(self.items.items), int(joined["right"].sum())
        found = statistics(joined, len(self.items.classes))
        share = wilson(right, count)
        return Answered(
            dataset=self.dataset.name,
            items_hash=self.items.digest,
            accuracy=(share.value, share.lo, share.hi),
            count=count,
            metrics={name: value(statistic, count) for name, statistic in found.items()},
            metric=self.dataset.metric,
        )


def data(  # noqa: PLR0913, PLR0917 - what it is made of
    task: Task,
    model: Model,
    workload: Workload,
    options: TrainingOptions,
    dataset: Dataset | None,
    seed: int,
    real: Path | None,
) -> Data:
    """Items of the data set, or synthetic ones: the task's own inputs with random targets.

    Raises:
        Incompatible: there are too few of them, or the model doesn't know their labels.
        Unavailable: the data set can't be read here.
    """
    if dataset is not None:
        return _labelled(model, workload, options, dataset)
    assert workload.reference is not None  # noqa: S101 - simulated devices don't train
    assert task.objective is not None  # noqa: S101 - refused otherwise
    shape, seed = replace(workload.shape, batch_size=options.items), seed + _SYNTHETIC
    inputs = task.inputs(model, shape, seed, real)
    target = targets(task.objective, answer_shape(workload.reference), options.items, seed)
    return Data(synthetic(inputs, workload.input_names, target), None)


def _labelled(model: Model, workload: Workload, options: TrainingOptions, dataset: Dataset) -> Data:
    train, test = dataset.items("train"), dataset.items("test")
    batch, items = workload.shape.batch_size, len(train.items)
    if refusal := options.refuse_items(items, batch, f"dataset={dataset.name} has {items} to train on"):
        raise Incompatible(refusal)
    stated = bool(dataset.classes)
    asked: Any = questions(model, workload, train, stated=stated)
    parts = [asked.arrays(train.items[start : start + _PART]) for start in range(0, items, _PART)]
    lacking = [name for name in workload.input_names if name not in parts[0]]
    if lacking:
        raise Incompatible(f"the model also takes {', '.join(lacking)}, which the items don't have")
    inputs = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    target = torch.tensor([asked.number(item.label) for item in train.items])
    exam: Any = questions(model, workload, test, stated=stated)
    return Data(
        synthetic(inputs, workload.input_names, target), Exam(dataset, test, exam, workload.input_names)
    )

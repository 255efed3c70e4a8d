"""Data of a training run: inputs and targets of all items, and each rank's part of each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open

from benchmark.training_records import Objective, TrainingOptions

Tensors = tuple[torch.Tensor, ...]


def targets(objective: Objective, answers: Sequence[int], items: int, seed: int) -> torch.Tensor:
    """Random targets of synthetic items: int64 of (items), (items, length) or (items, 2).

    `answers` is the shape of the model's first answer, whose last axis are the classes or the positions.
    """
    size = {"class": (items,), "token": (items, *answers[1:-1]), "span": (items, 2)}[objective]
    return torch.randint(0, answers[-1], size, generator=torch.Generator().manual_seed(seed))


def answer_shape(reference: Path) -> tuple[int, ...]:
    """Shape of the first answer of a reference, without reading the answer."""
    with safe_open(reference / "outputs.safetensors", "pt") as stored:
        return tuple(stored.get_slice(min(stored.keys())).get_shape())


class Batches:
    """Each rank's part of each step, in an order that depends on the seed alone.

    Each epoch has an order of its own. A step takes the next items of it, and rank r the r-th part of these:
    together the ranks see what a single one with the global batch sees. A last step that isn't full is left
    out.
    """

    def __init__(
        self, data: Sequence[torch.Tensor], options: TrainingOptions, batch: int, rank: int, seed: int
    ) -> None:
        self._data, self._seed = tuple(data), seed
        self._step, self._pass = options.step_items(batch), options.pass_items(batch)
        own = self._step // options.ranks
        self._own = slice(rank * own, (rank + 1) * own)

    def passes(self, device: str) -> Iterator[Tensors]:
        """Inputs and targets of one backward pass after the other, on the device."""
        items, epoch = len(self._data[0]), 0
        while True:
            order = torch.randperm(items, generator=torch.Generator().manual_seed(self._seed + epoch))
            for start in range(0, items - self._step + 1, self._step):
                mine = order[start : start + self._step][self._own]
                for chosen in mine.split(self._pass):
                    yield tuple(tensor[chosen].to(device, non_blocking=True) for tensor in self._data)
            epoch += 1


def synthetic(inputs: Mapping[str, torch.Tensor], names: Sequence[str], target: torch.Tensor) -> Tensors:
    """Inputs in the module's order, and the target last."""
    return (*(inputs[name] for name in names), target)

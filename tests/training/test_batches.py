"""Each rank's part of each step: together what one rank sees, each item once an epoch."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from benchmark.training.batches import Batches, targets
from benchmark.training_records import TrainingOptions

ITEMS = 20


def passes(count, rank=0, batch=4, seed=0, **options):
    data = (torch.arange(ITEMS), torch.arange(ITEMS) * 10)
    drawn = Batches(data, TrainingOptions(steps=9, items=ITEMS, **options), batch, rank, seed).passes("cpu")
    return [tuple(tensor.tolist() for tensor in tensors) for tensors in islice(drawn, count)]


@pytest.mark.parametrize("several", [{"ranks": 2}, {"ranks": 2, "accumulation": 2}])
def test_ranks_see_together_what_one_sees(several):
    parts = 2 * several.get("accumulation", 1)
    whole = passes(5, batch=4, ranks=1)
    mine = [passes(5 * parts // 2, rank, batch=4, scaling="strong", **several) for rank in range(2)]
    for step, (items, _) in enumerate(whole):
        begin, end = step * parts // 2, (step + 1) * parts // 2
        seen = [item for rank in mine for found, _ in rank[begin:end] for item in found]
        assert seen == items


def test_targets_go_with_their_items_and_an_epoch_has_each_item_once():
    epoch = passes(5)
    assert sorted(item for items, _ in epoch for item in items) == list(range(ITEMS))
    assert all(target == [10 * item for item in items] for items, target in epoch)


def test_epochs_and_seeds_have_orders_of_their_own():
    assert passes(5) == passes(5)
    assert passes(10)[5:] != passes(5)
    assert passes(5, seed=1) != passes(5)


def test_weak_scaling_multiplies_the_step_and_strong_scaling_divides_it():
    weak, strong = (
        TrainingOptions(steps=9, ranks=2, accumulation=2, scaling=scaling) for scaling in ("weak", "strong")
    )
    assert (weak.step_items(8), weak.pass_items(8)) == (32, 8)
    assert (strong.step_items(8), strong.pass_items(8)) == (8, 2)
    assert [TrainingOptions(epochs=3).steps_of(25, 8), weak.steps_of(25, 8)] == [9, 9]


@pytest.mark.parametrize(
    ("objective", "answers", "shape", "most"),
    [("class", (2, 7), (5,), 7), ("token", (2, 3, 9), (5, 3), 9), ("span", (2, 6), (5, 2), 6)],
)
def test_targets_fit_the_answers(objective, answers, shape, most):
    drawn = targets(objective, answers, 5, seed=0)
    assert tuple(drawn.shape) == shape
    assert drawn.min() >= 0
    assert drawn.max() < most
    assert drawn.unique().numel() > 1

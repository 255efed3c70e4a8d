"""What every task promises, on a small model of its kind: one suite over the models of conf/model."""

from __future__ import annotations

import hashlib

import pytest
from folder_listing import CONF, read

from benchmark.protocols import Task
from benchmark.records import frozen

MODELS = sorted((CONF / "model").glob("*_tiny.yaml"))
SMALL = {read(path)["task"]["_target_"]: path.stem for path in MODELS}
"""A small model for every task."""
BATCH, LENGTH = 3, 16


@frozen
class Seen:
    """What a child saw of a task's inputs and answers."""

    shapes: dict[str, tuple[int, ...]]
    digest: str
    answers: tuple[tuple[int, ...], ...]
    kind: str
    training: bool


def look(task, model, weights, seed):
    """In the child: feed the model once."""
    import torch

    inputs = task.inputs(model, BATCH, LENGTH if task.has_sequence_length else None, seed)
    module = task.module(weights)
    with torch.inference_mode():
        outputs = module(*inputs.values())
    raw = b"".join(tensor.contiguous().numpy().tobytes() for tensor in inputs.values())
    return Seen(
        shapes={name: tuple(tensor.shape) for name, tensor in inputs.items()},
        digest=hashlib.sha256(raw).hexdigest(),
        answers=tuple(tuple(output.shape) for output in outputs),
        kind=f"{type(outputs).__name__} of {' '.join(sorted({type(output).__name__ for output in outputs}))}",
        training=module.training,
    )


@pytest.fixture(scope="module", params=SMALL.values())
def asked(request, experiment):
    return experiment(f"model={request.param}")


@pytest.fixture(scope="module")
def seen(asked, in_a_child, tmp_path_factory):
    weights = tmp_path_factory.mktemp("weights")
    facts = in_a_child(asked.task.make_weights, asked.model, "random", 0, weights)
    assert facts["parameters"] == asked.model.parameters
    return [in_a_child(look, asked.task, asked.model, weights, seed) for seed in (0, 0, 1)]


def test_every_task_has_a_small_model():
    folder = CONF.parent / "benchmark" / "tasks"
    assert {target.split(".")[-2] for target in SMALL} == {path.stem for path in folder.glob("[!_]*.py")}


def test_a_task_fits_its_seam(asked):
    assert isinstance(asked.task, Task)


def test_a_task_takes_the_usual_length_and_no_absurd_one(asked):
    assert asked.task.refuse(LENGTH) is None
    assert (asked.task.refuse(10**9) is not None) == asked.task.has_sequence_length


@pytest.mark.real
def test_inputs_are_named_and_begin_with_the_batch(asked, seen):
    shapes = seen[0].shapes
    assert shapes
    assert all(shape[0] == BATCH for shape in shapes.values())
    assert any(shape[1:] == (LENGTH,) for shape in shapes.values()) == asked.task.has_sequence_length


@pytest.mark.real
def test_a_seed_gives_the_same_inputs_in_another_process(seen):
    assert seen[0] == seen[1]


@pytest.mark.real
def test_another_seed_gives_other_inputs_of_the_same_shapes(seen):
    assert seen[2].shapes == seen[0].shapes
    assert seen[2].digest != seen[0].digest


@pytest.mark.real
def test_a_module_answers_with_a_tuple_of_tensors_and_is_not_training(seen):
    assert seen[0].kind == "tuple of Tensor"
    assert all(shape[0] == BATCH for shape in seen[0].answers)
    assert not seen[0].training

"""What every task promises, on a small model of its kind: one suite over the models of conf/model."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from benchmark.protocols import Task
from benchmark.records import Model, Shape, frozen
from tests.plugins import CONF, group, read

BATCH, LENGTH = 3, 16


def chosen(model):
    """Which task a model's YAML chooses."""
    (task,) = (line["override /task@_global_.task"] for line in model["defaults"])
    return task


MODELS = {path.stem: read(path) for path in sorted((CONF / "model").glob("*_tiny.yaml"))}
TASKS = group("task")
TINY = [(name, chosen(model)) for name, model in MODELS.items()]
"""Every tiny model and the task it chooses."""
SMALL = [
    (name, task)
    for task, name in {task: name for name, model in MODELS.items() for task in model["parameters"]}.items()
]
"""A small model for every task."""
NOT_BEFORE_5 = {
    "ctrl_tiny": "CTRL of transformers 4 masks by the tokens of a call, it can't attend over a static cache",
    "flan_t5_tiny": "transformers 5 ties the head of every T5, which the YAML's parameters count; 4 doesn't",
}
"""Models that transformers 4 can't have as they are here, and why."""


class Asked(NamedTuple):
    """One call of a model."""

    task: Task
    model: Model
    shape: Shape


@frozen
class Seen:
    """What a child saw of a task's inputs and answers."""

    names: tuple[str, ...]
    parts: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    digest: str
    answers: dict[str, tuple[int, ...]]
    finite: bool
    training: bool


def read_both_ways(differences):
    """In the child: note the tensors in which a network read as saved differs from `from_pretrained`'s."""
    import torch

    from benchmark.models import networks

    as_saved = networks._as_saved

    def tensors(network):
        return {**dict(network.named_parameters()), **dict(network.named_buffers())}

    def compared(kind, config, folder):
        if (network := as_saved(kind, config, folder)) is not None:
            other = kind.from_pretrained(folder)
            own, usual = tensors(network), tensors(other)
            assert own.keys() == usual.keys()
            assert network.config._attn_implementation == other.config._attn_implementation
            differences[folder] = [name for name in own if not torch.equal(own[name], usual[name])]
        return network

    networks._as_saved = compared


def look(asked, weights, folder, seed):
    """Feed a model once, of whatever number of networks it is."""
    import torch
    from safetensors.torch import load_file

    from benchmark.models import composite

    inputs = asked.task.inputs(asked.model, asked.shape, seed)
    module = asked.task.module(weights, asked.shape)
    loaded = {name: load() for name, load in getattr(module, "parts", {}).items()}
    parts = [*loaded.values()] or [module]
    composite.write_reference(module, inputs, folder, 1)
    stored, answers = (load_file(folder / f"{what}.safetensors") for what in ("inputs", "outputs"))
    raw = b"".join(stored[name].numpy().tobytes() for name in sorted(stored))
    return Seen(
        names=tuple(inputs),
        parts=tuple(loaded),
        shapes={name: tuple(tensor.shape) for name, tensor in stored.items()},
        digest=hashlib.sha256(raw).hexdigest(),
        answers={name: tuple(tensor.shape) for name, tensor in answers.items()},
        finite=all(bool(torch.isfinite(tensor).all()) for tensor in answers.values()),
        training=any(part.training for part in parts),
    )


def look_at_all(every, root):
    """In the child: what each showed by seed, or what went wrong. Weights are made where there are none.

    One child for all: importing each architecture takes longer than running it. Operations are counted
    elsewhere: that takes longer than the call too.
    """
    from benchmark.models import flops

    flops.flops_per_call = lambda *_: 0
    found, differences = {}, {}
    read_both_ways(differences)
    for (name, stem, seeds), asked in every.items():
        weights, seen = root / f"{name}-{stem}", []
        found[name, stem] = seen
        try:
            if not weights.exists():
                weights.mkdir()
                facts = asked.task.make_weights(asked.model, "random", 0, weights)
                assert facts["parameters"] == asked.model.parameters[stem]
            for seed in seeds:
                with TemporaryDirectory(dir=root) as folder:
                    seen.append(look(asked, weights, Path(folder), seed))
        except Exception:  # noqa: BLE001 - the tests of this model alone say why
            found[name, stem] = traceback.format_exc()
    return found, differences


def asked_for(name, task):
    """Build a small call of a model, from its YAML as it stands: composing takes longer."""
    model = Model(**{field: value for field, value in MODELS[name].items() if field != "defaults"})
    plugin = TASKS[task]()
    axes = {
        "sequence_length": LENGTH,
        "input_length": 8,
        "output_length": 4,
        "image_size": model.image_size or model.architecture.get("image_size"),
        "steps": 2,
    }
    return Asked(
        plugin, model, Shape(batch_size=BATCH, **{axis: axes[axis] for axis in plugin.axes_of(model)})
    )


@pytest.fixture(scope="module")
def looks(in_a_child, tmp_path_factory):
    """Every tiny model fed; each task's with two seeds, and with the first again in another process."""
    root = tmp_path_factory.mktemp("weights")
    tiny, small = ({key: asked_for(*key) for key in keys} for keys in (TINY, SMALL))
    again = {(*key, (0,)): asked for key, asked in small.items()}
    every = {(*key, (0,)): asked for key, asked in tiny.items() if key not in small}
    first, differences = in_a_child(
        look_at_all, every | {(*key, (0, 1)): asked for key, asked in small.items()}, root
    )
    return first, in_a_child(look_at_all, again, root)[0], differences


@pytest.fixture(scope="module", params=SMALL, ids="-".join)
def key(request):
    return request.param


@pytest.fixture(scope="module")
def asked(key):
    return asked_for(*key)


@pytest.fixture(scope="module")
def seen(key, looks):
    first, again = (found[key] for found in looks[:2])
    assert not isinstance(first, str), first
    assert not isinstance(again, str), again
    return [first[0], again[0], first[1]]


def test_every_task_has_a_small_model():
    assert {task for _, task in SMALL} == {
        path.stem for path in (CONF.parent / "benchmark" / "tasks").glob("[!_]*.py")
    }


def test_a_task_fits_its_seam(asked):
    assert isinstance(asked.task, Task)


def test_a_task_takes_a_usual_shape_and_no_absurd_length(asked):
    task, model, shape = asked
    assert task.refuse(model, shape) is None
    if model.max_sequence_length and "sequence_length" in task.axes_of(model):
        assert task.refuse(model, replace(shape, sequence_length=10**9))


@pytest.mark.real
def test_inputs_are_named_and_have_the_axes_requested(asked, seen):
    shapes = seen[0].shapes
    assert shapes
    assert set(seen[0].names) == set(shapes)
    assert all(shape[0] == BATCH for shape in shapes.values())
    if "sequence_length" in asked.shape.axes:
        assert any(shape[1:2] == (LENGTH,) for shape in shapes.values())
    if "pixel_values" in shapes:
        assert shapes["pixel_values"][-2:] == (asked.shape.image_size,) * 2


@pytest.mark.real
def test_a_seed_gives_the_same_inputs_and_answers_in_another_process(seen):
    assert seen[0] == seen[1]


@pytest.mark.real
def test_another_seed_gives_other_inputs_of_the_same_shapes(seen):
    assert seen[2].shapes == seen[0].shapes
    assert seen[2].digest != seen[0].digest


@pytest.mark.real
@pytest.mark.parametrize("key", TINY, ids="-".join)
def test_a_tiny_model_answers_each_of_its_items_with_numbers(looks, key):
    found, (name, _) = looks[0][key], key
    if isinstance(found, str) and name in NOT_BEFORE_5 and metadata.version("transformers") < "5":
        pytest.skip(NOT_BEFORE_5[name])
    assert not isinstance(found, str), found
    asked = asked_for(*key)
    for looked in found:
        assert looked.answers
        assert looked.parts == asked.task.parts_of(asked.model)
        assert all(shape[0] == BATCH for shape in looked.answers.values())
        assert looked.finite
        assert not looked.training


@pytest.mark.real
@pytest.mark.skipif(
    metadata.version("transformers") < "5", reason="transformers 4 has one way to read a folder"
)
def test_a_folder_that_is_read_as_it_was_saved_gives_what_from_pretrained_gives(looks):
    differences = looks[2]
    assert len(differences) > len(TINY) / 2  # tied weights are left to from_pretrained
    assert {folder.name: names for folder, names in differences.items() if names} == {}

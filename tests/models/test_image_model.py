"""Images of other sizes than the usual one, where the model can take them."""

from __future__ import annotations

import pytest

from benchmark.records import Model, Shape
from benchmark.tasks.feature_extraction import FeatureExtraction
from benchmark.tasks.image_classification import ImageClassification

CONVNEXT = {"model_type": "convnext", "image_size": 32, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}
SWIN = {
    "model_type": "swin",
    "image_size": 32,
    "embed_dim": 8,
    "depths": [2],
    "num_heads": [2],
    "window_size": 4,
}
VIT = {
    "model_type": "vit",
    "image_size": 32,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
LARGER = Shape(batch_size=2, image_size=64)


@pytest.mark.real
@pytest.mark.parametrize(
    "architecture", [CONVNEXT, SWIN, VIT], ids=lambda architecture: architecture["model_type"]
)
def test_a_model_takes_images_of_another_size(tmp_path, architecture):
    task, model = ImageClassification(), Model(name="mine", architecture={**architecture, "num_labels": 3})
    assert task.refuse(model, LARGER) is None
    task.make_weights(model, "random", 0, tmp_path)
    inputs = task.inputs(model, LARGER, 0)
    assert inputs["pixel_values"].shape == (2, 3, 64, 64)
    (logits,) = task.module(tmp_path, LARGER)(*inputs.values())
    assert logits.shape == (2, 3)


DINO = {**VIT, "model_type": "dinov2", "patch_size": 16}


@pytest.mark.real
@pytest.mark.parametrize(
    ("architecture", "shape"),
    [(CONVNEXT, (2, 8, 1, 1)), (SWIN, (2, 64, 8)), (VIT, (2, 5, 16)), (DINO, (2, 5, 16))],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_an_image_backbone_gives_its_hidden_states(tmp_path, architecture, shape):
    task, model = FeatureExtraction(), Model(name="mine", architecture=architecture)
    assert (task.axes_of(model), task.unit_of(model)) == (("image_size",), "images")
    usual = Shape(batch_size=2, image_size=32)
    assert task.refuse(model, usual) is None
    task.make_weights(model, "random", 0, tmp_path)
    (features,) = task.module(tmp_path, usual)(*task.inputs(model, usual, 0).values())
    assert features.shape == shape


def test_feature_extraction_from_tokens_keeps_their_axes():
    task, model = FeatureExtraction(), Model(name="mine", architecture={"model_type": "bert"})
    assert (task.axes_of(model), task.unit_of(model)) == (("sequence_length",), "items")


def test_a_model_without_a_size_is_refused_with_the_way_to_give_one():
    model = Model(name="mine", architecture={"model_type": "resnet"})
    assert "give image_size=N" in ImageClassification().refuse(model, Shape(batch_size=1))

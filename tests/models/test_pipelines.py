"""Names inside a pipeline's architecture are checked by the source of diffusers and transformers."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from benchmark.models import pipelines
from benchmark.records import Shape
from tests.plugins import CONF, read

TINY = read(CONF / "model" / "sd_tiny.yaml")["architecture"]


def changed(path, value):
    """The architecture of sd_tiny with one value changed; None removes its key."""
    architecture = deepcopy(TINY)
    *above, last = path.split(".")
    node = architecture
    for key in above:
        node = node[key]
    node.pop(last, None)
    if value is not None:
        node[last] = value
    return architecture


@pytest.mark.parametrize("name", [path.stem for path in sorted(CONF.glob("model/*.yaml"))])
def test_every_pipeline_of_conf_is_taken(name):
    architecture = read(CONF / "model" / f"{name}.yaml")["architecture"]
    if "pipeline" in architecture:
        assert pipelines.refuse(architecture) is None


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("pipeline", "StableDifusionPipeline", "no such class; did you mean 'StableDiffusionPipeline'?"),
        ("unet.class", "UNet2DCondtionModel", "did you mean 'UNet2DConditionModel'?"),
        ("scheduler.class", "PNDMSchedular", "did you mean 'PNDMScheduler'?"),
        ("text_encoder.class", "CLIPTextModle", "did you mean 'CLIPTextModel'?"),
        ("text_encoder.model_type", "clip_text_modl", "did you mean 'clip_text_model'?"),
        ("vae_decoder", {}, "model.architecture.vae_decoder: a pipeline has no such part"),
        ("vae", None, "model.architecture.vae: is missing"),
        ("unet", None, "model.architecture.unet: is missing: a pipeline needs a unet or a transformer"),
        ("vae.class", None, "model.architecture.vae.class: is missing"),
    ],
)  # fmt: skip
def test_a_misspelled_or_missing_name_is_refused_with_the_nearest_one(path, value, reason):
    assert reason in pipelines.refuse(changed(path, value))


def test_the_task_refuses_it_before_a_child_starts(compose):
    e = compose("model=sd_tiny")
    model = replace(e.model, architecture=changed("unet.class", "UNet2DCondtionModel"))
    assert "UNet2DConditionModel" in e.task.refuse(model, Shape(batch_size=1, image_size=32, steps=1))

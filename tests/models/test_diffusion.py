"""A pipeline of diffusers in parts draws what the pipeline with its own networks draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmark.errors import ConfigError, Incompatible
from benchmark.identity import weights_digest
from benchmark.records import Model, Shape
from benchmark.tasks.text_to_image import TextToImage
from tests.plugins import CONF, read

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation:DeprecationWarning"
    ),  # diffusers 0.42, numpy 2
]
pytest.importorskip("diffusers")
STEPS, PIXELS = 2, 32
MODEL = Model(
    **{key: value for key, value in read(CONF / "model" / "sd_tiny.yaml").items() if key != "defaults"}
)


@pytest.fixture
def pipeline(compose, tmp_path):
    """A small pipeline with random weights, its networks and inputs."""

    def make(name):
        e = compose(f"model={name}")
        shape = Shape(batch_size=1, image_size=PIXELS, steps=STEPS)
        (tmp_path / "weights").mkdir()
        e.task.make_weights(e.model, "random", 0, tmp_path / "weights")
        composed = e.task.module(tmp_path / "weights", shape)
        return (
            composed,
            {part: load() for part, load in composed.parts.items()},
            e.task.inputs(e.model, shape, 0),
        )

    return make


def reference(composed, modules, inputs):
    import torch

    with torch.inference_mode():
        return composed.run_reference(modules, modules, inputs)


@pytest.mark.parametrize("name", ["sdxl_refined_tiny", "pixart_tiny"])
def test_the_reference_is_held_to_the_pipelines_own_call(pipeline, name):
    import torch

    composed, modules, inputs = pipeline(name)
    alone = {"image_of_noise"} | ({"refined_noise"} if "refined" in name else set())
    assert {"latents", "image"} | alone == reference(composed, modules, inputs).keys()

    class Reversed(torch.nn.Module):
        """A part that hands the numbers of the text over in the wrong order; its network is right."""

        def __init__(self, part):
            super().__init__()
            self.part, self.model = part, part.model

        def forward(self, *tensors):
            embedded, *others = self.part(*tensors)
            return (embedded.flip(-1), *others)

    modules["text_encoder"] = Reversed(modules["text_encoder"])
    with pytest.raises(Incompatible, match=r"draw another image than diffusers' own .*Pipeline: an error of"):
        reference(composed, modules, inputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A local folder with the pipeline of sd_tiny."""
    made = tmp_path_factory.mktemp("pipeline")
    model, task = MODEL, TextToImage()
    task.make_weights(model, "random", 0, made)
    return made


@pytest.fixture
def changed(folder, tmp_path):
    """A copy of the folder."""
    return Path(shutil.copytree(folder, tmp_path / "pipeline"))


def check(folder):
    return TextToImage().make_weights(MODEL, str(folder), 0, folder)


def test_a_local_pipeline_that_holds_the_model_is_taken_and_counted(folder):
    assert check(folder) == {"parameters": MODEL.parameters["text_to_image"]}


def test_a_local_pipeline_may_hold_its_weights_as_bin_files(changed):
    import torch
    from safetensors.torch import load_file

    for file in changed.rglob("*.safetensors"):
        name = "pytorch_model.bin" if file.parent.name == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), file.with_name(name))
        file.unlink()
    assert weights_digest(changed)
    assert check(changed) == {"parameters": MODEL.parameters["text_to_image"]}


def write(file, **fields):
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda at: write(at / "model_index.json", _class_name="FluxPipeline"),
            "a FluxPipeline is no Stable",
        ),
        (lambda at: shutil.rmtree(at / "vae"), "it lacks vae"),
        (
            lambda at: write(at / "unet" / "config.json", layers_per_block=2),
            "unet: layers_per_block is 2, the YAML's 1",
        ),
        (
            lambda at: write(at / "text_encoder" / "config.json", model_type="t5"),
            "text_encoder: model_type is t5",
        ),
        (lambda at: edit(at / "unet", drop="conv_out.bias"), "it lacks conv_out.bias"),
        (lambda at: edit(at / "vae", add="decoder.extra"), "it has more than the model: decoder.extra"),
    ],
)
def test_another_local_pipeline_is_refused_with_the_difference(changed, change, reason):
    change(changed)
    with pytest.raises(ConfigError) as refused:
        check(changed)
    assert reason in str(refused.value)


def edit(folder, drop=None, add=None):
    """Remove a tensor of a network, or add one."""
    import torch
    from safetensors.torch import load_file, save_file

    (file,) = folder.glob("*.safetensors")
    tensors = {name: tensor for name, tensor in load_file(file).items() if name != drop}
    save_file(tensors | ({add: torch.zeros(2)} if add else {}), file, metadata={"format": "pt"})


def test_the_picture_is_saved_for_people(pipeline, tmp_path):
    from PIL import Image

    composed, modules, inputs = pipeline("pixart_tiny")
    answers = reference(composed, modules, inputs)
    assert composed.save_image(answers, tmp_path / "pictures" / "run.png")
    picture = Image.open(tmp_path / "pictures" / "run.png")
    assert picture.size == (PIXELS, PIXELS)
    assert len(picture.getcolors(PIXELS * PIXELS)) > PIXELS  # a picture, not a plain area

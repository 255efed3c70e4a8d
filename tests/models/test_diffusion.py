"""A pipeline of diffusers in parts draws what the pipeline with its own networks draws."""

from __future__ import annotations

import pytest

from benchmark.errors import Incompatible
from benchmark.records import Shape

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation:DeprecationWarning"
    ),  # diffusers 0.42, numpy 2
]
pytest.importorskip("diffusers")
STEPS, PIXELS = 2, 32


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
    assert {"latents", "image", "image_of_noise"} == reference(composed, modules, inputs).keys()

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


def test_the_picture_is_saved_for_people(pipeline, tmp_path):
    from PIL import Image

    composed, modules, inputs = pipeline("pixart_tiny")
    answers = reference(composed, modules, inputs)
    assert composed.save_image(answers, tmp_path / "pictures" / "run.png")
    picture = Image.open(tmp_path / "pictures" / "run.png")
    assert picture.size == (PIXELS, PIXELS)
    assert len(picture.getcolors(PIXELS * PIXELS)) > PIXELS  # a picture, not a plain area

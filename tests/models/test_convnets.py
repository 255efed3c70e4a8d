"""VGG and U-Net are the published ones, layer by layer, and transformers finds them as its own."""

from __future__ import annotations

import tempfile
from itertools import pairwise

import pytest

pytestmark = pytest.mark.real


def shapes(network):
    return [list(parameter.shape) for parameter in network.parameters()]


def build_and_read_back():
    """In the child: shapes of the published networks, and what small ones answer before and after a file."""
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSemanticSegmentation

    from benchmark.models import convnets

    convnets.register()
    convnets.register()
    torch.manual_seed(0)
    with torch.device("meta"):
        stages = [[64], [128], [256, 256], [512, 512], [512, 512]]
        config = AutoConfig.for_model("vgg", stages=stages, num_labels=1000)
        vgg = AutoModelForImageClassification.from_config(config)
        config = AutoConfig.for_model("unet", widths=[64, 128, 256, 512, 1024], num_labels=2)
        unet = AutoModelForSemanticSegmentation.from_config(config)
    config = AutoConfig.for_model("unet", widths=[4, 8, 16], num_labels=2)
    made = AutoModelForSemanticSegmentation.from_config(config).eval()
    small = AutoModelForImageClassification.from_config(
        AutoConfig.for_model("vgg", stages=[[4], [8]], pooled_size=2, hidden_size=16, num_labels=5)
    ).eval()
    same, sizes = [], []
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        for auto, network, size in (
            (AutoModelForSemanticSegmentation, made, 18),
            (AutoModelForImageClassification, small, 20),
        ):
            network.save_pretrained(folder)
            again = auto.from_pretrained(folder, local_files_only=True).eval()
            pixels = torch.randn(2, 3, size, size)
            first, second = (asked(pixel_values=pixels).logits for asked in (network, again))
            same.append(bool(torch.equal(first, second) and first.std() > 0))
            sizes.append(list(first.shape))
    return {"vgg": shapes(vgg), "unet": shapes(unet), "same": same, "sizes": sizes}


@pytest.fixture(scope="module")
def built(in_a_child):
    return in_a_child(build_and_read_back)


def test_vgg11_has_eight_convolutions_and_three_linear_layers(built):
    weights = [shape for shape in built["vgg"] if len(shape) > 1]
    convolutions = [shape[:2] for shape in weights if len(shape) == 4]
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    assert convolutions == [[out, taken] for taken, out in pairwise(widths)]
    assert weights[8:] == [[4096, 512 * 7 * 7], [4096, 4096], [1000, 4096]]


def test_unet_has_eighteen_convolutions_four_ways_up_and_one_that_names_the_pixel(built):
    weights = [shape for shape in built["unet"] if len(shape) == 4]
    assert sum(shape[2:] == [3, 3] for shape in weights) == 18
    assert [shape[:2] for shape in weights if shape[2:] == [2, 2]] == [
        [width, width // 2] for width in (1024, 512, 256, 128)
    ]
    assert weights[-1] == [2, 64, 1, 1]


def test_both_are_saved_and_read_back_as_any_model_of_the_library(built):
    assert built["same"] == [True, True]


def test_unet_answers_at_the_size_of_a_picture_that_does_not_halve_evenly(built):
    assert built["sizes"] == [[2, 2, 18, 18], [2, 5]]

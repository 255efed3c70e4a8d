"""A pipeline of diffusers in parts draws what the pipeline with its own networks draws."""

from __future__ import annotations

import pytest

from benchmark.records import Shape

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation:DeprecationWarning"
    ),  # diffusers 0.42, numpy 2
]
diffusers = pytest.importorskip("diffusers")
STEPS, PIXELS = 4, 32


@pytest.fixture
def drawn(compose, tmp_path):
    """Weights, inputs and answers of a small pipeline."""
    import torch

    from benchmark.models import composite

    def draw(name):
        e = compose(f"model={name}")
        shape = Shape(batch_size=1, image_size=PIXELS, steps=STEPS)
        (tmp_path / "weights").mkdir()
        e.task.make_weights(e.model, "random", 0, tmp_path / "weights")
        inputs = e.task.inputs(e.model, shape, 0)
        composed = e.task.module(tmp_path / "weights", shape)
        assert isinstance(composed, composite.CompositeModel)
        parts = {part: load() for part, load in composed.parts.items()}
        with torch.inference_mode():
            return composed, inputs, composed.run(parts, inputs, lambda: None), tmp_path / "weights"

    return draw


def test_stable_diffusion_draws_what_its_own_pipeline_draws(drawn):
    import torch
    import transformers

    _, inputs, answers, weights = drawn("sd_tiny")
    text = transformers.CLIPTextModel.from_pretrained(weights / "text_encoder").eval()
    pipeline = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL.from_pretrained(weights / "vae"),
        unet=diffusers.UNet2DConditionModel.from_pretrained(weights / "unet"),
        scheduler=diffusers.PNDMScheduler.from_pretrained(weights / "scheduler"),
        text_encoder=text,
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        theirs = pipeline(
            prompt_embeds=text(inputs["input_ids"])[0],
            negative_prompt_embeds=text(inputs["negative_input_ids"])[0],
            latents=inputs["latents"],
            num_inference_steps=STEPS,
            height=PIXELS,
            width=PIXELS,
            output_type="pt",
        ).images
    assert torch.allclose((answers["image"] / 2 + 0.5).clamp(0, 1), theirs, atol=1e-4)


def test_the_picture_is_saved_for_people(drawn, tmp_path):
    from PIL import Image

    composed, _, answers, _ = drawn("sdxl_refined_tiny")
    assert composed.save_image(answers, tmp_path / "pictures" / "run.png")
    picture = Image.open(tmp_path / "pictures" / "run.png")
    assert picture.size == (PIXELS, PIXELS)
    assert len(picture.getcolors(PIXELS * PIXELS)) > PIXELS  # a picture, not a plain area

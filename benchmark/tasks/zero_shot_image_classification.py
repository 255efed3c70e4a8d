"""Zero-shot image classification: images and texts in, the fit of each image to each text out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import image_model, real_inputs
from benchmark.models.text_encoder import TextEncoder
from benchmark.records import Model, Shape, Unit, frozen


@frozen
class ZeroShotImageClassification(TextEncoder):
    """A batch has as many images as texts. Outputs: logits of (images, texts) and of (texts, images)."""

    name: ClassVar[str] = "zero-shot-image-classification"
    auto_class: ClassVar[str] = "AutoModelForZeroShotImageClassification"
    axes: ClassVar[tuple[str, ...]] = ("image_size",)
    unit: ClassVar[Unit] = "images"
    input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "pixel_values")
    outputs: ClassVar[tuple[str, ...]] = ("logits_per_image", "logits_per_text")

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse images that the position embeddings of patches don't fit."""
        return image_model.refuse_size(shape, model.architecture["vision_config"]["image_size"])

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random tokens between those of begin and end, as many as CLIP pads to, and random images."""
        import torch

        assert shape.image_size is not None  # noqa: S101 - cells of this task have one
        begin, end = (int(model.architecture["text_config"][f"{place}_token_id"]) for place in ("bos", "eos"))
        size = (shape.batch_size, int(model.architecture["text_config"]["max_position_embeddings"]))
        words = torch.randint(0, begin, size, generator=torch.Generator().manual_seed(seed))
        words[:, 0], words[:, -1] = begin, end  # the text's embedding is the one at the end token
        channels = int(model.architecture["vision_config"]["num_channels"])
        if real is not None:
            photographs = real_inputs.pixels(real, shape.batch_size, channels, shape.image_size, seed)
            return {**real_inputs.tokens(model, real, *size, seed), "pixel_values": photographs}
        picture = (shape.batch_size, channels, shape.image_size, shape.image_size)
        return {
            "input_ids": words,
            "attention_mask": torch.ones(size, dtype=torch.int64),
            "pixel_values": image_model.pixels(*picture, seed=seed),
        }

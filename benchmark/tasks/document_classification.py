"""Document classification: words of a page, their boxes and its image in, one row of logits out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import image_model, real_inputs
from benchmark.models.text_encoder import TextEncoder
from benchmark.records import Model, Shape, frozen
from benchmark.training_records import Objective

_PAGE = 1000
"""Boxes are in thousandths of the page's width and height (LayoutLMv3's documentation)."""


@frozen
class DocumentClassification(TextEncoder):
    """Inputs: tokens, pixels, and `bbox` of (batch, sequence_length, 4), int64: left, top, right, bottom."""

    name: ClassVar[str] = "document-classification"
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    objective: ClassVar[Objective | None] = "class"
    axes: ClassVar[tuple[str, ...]] = ("sequence_length", "image_size")
    input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "bbox", "pixel_values")

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:
        """Refuse lengths that the position embeddings don't fit, and a model without an image size."""
        return super().refuse_shape(model, shape) or image_model.refuse_size(shape)

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random words at random places of a random image."""
        import torch

        from benchmark.models import networks

        if real is not None:
            raise real_inputs.refuse(model, "scanned page")
        assert shape.sequence_length is not None  # noqa: S101 - cells of this task have both axes
        assert shape.image_size is not None  # noqa: S101
        generator = torch.Generator().manual_seed(seed)
        size = (shape.batch_size, shape.sequence_length, 2, 2)
        first_last = torch.randint(0, _PAGE + 1, size, generator=generator).sort(dim=2).values
        channels = image_model.channels_of(networks.configuration(model))
        picture = (shape.batch_size, channels, shape.image_size, shape.image_size)
        return {
            **super().inputs(model, shape, seed),
            "bbox": first_last.flatten(start_dim=2),
            "pixel_values": image_model.pixels(*picture, seed=seed),
        }

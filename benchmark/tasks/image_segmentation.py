"""Semantic segmentation: pixels in, one row of logits per pixel out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.image_model import ImageModel
from benchmark.records import frozen


@frozen
class ImageSegmentation(ImageModel):
    """Output: logits of (batch, labels, height, width)."""

    name: ClassVar[str] = "image-segmentation"
    auto_class: ClassVar[str] = "AutoModelForSemanticSegmentation"

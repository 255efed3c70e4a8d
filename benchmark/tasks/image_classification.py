"""Image classification: pixels in, one row of logits per image out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.image_model import ImageModel
from benchmark.records import frozen
from benchmark.training_records import Objective


@frozen
class ImageClassification(ImageModel):
    """Output: logits of (batch, labels)."""

    name: ClassVar[str] = "image-classification"
    auto_class: ClassVar[str] = "AutoModelForImageClassification"
    objective: ClassVar[Objective | None] = "class"

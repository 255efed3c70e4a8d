"""Object detection: pixels in, a fixed number of boxes per image out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.image_model import ImageModel
from benchmark.records import frozen


@frozen
class ObjectDetection(ImageModel):
    """Outputs: logits of (batch, boxes, labels); boxes of (batch, boxes, 4), shares of the image's edges."""

    name: ClassVar[str] = "object-detection"
    auto_class: ClassVar[str] = "AutoModelForObjectDetection"
    outputs: ClassVar[tuple[str, ...]] = ("logits", "pred_boxes")

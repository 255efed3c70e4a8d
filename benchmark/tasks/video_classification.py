"""Video classification: frames in, one row of logits per video out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import image_model, real_inputs
from benchmark.models.image_model import ImageModel
from benchmark.records import Model, Shape, Unit, frozen
from benchmark.training_records import Objective


@frozen
class VideoClassification(ImageModel):
    """Input: `pixel_values` of (batch, frames, channels, size, size). Output: logits of (batch, labels)."""

    name: ClassVar[str] = "video-classification"
    auto_class: ClassVar[str] = "AutoModelForVideoClassification"
    objective: ClassVar[Objective | None] = "class"
    unit: ClassVar[Unit] = "items"

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random pixels of as many frames as the model takes."""
        from benchmark.models import networks

        if real is not None:
            raise real_inputs.refuse(model, "video")
        assert shape.image_size is not None  # noqa: S101 - refused otherwise
        config = networks.configuration(model)
        frames, channels = getattr(config, "num_frames", 8), image_model.channels_of(config)
        size = (shape.batch_size, frames, channels, shape.image_size, shape.image_size)
        return {"pixel_values": image_model.pixels(*size, seed=seed)}

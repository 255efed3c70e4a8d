"""Feature extraction: tokens in, a vector for each token out; or pixels in, a vector for each patch out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import architectures
from benchmark.models.image_model import ImageModel
from benchmark.models.text_encoder import TextEncoder
from benchmark.records import Model, Shape, Unit, frozen


@frozen
class FeatureExtraction(TextEncoder):
    """Output: hidden states of (batch, sequence_length, width), which every head reads.

    Those of an image backbone are (batch, patches, width) or (batch, width, height, width).
    """

    name: ClassVar[str] = "feature-extraction"
    auto_class: ClassVar[str] = "AutoModel"
    outputs: ClassVar[tuple[str, ...]] = ("last_hidden_state",)
    preload: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys((*TextEncoder.preload, *ImageModel.preload)))

    def axes_of(self, model: Model) -> tuple[str, ...]:
        """Image size where the model reads pixels, else sequence length."""
        return ImageModel.axes if self._reads_pixels(model) else TextEncoder.axes

    def unit_of(self, model: Model) -> Unit:
        """Images or items."""
        return ImageModel.unit if self._reads_pixels(model) else TextEncoder.unit

    def feeds(self, model: Model) -> tuple[str, ...]:
        """Pixels or tokens."""
        return _IMAGES.feeds(model) if self._reads_pixels(model) else super().feeds(model)

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:
        """Refuse a backbone without an image size, and sequences longer than the position embeddings."""
        if self._reads_pixels(model):
            return _IMAGES.refuse_shape(model, shape)
        return super().refuse_shape(model, shape)

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the network."""
        return _IMAGES.module(folder, shape) if shape.image_size else super().module(folder, shape)

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Pixels or tokens."""
        if shape.image_size:
            return _IMAGES.inputs(model, shape, seed, real)
        return super().inputs(model, shape, seed, real)

    def _reads_pixels(self, model: Model) -> bool:
        known = architectures.forward_arguments(model.architecture, self.auto_class)
        return "pixel_values" in known and "input_ids" not in known


@frozen
class _ImageFeatures(ImageModel):
    """Feature extraction from images."""

    name: ClassVar[str] = FeatureExtraction.name
    auto_class: ClassVar[str] = FeatureExtraction.auto_class
    outputs: ClassVar[tuple[str, ...]] = FeatureExtraction.outputs


_IMAGES = _ImageFeatures()

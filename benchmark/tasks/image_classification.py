"""Image classification: pixels in, one row of logits an image out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.records import Model, frozen

_AUTO_CLASS = "AutoModelForImageClassification"


@frozen
class ImageClassification:
    """`pixel_values` of (batch, channels, size, size) in, logits of (batch, labels) out."""

    name: ClassVar[str] = "image-classification"
    has_sequence_length: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    preload: ClassVar[tuple[str, ...]] = ("benchmark.torch_models", "transformers.models.vit.modeling_vit")

    def refuse(self, sequence_length: int | None) -> str | None:  # noqa: ARG002 - these models have none
        """Any batch of images will do."""
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random seeded or published weights."""
        from benchmark import torch_models

        return torch_models.write_weights(_AUTO_CLASS, model, weights, seed, folder)

    def module(self, folder: Path) -> Any:
        """Load the classifier."""
        from benchmark import torch_models

        return torch_models.read_module(_AUTO_CLASS, folder, ("pixel_values",), ("logits",))

    def inputs(
        self,
        model: Model,
        batch_size: int,
        sequence_length: int | None,  # noqa: ARG002 - these models have none
        seed: int,
    ) -> Mapping[str, Any]:
        """Normally distributed pixels, as image processors normalise them: float32."""
        import torch

        size = int(model.architecture["image_size"])
        shape = (batch_size, int(model.architecture["num_channels"]), size, size)
        return {"pixel_values": torch.randn(shape, generator=torch.Generator().manual_seed(seed))}

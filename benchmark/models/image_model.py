"""What tasks of vision models share: pixels in, one or more outputs out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import real_inputs
from benchmark.models.transformers_task import TransformersTask
from benchmark.records import Model, Shape, Unit, frozen


@frozen
class ImageModel(TransformersTask):
    """Input: `pixel_values` of (batch, channels, size, size), float32."""

    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    """Fields of the model's output that are its answers."""
    axes: ClassVar[tuple[str, ...]] = ("image_size",)
    unit: ClassVar[Unit] = "images"
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.convnets",
        "benchmark.models.composite",
        "transformers.models.vit.modeling_vit",
    )

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse images that the position embeddings don't fit."""
        return refuse_size(shape, model.architecture.get("image_size"))

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random weights by the seed, or the published ones."""
        from benchmark.models import convnets

        convnets.register()
        return super().make_weights(model, weights, seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:  # noqa: ARG002 - the weights have the size
        """Load the network."""
        from benchmark.models import convnets, networks

        convnets.register()
        return networks.read_module(self.auto_class, folder, ("pixel_values",), self.outputs)

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random pixels, normalised as image processors do; or photographs."""
        assert shape.image_size is not None  # noqa: S101 - refused otherwise
        channels = int(model.architecture.get("num_channels", 3))
        if real is not None:
            photographs = real_inputs.pixels(real, shape.batch_size, channels, shape.image_size, seed)
            return {"pixel_values": photographs}
        size = (shape.batch_size, channels, shape.image_size, shape.image_size)
        return {"pixel_values": pixels(*size, seed=seed)}


def refuse_size(shape: Shape, own: Any) -> str | None:
    """Refuse a size other than the model's only one.

    A pair of sizes, as of YOLOS, is the size of training: its embeddings are interpolated to other sizes.
    """
    if shape.image_size is None:
        return "its YAML states no image_size: give image_size=N"
    if isinstance(own, int) and shape.image_size != own:
        return f"image_size={shape.image_size}: its position embeddings are for {own}"
    return None


def pixels(*size: int, seed: int) -> Any:
    """Pixels with mean 0 and standard deviation 1, by the seed."""
    import torch

    return torch.randn(size, generator=torch.Generator().manual_seed(seed))

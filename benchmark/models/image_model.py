"""What tasks of vision models share: pixels in, one output or several out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import real_inputs
from benchmark.records import Model, Shape, Unit, frozen


@frozen
class ImageModel:
    """`pixel_values` of (batch, channels, size, size) in: float32."""

    auto_class: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    """Fields of the model's output that answer."""
    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ("image_size",)
    unit: ClassVar[Unit] = "images"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.convnets",
        "benchmark.models.composite",
        "transformers.models.vit.modeling_vit",
    )

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse images that the position embeddings don't fit."""
        return refuse_size(shape, model.architecture.get("image_size"))

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random seeded or published weights."""
        from benchmark.models import convnets, networks

        convnets.register()
        task = self.name.replace("-", "_")
        return networks.write_weights(self.auto_class, model, task, weights, seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:  # noqa: ARG002 - the weights say which size
        """Load the network."""
        from benchmark.models import convnets, networks

        convnets.register()
        return networks.read_module(self.auto_class, folder, ("pixel_values",), self.outputs)

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Normally distributed pixels, as image processors normalise them, or photographs."""
        assert shape.image_size is not None  # noqa: S101 - refused otherwise
        channels = int(model.architecture.get("num_channels", 3))
        if real is not None:
            photographs = real_inputs.pixels(real, shape.batch_size, channels, shape.image_size, seed)
            return {"pixel_values": photographs}
        size = (shape.batch_size, channels, shape.image_size, shape.image_size)
        return {"pixel_values": pixels(*size, seed=seed)}


def refuse_size(shape: Shape, own: Any) -> str | None:
    """Refuse another size than the only one a model takes.

    A pair of sizes, as YOLOS has it, says where its embeddings were learned: they are interpolated to others.
    """
    if shape.image_size is None:
        return "its YAML states no image_size: give image_size=N"
    if isinstance(own, int) and shape.image_size != own:
        return f"image_size={shape.image_size}: its position embeddings are for {own}"
    return None


def pixels(*size: int, seed: int) -> Any:
    """Seeded pixels as image processors normalise them: about 0, by about 1."""
    import torch

    return torch.randn(size, generator=torch.Generator().manual_seed(seed))

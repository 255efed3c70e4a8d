"""What tasks of vision models share: pixels in, one or more outputs out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import real_inputs
from benchmark.models.transformers_task import TransformersTask
from benchmark.records import Model, Shape, Unit, frozen

_VISION = ("vision_config", "backbone_config")
"""Nested configurations of what reads the images."""


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

    def feeds(self, model: Model) -> tuple[str, ...]:  # noqa: ARG002 - as its base's
        """Pixels."""
        return ("pixel_values",)

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:  # noqa: ARG002 - as its base's
        """Refuse a model without an image size."""
        return refuse_size(shape)

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random weights by the seed, or the published ones."""
        from benchmark.models import convnets

        convnets.register()
        return super().make_weights(model, weights, seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the network; position embeddings are interpolated to a size other than their own."""
        from benchmark.models import convnets, networks

        convnets.register()
        network = networks.read_network(self.auto_class, folder)
        return networks.Positional(
            network, ("pixel_values",), self.outputs, **interpolation(network, shape)
        ).eval()

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random pixels, normalised as image processors do; or photographs."""
        from benchmark.models import convnets, networks

        assert shape.image_size is not None  # noqa: S101 - refused otherwise
        convnets.register()
        channels = channels_of(networks.configuration(model))
        if real is not None:
            photographs = real_inputs.pixels(real, shape.batch_size, channels, shape.image_size, seed)
            return {"pixel_values": photographs}
        size = (shape.batch_size, channels, shape.image_size, shape.image_size)
        return {"pixel_values": pixels(*size, seed=seed)}


def refuse_size(shape: Shape) -> str | None:
    """Refuse a model that states no size. Whether it can take another one, its fp32 reference shows."""
    return (
        None
        if shape.image_size
        else "neither its YAML nor its configuration states an image_size: give image_size=N"
    )


def channels_of(config: Any) -> int:
    """Channels of the images that the configuration is for; three where it doesn't say."""
    for part in (config, *(getattr(config, name, None) for name in _VISION)):
        for name in ("num_channels", "in_channels", "in_chans"):
            if isinstance(channels := getattr(part, name, None), int):
                return channels
    return 3


def interpolation(network: Any, shape: Shape) -> dict[str, bool]:
    """The argument that interpolates position embeddings, where the network has it and the size needs it."""
    own = getattr(getattr(network.config, "vision_config", network.config), "image_size", None)
    known = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    is_own = shape.image_size in (own if isinstance(own, (list, tuple)) else [own])
    return {"interpolate_pos_encoding": True} if known and not is_own else {}


def pixels(*size: int, seed: int) -> Any:
    """Pixels with mean 0 and standard deviation 1, by the seed."""
    import torch

    return torch.randn(size, generator=torch.Generator().manual_seed(seed))

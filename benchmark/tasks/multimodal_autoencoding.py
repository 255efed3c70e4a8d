"""Multimodal autoencoding: picture, sound and label of a video in, a part of each decoded again out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import image_model, real_inputs
from benchmark.records import Model, Shape, Unit, frozen


@frozen
class MultimodalAutoencoding:
    """One call encodes whole videos and decodes the first of the 128 chunks in which they are decoded.

    `image` of (batch, frames, 3, height, width), `audio` of (batch, samples, 1), `label` of (batch, labels).
    """

    name: ClassVar[str] = "multimodal-autoencoding"
    auto_class: ClassVar[str] = "PerceiverForMultimodalAutoencoding"
    """No Auto class leads to it."""
    axes: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[Unit] = "items"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.composite", "benchmark.models.perceiver")

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse nothing: the architecture states the only sizes."""
        del model, shape
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random seeded or published weights."""
        from benchmark.models import networks

        task = self.name.replace("-", "_")
        return networks.write_weights(self.auto_class, model, task, weights, seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:  # noqa: ARG002 - the architecture has the shape
        """Load the network."""
        from benchmark.models import networks, perceiver

        return perceiver.FirstChunk(networks.read_network(self.auto_class, folder)).eval()

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random frames and sound; the label that is to be found is zeros, as the model's authors have it."""
        import torch

        if real is not None:
            raise real_inputs.refuse(model, "film")
        a = model.architecture
        frames, height, width = a["output_shape"][1:]
        samples = a["num_frames"] * a["audio_samples_per_frame"]
        return {
            "image": image_model.pixels(shape.batch_size, frames, 3, height, width, seed=seed),
            "audio": image_model.pixels(shape.batch_size, samples, 1, seed=seed + 1),
            "label": torch.zeros(shape.batch_size, a["num_labels"]),
        }

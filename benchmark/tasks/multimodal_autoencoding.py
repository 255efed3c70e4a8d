"""Multimodal autoencoding: frames, sound and label of a video in, a decoded part of each out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import image_model, real_inputs
from benchmark.models.transformers_task import TransformersTask
from benchmark.records import Model, Shape, Unit, frozen


@frozen
class MultimodalAutoencoding(TransformersTask):
    """One call encodes whole videos and decodes the first of 128 chunks.

    Inputs: `image` of (batch, frames, 3, height, width), `audio` of (batch, samples, 1), `label` of (batch,
    labels), all float32.
    """

    name: ClassVar[str] = "multimodal-autoencoding"
    auto_class: ClassVar[str] = "PerceiverForMultimodalAutoencoding"
    axes: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[Unit] = "items"
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.composite", "benchmark.models.perceiver")

    def module(self, folder: Path, shape: Shape) -> Any:  # noqa: ARG002 - the architecture has the shape
        """Load the network."""
        from benchmark.models import networks, perceiver

        return perceiver.FirstChunk(networks.read_network(self.auto_class, folder)).eval()

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random frames and sound; the label to predict is zeros, as the model's authors give it."""
        import torch

        from benchmark.models import networks

        if real is not None:
            raise real_inputs.refuse(model, "video")
        config = networks.configuration(model)
        frames, height, width = config.output_shape[1:]
        samples = config.num_frames * config.audio_samples_per_frame
        return {
            "image": image_model.pixels(shape.batch_size, frames, 3, height, width, seed=seed),
            "audio": image_model.pixels(shape.batch_size, samples, 1, seed=seed + 1),
            "label": torch.zeros(shape.batch_size, config.num_labels),
        }

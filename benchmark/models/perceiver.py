"""Perceiver's multimodal autoencoder as a network of tensors: its own forward takes and gives mappings."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers.models.perceiver.modeling_perceiver import PerceiverBasicDecoder

CHUNKS = 128
"""In which videos are decoded: the example in transformers' documentation of the class, version 5.23."""


class _Joint(PerceiverBasicDecoder):  # type: ignore[misc]
    """Decodes queries that others make.

    Its parent's property raises for want of queries of its own, and tracing reads every property.
    """

    num_query_channels = None


class FirstChunk(torch.nn.Module):  # type: ignore[misc]
    """Encodes videos and decodes their first chunk: of pixels, of patches of sound, and the label."""

    input_names = ("image", "audio", "label")
    output_names = ("image", "audio", "label")

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        model.perceiver.decoder.decoder.__class__ = _Joint
        config = model.config
        patches = config.num_frames * config.audio_samples_per_frame // config.samples_per_patch
        points = {"image": math.prod(config.output_shape), "audio": patches}
        for name, of_all in points.items():
            self.register_buffer(f"{name}_points", torch.arange(of_all // CHUNKS), persistent=False)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the decoded part of each modality, in the order of `output_names`."""
        points = {"image": self.image_points, "audio": self.audio_points, "label": None}
        inputs = dict(zip(self.input_names, tensors, strict=True))
        decoded = self.model(inputs=inputs, subsampled_output_points=points).logits
        return tuple(decoded[name] for name in self.output_names)

"""Perceiver's multimodal autoencoder with tensors as inputs and outputs; its own forward has mappings.

A module of its own, since importing the architecture takes longer than every other task needs.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers.models.perceiver.modeling_perceiver import PerceiverBasicDecoder

CHUNKS = 128
"""Chunks that a video is decoded in, as in transformers' documentation of the class (version 5.23)."""


class _Joint(PerceiverBasicDecoder):  # type: ignore[misc]
    """Decoder whose queries come from outside.

    The parent's property raises where a decoder makes no queries, and tracing reads every property.
    """

    num_query_channels = None


class FirstChunk(torch.nn.Module):  # type: ignore[misc]
    """Encodes videos and decodes their first chunk of pixels and of sound, and the label."""

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

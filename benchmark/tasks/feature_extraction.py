"""Feature extraction: tokens in, a vector for each token out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.text_encoder import TextEncoder
from benchmark.records import frozen


@frozen
class FeatureExtraction(TextEncoder):
    """Output: hidden states of (batch, sequence_length, width), which every head reads."""

    name: ClassVar[str] = "feature-extraction"
    auto_class: ClassVar[str] = "AutoModel"
    outputs: ClassVar[tuple[str, ...]] = ("last_hidden_state",)

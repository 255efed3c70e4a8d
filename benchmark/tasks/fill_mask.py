"""Masked language modelling: tokens in, a row of logits over the vocabulary for each token out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.text_encoder import TextEncoder
from benchmark.records import frozen
from benchmark.training_records import Objective


@frozen
class FillMask(TextEncoder):
    """Output: logits of (batch, sequence_length, vocabulary)."""

    name: ClassVar[str] = "fill-mask"
    auto_class: ClassVar[str] = "AutoModelForMaskedLM"
    objective: ClassVar[Objective | None] = "token"

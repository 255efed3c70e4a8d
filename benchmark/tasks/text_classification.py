"""Sequence classification: tokens in, one row of logits per sequence out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.text_encoder import TextEncoder
from benchmark.records import frozen


@frozen
class TextClassification(TextEncoder):
    """Output: logits of (batch, labels)."""

    name: ClassVar[str] = "text-classification"
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"

"""Sequence classification: tokens in, one row of logits a sequence out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.text_encoder import TextEncoder
from benchmark.records import frozen


@frozen
class TextClassification(TextEncoder):
    """Logits of (batch, labels)."""

    name: ClassVar[str] = "text-classification"
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"

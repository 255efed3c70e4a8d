"""Token classification: tokens in, one row of logits per token out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.text_encoder import TextEncoder
from benchmark.records import frozen
from benchmark.training_records import Objective


@frozen
class TokenClassification(TextEncoder):
    """Output: logits of (batch, sequence_length, labels)."""

    name: ClassVar[str] = "token-classification"
    auto_class: ClassVar[str] = "AutoModelForTokenClassification"
    objective: ClassVar[Objective | None] = "token"

"""Extractive question answering: question and text in, the answer's first and last token out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.text_encoder import PairEncoder
from benchmark.records import frozen
from benchmark.training_records import Objective


@frozen
class QuestionAnswering(PairEncoder):
    """Outputs: logits of the answer's first and last token, each (batch, sequence_length)."""

    name: ClassVar[str] = "question-answering"
    auto_class: ClassVar[str] = "AutoModelForQuestionAnswering"
    objective: ClassVar[Objective | None] = "span"
    outputs: ClassVar[tuple[str, ...]] = ("start_logits", "end_logits")

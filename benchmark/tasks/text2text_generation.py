"""Encoder-decoder generation: one text in, another out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models.generator import Generator
from benchmark.records import frozen


@frozen
class Text2TextGeneration(Generator):
    """The encoder reads `input_length` tokens, the decoder generates `output_length`."""

    name: ClassVar[str] = "text2text-generation"
    auto_class: ClassVar[str] = "AutoModelForSeq2SeqLM"

"""Sequence classification: tokens in, one row of logits a sequence out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveInt

from benchmark.records import Model, frozen

_AUTO_CLASS = "AutoModelForSequenceClassification"
_FIRST_WORD = 5
"""The ids below it are special tokens (padding, separators, mask) in the vocabularies of these models."""


@frozen
class TextClassification:
    """`input_ids` and `attention_mask` of (batch, sequence_length) in, logits of (batch, labels) out."""

    max_sequence_length: PositiveInt
    """Tokens the position embeddings reach, special tokens included."""

    name: ClassVar[str] = "text-classification"
    has_sequence_length: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    preload: ClassVar[tuple[str, ...]] = ("benchmark.torch_models", "transformers.models.bert.modeling_bert")

    def refuse(self, sequence_length: int | None) -> str | None:
        """Refuse sequences beyond the position embeddings."""
        if sequence_length is not None and sequence_length > self.max_sequence_length:
            return f"seq_len={sequence_length} is above its maximum of {self.max_sequence_length}"
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random seeded or published weights."""
        from benchmark import torch_models

        return torch_models.write_weights(_AUTO_CLASS, model, weights, seed, folder)

    def module(self, folder: Path) -> Any:
        """Load the classifier."""
        from benchmark import torch_models

        return torch_models.read_module(_AUTO_CLASS, folder, ("input_ids", "attention_mask"), ("logits",))

    def inputs(
        self, model: Model, batch_size: int, sequence_length: int | None, seed: int
    ) -> Mapping[str, Any]:
        """Random words without padding: int64, (batch, sequence_length)."""
        import torch

        assert sequence_length is not None  # noqa: S101 - cells of this task have one
        shape = (batch_size, sequence_length)
        words = int(model.architecture["vocab_size"])
        generator = torch.Generator().manual_seed(seed)
        return {
            "input_ids": torch.randint(_FIRST_WORD, words, shape, generator=generator),
            "attention_mask": torch.ones(shape, dtype=torch.int64),
        }

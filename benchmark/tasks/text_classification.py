"""Sequence classification: tokens in, one row of logits per sequence out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models.text_encoder import PairEncoder
from benchmark.records import Model, Shape, frozen
from benchmark.training_records import Objective

_NO_TOKEN = -1
"""Padding id of a model without one: no token has it, so the last token is the last of the sequence."""


@frozen
class TextClassification(PairEncoder):
    """Output: logits of (batch, labels)."""

    name: ClassVar[str] = "text-classification"
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    objective: ClassVar[Objective | None] = "class"

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the network. A decoder answers at the last token before the padding, so it needs its id."""
        module = super().module(folder, shape)
        config = module.model.config.get_text_config()
        if getattr(config, "pad_token_id", None) is None:
            end = getattr(config, "eos_token_id", None)  # the tokenizer of `real_inputs` pads with it too
            config.pad_token_id = end if isinstance(end, int) else _NO_TOKEN
        return module

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """As those of an encoder. An encoder-decoder answers at the end token, so random inputs get one."""
        from benchmark.models import networks

        inputs = super().inputs(model, shape, seed, real)
        config = networks.configuration(model)
        if real is None and config.is_encoder_decoder and isinstance(config.eos_token_id, int):
            inputs["input_ids"][:, -1] = config.eos_token_id
        return inputs

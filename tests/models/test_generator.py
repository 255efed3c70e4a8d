"""Generations that can't work are refused before a child starts, where the configuration shows it."""

from __future__ import annotations

import pytest

from benchmark.records import Model, Shape
from benchmark.tasks.text2text_generation import Text2TextGeneration
from benchmark.tasks.text_generation import TextGeneration

SHAPE = Shape(batch_size=1, input_length=8, output_length=4)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ({"model_type": "mamba"}, "keeps a recurrent state (mamba)"),
        ({"model_type": "lfm2", "layer_types": ["conv", "full_attention"]}, "keeps a recurrent state (conv)"),
    ],
)
def test_a_recurrent_state_is_refused(architecture, reason):
    refusal = TextGeneration().refuse(Model(name="tiny", architecture=architecture, parameters={}), SHAPE)
    assert reason in refusal
    assert "choose a model whose layers are all attention" in refusal


def test_a_decoder_is_no_text2text_model():
    model = Model(name="tiny", architecture={"model_type": "mamba"}, parameters={})
    assert "has no AutoModelForSeq2SeqLM" in Text2TextGeneration().refuse(model, SHAPE)


@pytest.mark.parametrize("kinds", [None, ["full_attention", "sliding_attention"]])
def test_attention_of_any_window_is_not_refused(kinds):
    model = Model(name="tiny", architecture={"model_type": "gemma2", "layer_types": kinds}, parameters={})
    assert TextGeneration().refuse(model, SHAPE) is None

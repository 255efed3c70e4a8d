"""Classifiers on decoders give each item the answer that it has alone."""

from __future__ import annotations

import pytest

from benchmark.records import Model, Shape
from benchmark.tasks.text_classification import TextClassification

pytestmark = pytest.mark.real
SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
BART = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}
ARCHITECTURES = [
    {"model_type": "qwen2", **SIZES, "num_key_value_heads": 2, "num_labels": 1},
    {"model_type": "llama", **SIZES, "num_key_value_heads": 2, "eos_token_id": [2, 7]},
    {"model_type": "gpt2", "vocab_size": 300, "n_embd": 64, "n_layer": 1, "n_head": 4},
    {"model_type": "gpt_neox", **SIZES, "eos_token_id": None},
    {"model_type": "bart", "vocab_size": 300, **BART},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture["model_type"])
def test_an_item_has_the_same_answer_in_a_batch_and_alone(architecture, tmp_path):
    import torch

    from benchmark.models import networks

    model = Model(name="tiny", architecture=architecture, parameters={"text_classification": 1})
    task, shape = TextClassification(), Shape(batch_size=3, sequence_length=12)
    torch.manual_seed(0)
    config = networks.configuration(model)
    networks.network_class(task.auto_class, config)._from_config(config).save_pretrained(tmp_path)
    inputs = task.inputs(model, shape, 0)
    module = task.module(tmp_path, shape)
    with torch.inference_mode():
        (together,) = module(*inputs.values())
        alone = [module(*(tensor[i : i + 1] for tensor in inputs.values()))[0] for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)

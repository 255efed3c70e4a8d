"""Keys and values that grow by a column give the tokens of those of fixed length."""

from __future__ import annotations

import pytest

from benchmark.records import Shape

pytestmark = pytest.mark.real


class Inside:
    """A decode part as OpenVINO has it: the states stay inside and grow."""

    grows_states = True
    state_bytes = 2

    def __init__(self, network):
        self.network, self.states = network, ()

    def write_states(self, states):
        self.states = states

    def __call__(self, token, position):
        logits, *self.states = self.network(token, position, *self.states)
        return (logits,)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["llama_tiny", "mistral_tiny", "qwen3_tiny", "gpt2_tiny", "phi_tiny"])
def test_growing_states_give_the_same_logits(compose, tmp_path, name):
    import torch

    from benchmark.models.growing_decode import growing

    e = compose(f"model={name}")
    shape = Shape(batch_size=2, input_length=36, output_length=6)  # beyond mistral_tiny's window
    e.task.make_weights(e.model, "random", 0, tmp_path)
    composed = e.task.module(tmp_path, shape)
    parts = {part: make() for part, make in composed.parts.items()}
    inside = Inside(growing(parts["decode"]))
    with torch.inference_mode():
        inputs = e.task.inputs(e.model, shape, 0)
        fixed = composed.run(parts, inputs, lambda: None)
        width = composed.kv_bytes_per_token
        grown = composed.run({**parts, "decode": inside}, inputs, lambda: None)
    assert torch.equal(fixed["tokens"], grown["tokens"])
    assert torch.allclose(fixed["last_logits"], grown["last_logits"], atol=1e-5)
    assert inside.states[0].shape[2] == 36 + 6 - 1
    assert composed.kv_bytes_per_token == width / 2


def test_an_encoder_decoder_has_none(compose, tmp_path):
    from benchmark.models.growing_decode import growing

    e = compose("model=t5_tiny")
    e.task.make_weights(e.model, "random", 0, tmp_path)
    composed = e.task.module(tmp_path, Shape(batch_size=1, input_length=8, output_length=4))
    assert growing(composed.parts["decode"]()) is None
    assert growing(composed.parts["prefill"]()) is None

"""Generation in two networks of static shapes makes the tokens that transformers' own `generate` makes."""

from __future__ import annotations

import pytest

from benchmark.config.sweep import grid
from benchmark.records import Shape

pytestmark = pytest.mark.real
GIVEN, MADE = 36, 9
GIVEN_CACHE = {
    "llama_tiny": 2 * 2 * 2 * 16 * 4,
    "qwen3_tiny": 2 * 2 * 2 * 32 * 4,
    "gemma_tiny": 2 * 2 * 16 * 4,
}
"""Bytes of keys and values of a token: both x layers x their heads x width x 4."""
MODELS = ["gpt2_tiny", "ctrl_tiny", "t5_tiny", "flan_t5_tiny", "bart_tiny", "whisper_tiny", *GIVEN_CACHE]
MODELS += ["mistral_tiny", "qwen2_tiny", "phi_tiny", "phi3_tiny", "gpt_neox_tiny"]


@pytest.fixture(scope="module", params=MODELS)
def generated(request, tmp_path_factory):
    """Tokens of a small batch, ours and theirs, and the answers along the course of others."""
    import torch

    from benchmark.models import composite, networks

    (e,) = grid([f"model={request.param}"])
    shape = Shape(batch_size=2, input_length=GIVEN, output_length=MADE)
    weights, reference = tmp_path_factory.mktemp("weights"), tmp_path_factory.mktemp("reference")
    e.task.make_weights(e.model, "random", 0, weights)
    inputs = e.task.inputs(e.model, shape, 0)
    module = e.task.module(weights, shape)
    written = composite.write_reference(module, inputs, reference, None)
    assert module.kv_bytes_per_token == GIVEN_CACHE.get(request.param, module.kv_bytes_per_token)
    network = networks.read_network(e.task.auto_class, weights)
    for stop in ("eos_token_id", "forced_eos_token_id", "forced_bos_token_id", "suppress_tokens"):
        setattr(network.generation_config, stop, None)
    generate = type(network).generate
    if request.param == "whisper_tiny":  # its own wants prompts of languages and tasks
        from transformers import GenerationMixin

        generate = GenerationMixin.generate
    with torch.inference_mode():
        theirs = generate(network, **inputs, max_new_tokens=MADE, do_sample=False)
    return written, theirs[:, -MADE:], reference


@pytest.mark.filterwarnings("ignore")
def test_the_tokens_are_those_of_transformers_own_loop(generated):
    from safetensors.torch import load_file

    _, theirs, reference = generated
    assert load_file(reference / "forced_tokens.safetensors")["tokens"].tolist() == theirs.tolist()


@pytest.mark.filterwarnings("ignore")
def test_a_call_is_one_prefill_and_a_decode_for_each_token_but_the_first(generated):
    written, _, _ = generated
    assert {part["name"]: part["calls"] for part in written["parts"]} == {"prefill": 1, "decode": MADE - 1}
    assert written["flops_per_call"] == sum(
        part["flops_per_call"] * part["calls"] for part in written["parts"]
    )


def test_a_compiled_model_is_held_to_the_reference_along_its_tokens(compose, tmp_path):
    """A model that chooses otherwise at first is compared step by step all the same."""
    import torch

    from benchmark.models import composite

    e = compose("model=gpt2_tiny")
    shape = Shape(batch_size=1, input_length=GIVEN, output_length=MADE)
    (tmp_path / "weights").mkdir()
    e.task.make_weights(e.model, "random", 0, tmp_path / "weights")
    inputs = e.task.inputs(e.model, shape, 0)
    composed = e.task.module(tmp_path / "weights", shape)
    assert isinstance(composed, composite.CompositeModel)
    parts = {name: load() for name, load in composed.parts.items()}
    with torch.inference_mode():
        answers = composed.run(parts, inputs, lambda: None)

        def contrary(*tensors):
            logits, *states = parts["prefill"](*tensors)
            return (-logits, *states)

        strayed = composed.run({**parts, "prefill": contrary}, inputs, lambda: None)
        followed = composed.run_teacher_forced(
            {**parts, "prefill": contrary}, inputs, {"tokens": answers["tokens"]}
        )
    assert not torch.equal(strayed["tokens"], answers["tokens"])
    assert torch.allclose(followed["last_logits"], answers["last_logits"], atol=1e-5)
    assert torch.equal(followed["first_logits"], -answers["first_logits"])


def test_a_cache_in_fp32_takes_what_autocast_computes(compose, tmp_path):
    import torch

    from benchmark.models import numerics

    e = compose("model=t5_tiny")
    shape = Shape(batch_size=1, input_length=GIVEN, output_length=3)
    e.task.make_weights(e.model, "random", 0, tmp_path)
    composed = e.task.module(tmp_path, shape)
    exact = {name: load() for name, load in composed.parts.items()}
    cast = {name: numerics.Autocast(part, "cpu") for name, part in exact.items()}

    def decode(*tensors):  # a compiled part gets its inputs in the types that it was compiled for
        return cast["decode"](
            *(tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors)
        )

    inputs = e.task.inputs(e.model, shape, 0)
    with torch.inference_mode():
        right = composed.run(exact, inputs, lambda: None)
        forced = {"tokens": right["tokens"]}
        other = e.task.module(tmp_path, shape)
        close = other.run_teacher_forced({**cast, "decode": decode}, inputs, forced)
    error = (close["last_logits"] - right["last_logits"]).norm() / right["last_logits"].norm()
    assert 0 < error < 0.1

"""What doesn't fit into the host is said by the plan, from parameters and the bytes of the cache."""

from __future__ import annotations

import pytest

from benchmark.config.sweep import grid
from benchmark.host import machine
from benchmark.models.memory_needed import kv_bytes_per_token, lacking
from benchmark.records import Shape
from benchmark.stages.plan import plan

KV_BYTES = {
    "smollm2_135m": 46_080,
    "smollm2_360m": 81_920,
    "tinyllama": 45_056,
    "llama32_1b": 65_536,
    "llama31_8b": 262_144,
    "qwen25_05b": 24_576,
    "qwen3_06b": 229_376,
    "gpt2_tiny": 2 * 2 * 64 * 4,
    "phi_tiny": 2 * 2 * 2 * 16 * 4,
}
"""Published models: from their configurations on the hub."""
GENERATION = Shape(batch_size=8, input_length=512, output_length=512)


@pytest.fixture(scope="module")
def models():
    cells = grid([f"model={','.join(KV_BYTES)}"])
    return {e.model.name: e for e in cells}


@pytest.mark.parametrize("name", KV_BYTES)
def test_the_cache_of_a_token_is_known_before_the_model_is_built(models, name):
    assert kv_bytes_per_token(models[name].model.architecture) == KV_BYTES[name]


def test_weights_and_cache_together_have_to_fit(models):
    model = models["llama31_8b"].model
    assert lacking(model, 8_030_261_248, GENERATION, 32.0) is None  # 29.92 and 2.00
    reason = lacking(model, 8_030_261_248, GENERATION, 31.0)
    assert "29.9 GiB for 8,030,261,248 parameters in fp32 and 2.0 GiB for the keys and values" in reason
    assert lacking(model, None, GENERATION, 1.0) is None


def test_the_plan_says_so_before_anything_is_built(models, monkeypatch):
    monkeypatch.setattr(machine, "memory_gib", lambda: 8.0)
    (run, *_) = plan([models["llama31_8b"]], lambda _: {}).runs
    assert run.fate == "unavailable"
    assert "model=llama31_8b needs 29.9 GiB" in run.reason
    assert "this host has 8.0 GiB" in run.reason
    (small, *_) = plan([models["smollm2_135m"]], lambda _: {}).runs
    assert small.fate == "run"

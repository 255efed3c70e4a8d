"""Dynamic quantisation by PyTorch: what it changes, and what it is refused for."""

from __future__ import annotations

import sys

import pytest

from benchmark.compilers.eager import Eager
from benchmark.compilers.torchscript import TorchScript
from benchmark.errors import Incompatible
from benchmark.models import dynamic_int8

COMPILERS = [Eager, TorchScript]


@pytest.mark.parametrize("kind", COMPILERS)
@pytest.mark.parametrize(
    ("options", "device", "advice"),
    [
        ({}, "cuda", "use quantization=none"),
        ({"dtype": "bf16"}, "cpu", "use dtype=fp32 and fast_math=none with it"),
        ({"fast_math": "all"}, "cpu", "use dtype=fp32 and fast_math=none with it"),
        ({"fast_math": "matmult"}, "cpu", "use dtype=fp32 and fast_math=none with it"),
    ],
)
def test_int8_is_for_fp32_on_a_cpu(kind, options, device, advice):
    assert kind(quantization="int8", **options).refuse(device).endswith(advice)
    assert kind(**options).refuse(device) is None
    assert kind(quantization="int8").refuse("cpu") is None


@pytest.mark.parametrize("kind", COMPILERS)
def test_answers_are_held_to_what_int8_can(kind):
    assert kind(quantization="int8").tolerance == "int8"


def test_int8_is_not_trained():
    assert "can't be trained" in Eager(quantization="int8").refuse_training()


def test_linear_layers_compute_in_int8_and_others_as_before():
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.LayerNorm(64)).eval()
    inputs = torch.randn(8, 64)
    with torch.inference_mode():
        exact, found = module(inputs), dynamic_int8.quantized(module)(inputs)
    distance = float((exact - found).norm() / exact.norm())
    assert 1e-3 < distance < 0.1
    assert type(module[0]) is torch.nn.Linear  # the caller's stays


def test_a_model_without_linear_layers_is_refused():
    import torch

    with pytest.raises(Incompatible, match="of which the model has none"):
        dynamic_int8.quantized(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3)))


def test_a_torch_without_it_is_named(monkeypatch):
    import torch

    monkeypatch.setitem(sys.modules, "torch.ao.quantization", None)
    with pytest.raises(Incompatible, match=f"torch {torch.__version__.split('+')[0]}"):
        dynamic_int8.quantized(torch.nn.Linear(1, 1))


@pytest.mark.real
@pytest.mark.parametrize("compiler", ["eager", "torchscript"])
def test_a_row_says_that_it_computed_in_int8(compiler, compose, run_cells):
    asked = (f"compiler={compiler}", "compiler.quantization=int8", "model=bert_tiny", "seq_len=16")
    (row,) = run_cells(compose(*asked, "sampling=once"))
    assert (row["status"], row["quantization"], row["matmul_dtype"]) == ("ok", "int8", "int8"), row["error"]
    assert 0.9 < row["cosine"] < 0.99999

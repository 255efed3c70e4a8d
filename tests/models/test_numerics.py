"""What a torch compiler is told and what it says of it afterwards."""

from __future__ import annotations

from dataclasses import asdict

import pytest

pytestmark = pytest.mark.real
torch = pytest.importorskip("torch")

from benchmark.models import numerics  # noqa: E402 - imports torch


@pytest.fixture(autouse=True)
def _as_it_was():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def told(**asked):
    asked = {"fast_math": "none", "threads": None, "device": "cpu", "dtype": "fp32"} | asked
    return asdict(numerics.configure(**asked))


def test_none_is_true_fp32_on_any_host():
    assert told() == {
        "model_dtype": "fp32",
        "matmul_dtype": "fp32",
        "other_dtype": "fp32",
        "autocast": "none",
    }


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_a_model_of_sixteen_bits_says_so_throughout(dtype):
    assert told(dtype=dtype) == {
        "model_dtype": dtype,
        "matmul_dtype": dtype,
        "other_dtype": dtype,
        "autocast": "none",
    }


def test_casting_everything_leaves_the_model_in_fp32():
    assert told(fast_math="all")["model_dtype"] == "fp32"
    assert told(fast_math="all")["matmul_dtype"] == "bf16"


@pytest.mark.parametrize(("dtype", "wanted"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_prepared_module_has_weights_and_answers_of_its_type(dtype, wanted):
    module = numerics.prepared(torch.nn.Linear(4, 4), "none", "cpu", dtype)
    assert module.weight.dtype == wanted
    assert module(torch.zeros(1, 4, dtype=wanted)).dtype == wanted


def test_casting_everything_happens_inside_the_module_where_exporters_see_it():
    module = numerics.prepared(torch.nn.Linear(4, 4), "all", "cpu")
    assert not torch.is_autocast_enabled("cpu")
    assert module(torch.zeros(1, 4)).dtype == torch.bfloat16


@pytest.mark.parametrize(("dtype", "answers"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_what_is_cast_to_can_be_chosen(dtype, answers):
    module = numerics.prepared(torch.nn.Linear(4, 4), "all", "cpu", autocast_dtype=dtype)
    assert module(torch.zeros(1, 4)).dtype == answers
    assert told(fast_math="all", autocast_dtype=dtype)["matmul_dtype"] == dtype


@pytest.mark.parametrize(
    ("fast_math", "card", "settings"),
    [
        ("none", "tf32", ("highest", False, "fp32")),
        ("matmult", "tf32", ("high", True, "tf32")),
        ("matmult", "fp32", ("high", True, "fp32")),
        ("all", "tf32", ("highest", False, "bf16")),
    ],
)
def test_on_a_gpu_products_and_convolutions_are_tf32_together(monkeypatch, fast_math, card, settings):
    """Against a stand-in for what a card with and one without tf32 compute: no GPU was at hand."""

    def product(device):
        assert device == "cuda"
        return "fp32" if torch.get_float32_matmul_precision() == "highest" else card

    monkeypatch.setattr(numerics, "_matmul_dtype", product)
    found = told(fast_math=fast_math, device="cuda")
    precision, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    assert (precision, cudnn, found["matmul_dtype"]) == settings
    assert found["autocast"] == fast_math

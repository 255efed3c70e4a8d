"""What a torch compiler is reported and what it says of it afterwards."""

from __future__ import annotations

from dataclasses import asdict

import pytest

pytestmark = pytest.mark.real
torch = pytest.importorskip("torch")

from benchmark.errors import Incompatible  # noqa: E402
from benchmark.models import numerics  # noqa: E402 - imports torch


@pytest.fixture(autouse=True)
def _as_it_was():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


TYPES = ("model_dtype", "matmul_dtype", "other_dtype", "autocast")


def reported(**asked):
    asked = {"fast_math": "none", "threads": None, "device": "cpu", "dtype": "fp32"} | asked
    stated = asdict(numerics.configure(**asked))
    return {name: stated[name] for name in TYPES}


@pytest.fixture
def bf16_cpu(monkeypatch):
    """A stand-in for a CPU with AMX, where "medium" computes in bf16 and "high" in tf32."""
    types = {"highest": "fp32", "high": "tf32", "medium": "bf16"}
    monkeypatch.setattr(numerics, "_matmul_dtype", lambda _: types[torch.get_float32_matmul_precision()])


def test_none_is_true_fp32_on_any_host_and_leaves_torch_as_it_comes():
    assert reported() == dict.fromkeys(TYPES[:3], "fp32") | {"autocast": "none"}
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_a_precision_that_is_asked_for_is_set_and_leaves_none_in_fp32(precision):
    """Where the CPU has no bf16 "medium" is fp32 too; elsewhere it is refused, see below."""
    if precision == "medium" and numerics.allowed("none", "cpu")[-1] != "medium":
        pytest.skip("medium isn't fp32 on this CPU")
    assert reported(precision=precision)["matmul_dtype"] == "fp32"
    assert torch.get_float32_matmul_precision() == precision


@pytest.mark.usefixtures("bf16_cpu")
def test_a_precision_that_would_leave_fp32_is_refused_under_none_and_labelled_under_matmult():
    with pytest.raises(Incompatible, match=r"matmul_precision=medium computes products in bf16 here.* use "):
        reported(precision="medium")
    assert reported(fast_math="matmult")["matmul_dtype"] == "bf16"
    assert reported(fast_math="matmult", precision="high")["matmul_dtype"] == "tf32"
    assert reported(fast_math="all")["matmul_dtype"] == "bf16"
    assert torch.get_float32_matmul_precision() == "highest"  # of what autocast leaves in fp32


@pytest.mark.usefixtures("bf16_cpu")
def test_only_precisions_within_fast_math_are_timed():
    assert numerics.allowed("none", "cpu") == ("highest",)
    assert numerics.allowed("matmult", "cpu") == ("highest", "high", "medium")


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_a_model_of_sixteen_bits_says_so_throughout(dtype):
    assert reported(dtype=dtype) == {
        "model_dtype": dtype,
        "matmul_dtype": dtype,
        "other_dtype": dtype,
        "autocast": "none",
    }


def test_casting_everything_leaves_the_model_in_fp32():
    assert reported(fast_math="all")["model_dtype"] == "fp32"
    assert reported(fast_math="all")["matmul_dtype"] == "bf16"


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
    assert reported(fast_math="all", autocast_dtype=dtype)["matmul_dtype"] == dtype


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
    monkeypatch.setattr(numerics, "_convolution_dtype", lambda: "fp32")
    found = reported(fast_math=fast_math, device="cuda")
    precision, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    assert (precision, cudnn, found["matmul_dtype"]) == settings
    assert found["autocast"] == fast_math


@pytest.mark.parametrize(("fast_math", "precision"), [("none", "ieee"), ("matmult", "tf32"), ("all", "ieee")])
def test_both_of_torchs_switches_for_convolutions_agree(monkeypatch, fast_math, precision):
    """Reading one of them is an error where they don't."""
    monkeypatch.setattr(numerics, "_matmul_dtype", lambda _: "fp32")
    monkeypatch.setattr(numerics, "_convolution_dtype", lambda: "fp32")
    reported(fast_math=fast_math, device="cuda")
    assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
    assert torch.backends.cudnn.conv.fp32_precision == precision
    if hasattr(torch.backends.cudnn, "fp32_precision"):  # torch 2.9 and later
        assert torch.backends.cudnn.fp32_precision == precision


def test_convolutions_that_stay_tf32_are_no_fp32(monkeypatch):
    monkeypatch.setattr(numerics, "_matmul_dtype", lambda _: "fp32")
    monkeypatch.setattr(numerics, "_convolution_dtype", lambda: "tf32")
    with pytest.raises(Incompatible, match="convolutions compute in tf32"):
        reported(fast_math="none", device="cuda")
    reported(fast_math="matmult", device="cuda")

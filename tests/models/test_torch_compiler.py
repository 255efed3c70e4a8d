"""Options of the torch compilers: what their answers are held to, and which combinations are refused."""

from __future__ import annotations

import pytest

from benchmark.compilers.aot_inductor import AotInductor
from benchmark.compilers.eager import Eager
from benchmark.compilers.inductor import Inductor
from benchmark.compilers.torchscript import TorchScript

COMPILERS = [AotInductor, Eager, Inductor, TorchScript]


@pytest.mark.parametrize("kind", COMPILERS)
@pytest.mark.parametrize(
    ("fast_math", "dtype", "tolerance"),
    [
        ("none", "fp32", "none"),
        ("matmult", "fp32", "matmult"),
        ("all", "fp32", "all"),
        ("none", "bf16", "all"),
        ("none", "fp16", "all"),
    ],
)
def test_sixteen_bits_have_the_tolerance_of_casting_everything(kind, fast_math, dtype, tolerance):
    assert kind(fast_math=fast_math, dtype=dtype).tolerance == tolerance


@pytest.mark.parametrize("kind", COMPILERS)
@pytest.mark.parametrize("fast_math", ["matmult", "all"])
def test_a_cast_of_a_model_of_sixteen_bits_is_refused_with_both_ways_out(kind, fast_math):
    assert kind(fast_math=fast_math, dtype="bf16").refuse("cpu") == (
        f"fast_math={fast_math} casts from fp32, of which dtype=bf16 leaves nothing: "
        "use fast_math=none with dtype=bf16, or dtype=fp32"
    )


@pytest.mark.parametrize("kind", COMPILERS)
@pytest.mark.parametrize(
    ("option", "options"),
    [("dtype", {"dtype": "fp16"}), ("autocast_dtype", {"autocast_dtype": "fp16", "fast_math": "all"})],
)
def test_fp16_is_for_gpus(kind, option, options):
    refusal = kind(**options).refuse("cpu")
    assert refusal.startswith(f"{option}=fp16 is for GPUs")
    assert refusal.endswith(f"use {option}=bf16")
    assert kind(**options).refuse("cuda") is None


@pytest.mark.parametrize("fast_math", ["none", "matmult"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_type_to_cast_to_needs_a_cast(fast_math, device):
    assert Eager(fast_math=fast_math, autocast_dtype="fp16").refuse(device) == (
        f"autocast_dtype=fp16 has no effect with fast_math={fast_math}: "
        "use fast_math=all, or autocast_dtype=bf16"
    )


@pytest.mark.parametrize("kind", COMPILERS)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_type_without_a_cast_is_taken(kind, dtype, device):
    assert kind(dtype=dtype).refuse(device) is None


@pytest.mark.parametrize("kind", COMPILERS)
@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"dtype": "bf16", "matmul_precision": "medium"}, "of which dtype=bf16 leaves none"),
        ({"fast_math": "all", "matmul_precision": "high"}, "of which fast_math=all leaves none"),
        ({"fast_math": "matmult", "matmul_precision": "highest"}, "use fast_math=none"),
    ],
)
def test_a_matmul_precision_without_effect_is_refused(kind, options, refusal):
    for device in ("cpu", "cuda"):
        found = kind(**options).refuse(device)
        assert found.startswith(f"matmul_precision={options['matmul_precision']} ")
        assert refusal in found


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_tf32_of_a_gpu_needs_fast_math(precision):
    assert Eager(matmul_precision=precision).refuse("cuda") == (
        f"matmul_precision={precision} is tf32 on a GPU, fast_math=none is fp32: use fast_math=matmult"
    )
    assert Eager(matmul_precision=precision).refuse("cpu") is None
    assert Eager(matmul_precision=precision, fast_math="matmult").refuse("cuda") is None


@pytest.mark.parametrize("kind", COMPILERS)
def test_the_fastest_precision_is_timed_where_the_call_decides_it(kind):
    refusal = kind(matmul_precision="fastest").refuse("cpu")
    if kind in {Eager, TorchScript}:
        assert refusal is None
    else:
        assert refusal.startswith(
            f"matmul_precision=fastest is timed on the compiled model, but {kind.name} "
        )

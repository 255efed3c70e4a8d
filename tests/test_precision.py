"""What options ask for decides what answers are held to, and what can't be meant is refused with advice."""

from __future__ import annotations

import pytest

from benchmark import precision


@pytest.mark.parametrize(
    ("fast_math", "dtype", "held_to"),
    [
        ("none", "fp32", "none"),
        ("matmult", "fp32", "matmult"),
        ("all", "fp32", "all"),
        ("none", "bf16", "all"),
        ("none", "fp16", "all"),
    ],
)
def test_sixteen_bits_are_held_to_what_casting_everything_is(fast_math, dtype, held_to):
    assert precision.tolerance(fast_math, dtype) == held_to


@pytest.mark.parametrize("fast_math", ["matmult", "all"])
def test_a_cast_of_what_is_cast_already_is_refused_with_both_ways_out(fast_math):
    refusal = precision.refuse(fast_math, "bf16", "cpu")
    assert refusal == (
        f"fast_math={fast_math} casts from fp32, of which dtype=bf16 leaves nothing: "
        "use fast_math=none with dtype=bf16, or dtype=fp32"
    )


def test_fp16_is_for_gpus():
    assert "dtype=fp16" in precision.refuse("none", "fp16", "cpu")
    assert "use dtype=bf16" in precision.refuse("none", "fp16", "cpu")
    assert precision.refuse("none", "fp16", "cuda") is None


def test_casting_to_fp16_is_for_gpus_too():
    refusal = precision.refuse("all", "fp32", "cpu", "fp16")
    assert refusal.startswith("autocast_dtype=fp16 can't be had on a CPU")
    assert refusal.endswith("use autocast_dtype=bf16")
    assert precision.refuse("all", "fp32", "cuda", "fp16") is None


@pytest.mark.parametrize("fast_math", ["none", "matmult"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_what_to_cast_to_needs_a_cast(fast_math, kind):
    assert precision.refuse(fast_math, "fp32", kind, "fp16") == (
        f"autocast_dtype=fp16 has no effect with fast_math={fast_math}: "
        "use fast_math=all, or autocast_dtype=bf16"
    )


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_what_can_be_meant_is_not_refused(dtype, kind):
    assert precision.refuse("none", dtype, kind) is None

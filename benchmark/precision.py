"""Words for how exact a compiled model is meant to be: they choose what its answers are held to."""

from __future__ import annotations

from typing import Literal

from benchmark.records import FastMath

Dtype = Literal["fp32", "bf16", "fp16"]
"""The type of a model's weights and real-valued inputs."""
AutocastDtype = Literal["bf16", "fp16"]
"""What autocast casts to; cards before Ampere have tensor cores for fp16 alone."""
Tolerance = Literal["none", "matmult", "all", "int8"]
"""The least exact arithmetic that a compiler's options ask for; `verify.min_cosine` has a floor for each."""


def tolerance(fast_math: FastMath, dtype: Dtype) -> Tolerance:
    """What a torch compiler is held to: sixteen bits throughout are as inexact as casting everything."""
    return fast_math if dtype == "fp32" else "all"


def refuse(
    fast_math: FastMath, dtype: Dtype, kind: str, autocast_dtype: AutocastDtype = "bf16"
) -> str | None:
    """Say why a torch compiler can't have all of these on this kind of device, or None."""
    if autocast_dtype == "fp16" and fast_math != "all":
        return (
            f"autocast_dtype=fp16 has no effect with fast_math={fast_math}: "
            "use fast_math=all, or autocast_dtype=bf16"
        )
    for option, asked in {"dtype": dtype, "autocast_dtype": autocast_dtype}.items():
        if asked == "fp16" and kind == "cpu":
            return (
                f"{option}=fp16 can't be had on a CPU, fp16 products were 188 times slower than bf16 ones "
                f"(AMD, 2026-11): use {option}=bf16"
            )
    if dtype != "fp32" and fast_math != "none":
        return (
            f"fast_math={fast_math} casts from fp32, of which dtype={dtype} leaves nothing: "
            f"use fast_math=none with dtype={dtype}, or dtype=fp32"
        )
    return None

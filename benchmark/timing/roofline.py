"""Roofline model of Williams, Waterman and Patterson: the share of its machine's peak that a call reaches.

A call takes at least the time of its arithmetic at the machine's peak, and at least that of its memory
traffic at the machine's bandwidth (Communications of the ACM 52(4), 2009). Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from benchmark.records import frozen

_FP32_BYTES = 4
_WEIGHT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "int4": 0.5}
"""Of one weight, by the type of matrix products; other types count as one byte, the least of the usual."""

BytesPerSecond = tuple[PositiveInt, PositiveFloat]


@frozen
class Peak:
    """Peak rates of a machine, measured on it."""

    flops_per_s: Mapping[str, PositiveFloat]
    """By the effective type of matrix products, fp32 among them."""
    copy_bytes_per_s: Annotated[tuple[BytesPerSecond, ...], Field(min_length=1)]
    """Bytes touched by a copy, ascending, and the rate at which they were moved; reads and writes count."""

    def flops_at(self, matmul_dtype: str) -> float:
        """Floating-point operations per second with products of this type.

        At least that of fp32, to which any operand can be widened; a type that wasn't measured gets the
        highest rate of all.
        """
        measured = self.flops_per_s.get(matmul_dtype, max(self.flops_per_s.values()))
        return max(measured, self.flops_per_s["fp32"])

    def bandwidth(self, touched_bytes: float) -> float:
        """Bytes per second for a call that touches so many: caches are faster than memory.

        The best rate from the next smaller measured size on: at least the true one, as rates fall with size.
        """
        smaller = max((size for size, _ in self.copy_bytes_per_s if size <= touched_bytes), default=0)
        return max(rate for size, rate in self.copy_bytes_per_s if size >= smaller)


def fraction(
    flops: int | None,
    weight_bytes: int | None,
    seconds_per_call: float,
    matmul_dtype: str,
    peak: Peak | None,
) -> float | None:
    """Least possible time of a call over its measured time; None if the machine or the model is unknown.

    The least time is the longer of two: its arithmetic at the machine's peak, and one read of its weights in
    the effective `matmul_dtype`. `weight_bytes` are those in fp32. What isn't known
    (activations, conversions, an unmeasured type) makes the least time shorter, so the fraction is never too
    high. A fraction above 1 means that the measured peak is too low or a compiler needs less arithmetic.
    """
    if flops is None or weight_bytes is None or peak is None:
        return None
    needed = bytes_in(weight_bytes, matmul_dtype)
    least_s = max(flops / peak.flops_at(matmul_dtype), needed / peak.bandwidth(needed))
    return least_s / seconds_per_call


def bytes_in(fp32_bytes: int, dtype: str) -> float:
    """Bytes of weights in this type, from those in fp32."""
    return fp32_bytes * _WEIGHT_BYTES.get(dtype, 1) / _FP32_BYTES

"""Peak rates of a machine, measured with torch: matrix products and copies. Imported by children only.

The GPU's part follows torch's documented interface; it has not run on a device yet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import cycle, repeat
from typing import Any, Literal

import torch

from benchmark.errors import Unavailable
from benchmark.formatting import counted
from benchmark.models import numerics
from benchmark.timing import harness
from benchmark.timing.roofline import Peak

_SMALLEST, _LARGEST = 128, 8192
"""Widths of the square matrices; larger ones only if there is time."""
_TOUCHED = tuple((1 << 20) << doubled for doubled in range(9))
"""Bytes that a copy reads and writes together: 1 MiB to 256 MiB."""
_PIECE_S = 0.002
"""Longer copies are timed in pieces, of which some aren't interrupted by other processes."""
_UNDISTURBED = 0.8
"""Least share of its cores that a product must get to count as the machine's peak."""
_PROBE_S = 0.02
"""Longer than a turn that the kernel gives to a process, so that other processes interrupt the product."""
_PATIENCE_S = 1.0
"""How long an undisturbed product is waited for."""


def measure(device: Literal["cpu", "cuda"], threads: int | None, seconds: float) -> Peak:
    """Measure for about so many seconds; the fastest of many short calls counts.

    Raises:
        Unavailable: the CPU was too busy with other work.
    """
    # What "medium" means differs: fp32 by a faster library, or tf32, or bf16.
    medium = numerics.configure("matmult", threads, device).matmul_dtype
    if device == "cpu":
        _await_quiet()
    rates = _product_rates(device, medium, seconds / 2)
    return Peak(flops_per_s=rates, copy_bytes_per_s=_copy_rates(device, seconds / 2))


def _await_quiet() -> None:
    """Wait a moment for a product that gets its cores, before a measurement that would last and be refused.

    Raises:
        Unavailable: there was none.
    """
    ends, size, turn = time.perf_counter() + _PATIENCE_S, _SMALLEST, 0
    while True:
        a, b = torch.rand(size, size), torch.rand(size, size)
        product = partial(torch.mm, a, b, out=torch.empty_like(a))
        product()  # warms up
        fastest_s, cores = _fastest(repeat(product), "cpu", _PROBE_S)
        if fastest_s < _PROBE_S and size < _LARGEST:
            size *= 2
        elif cores >= _UNDISTURBED * torch.get_num_threads():
            return
        elif time.perf_counter() >= ends:
            raise _busy(cores)
        else:
            harness.start_on(turn)  # its own threads may have shared a CPU
            turn += 1


def _busy(cores: float) -> Unavailable:
    threads = torch.get_num_threads()
    return Unavailable(
        "this host is too busy to measure its peak "
        f"({counted(threads, 'thread')} got {100 * cores / threads:.0f} % of their cores)"
    )


def _product_rates(device: str, medium: str, seconds: float) -> dict[str, float]:
    """Operations per second of matrix products, by their effective type; `medium` is that of "medium"."""
    ways = (
        (medium, "medium", torch.float32),
        ("fp32", "highest", torch.float32),
        ("bf16", "highest", torch.bfloat16),
    )
    fastest: dict[str, tuple[float, float]] = {}
    for effective, precision, dtype in ways:
        torch.set_float32_matmul_precision(precision)
        found = _best_product(dtype, device, seconds / len(ways))
        fastest[effective] = max(found, fastest.get(effective, found))
    cores = fastest["fp32"][1]
    if device == "cpu" and cores < _UNDISTURBED * torch.get_num_threads():
        raise _busy(cores)
    return {effective: rate for effective, (rate, _) in fastest.items()}


def _best_product(dtype: torch.dtype, device: str, seconds: float) -> tuple[float, float]:
    """Most operations per second over sizes, and how many cores the largest product kept busy.

    Small products may run on one thread, and be the fastest all the same where cores share their units.
    """
    ends = time.perf_counter() + seconds
    size, best = _SMALLEST, 0.0
    while True:
        a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
        product = partial(torch.mm, a, b, out=torch.empty_like(a))
        _timed(product, device)  # warms up
        fastest_s, cores = _fastest(repeat(product), device, (ends - time.perf_counter()) / 3)
        best = max(best, 2 * size**3 / fastest_s)
        size *= 2
        if size > _LARGEST or time.perf_counter() + 2 * 8 * fastest_s > ends:
            return best, cores


def _copy_rates(device: str, seconds: float) -> tuple[tuple[int, float], ...]:
    """Bytes touched with bytes moved per second, for each size that memory allows."""
    rates = []
    for touched in _TOUCHED:
        try:
            source, target = (torch.ones(touched // 8, device=device) for _ in range(2))
        except RuntimeError:  # torch raises it when memory is refused
            break
        rates.append((touched, _copy_rate(source, target, device, seconds / len(_TOUCHED))))
    return tuple(rates)


def _copy_rate(source: torch.Tensor, target: torch.Tensor, device: str, seconds: float) -> float:
    """Most bytes per second, read and written, while one tensor is copied into the other over and over."""
    touched: int = 2 * source.nbytes
    whole_s, _ = _timed(partial(target.copy_, source), device)
    pieces = 1
    while whole_s / pieces > _PIECE_S and touched // pieces > _TOUCHED[0]:
        pieces *= 2
    copies = [
        partial(into.copy_, piece)
        for into, piece in zip(target.chunk(pieces), source.chunk(pieces), strict=True)
    ]
    fastest_s, _ = _fastest(cycle(copies), device, seconds)
    return touched / pieces / fastest_s


def _fastest(calls: Iterable[Callable[[], Any]], device: str, seconds: float) -> tuple[float, float]:
    """Seconds of the fastest of endless calls, one at least, and how many cores it kept busy."""
    ends = time.perf_counter() + seconds
    best = (math.inf, 0.0)
    for call in calls:
        best = min(best, _timed(call, device))
        if time.perf_counter() >= ends:
            break
    return best


def _timed(call: Callable[[], Any], device: str) -> tuple[float, float]:
    """Seconds that a call took, and the CPU seconds of this process in each of them."""
    cpu, start = time.process_time(), time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    took_s = time.perf_counter() - start
    return took_s, (time.process_time() - cpu) / took_s

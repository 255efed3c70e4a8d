"""OpenXLA, in the interpreter that has torch_xla: right answers, and its compilation in the first call."""

from __future__ import annotations

import os

import pytest

from benchmark.compilers.openxla import OpenXla
from benchmark.errors import LibraryMissing
from benchmark.execution import preload

VARIABLE = "BENCHMARK_XLA_PYTHON"


def test_it_casts_all_or_nothing():
    assert OpenXla(fast_math="matmult").refuse("cpu").startswith("fast_math=matmult doesn't work")
    assert {OpenXla(fast_math=cast).refuse("cpu") for cast in ("none", "all")} == {None}


def test_where_it_is_missing_another_interpreter_is_advised():
    try:
        OpenXla().versions()
    except LibraryMissing as missing:
        assert "compiler.python" in str(missing)  # noqa: PT017 - it may as well be installed
    else:
        pytest.skip("torch_xla is installed beside the torch of this interpreter")


@pytest.fixture
def cells(compose):
    python = os.environ.get(VARIABLE)
    if python is None:
        pytest.skip(f"{VARIABLE} names no interpreter that has torch_xla")
    there = (
        "compiler=openxla",
        f"compiler.python={python}",
        "sampling=quick",
        "sampling.repeats=1",
        "sampling.max_s=1",
    )
    return [
        compose(*there, f"model={model}", f"compiler.fast_math={cast}")
        for model, cast in (("bert_tiny", "none"), ("bert_tiny", "all"), ("t5_tiny", "none"))
    ]


@pytest.fixture
def interpreters(cells):
    """Instead of those for simulated cells."""
    with preload.interpreters(cells) as opened:
        yield opened


@pytest.mark.real
def test_it_computes_what_eager_does_and_compiles_in_its_first_call(cells, run_cells):
    for cell, row in zip(cells, run_cells(*cells), strict=True):
        assert row["status"] == "ok", row["error"]
        assert row["cosine"] > cell.verify.min_cosine[cell.compiler.fast_math]
        assert row["compile_s"] is None
        assert row["first_call_ms"] > 10 * row["latency_p50_ms"]
        assert "torch_xla" in dict(row["framework_versions"])

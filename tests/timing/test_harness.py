"""What is fixed in the process that measures, and what it tells of itself."""

from __future__ import annotations

import gc
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.records import Arithmetic, Session
from benchmark.timing import harness

FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")


def test_nothing_is_collected_or_looked_at_meanwhile():
    frozen = gc.get_freeze_count()
    with harness.quiet_interpreter():
        assert not gc.isenabled()
        assert gc.get_freeze_count() > frozen
    assert gc.isenabled()


def test_a_harness_tells_its_clock_its_cpus_and_who_hands_out_memory():
    description = harness.describe()
    assert 0 < description.timer_ns < 100_000
    assert set(description.affinity) == os.sched_getaffinity(0)
    assert description.denormals == "kept"
    assert description.allocator.startswith(("glibc", "musl")) or description.allocator in harness._ALLOCATORS


def test_an_allocator_that_was_preloaded_is_named(monkeypatch):
    maps = "7f00-7f01 r-xp 0 08:01 1 /usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4\n"
    there = SimpleNamespace(is_file=lambda: True, read_text=lambda **_: maps)
    monkeypatch.setattr(harness, "Path", lambda _: there)
    assert harness._allocator() == "tcmalloc"


@pytest.mark.skipif(sys.platform != "linux", reason="by Linux's maps")
def test_inputs_are_shuffled_in_place_and_by_their_seed():
    def shuffled(seed):
        ids, pixels = np.arange(12).reshape(3, 4), np.linspace(0, 1, 6, dtype=np.float32)
        shuffle = harness.shuffler(Session(run=int, arithmetic=FP32, inputs=(ids, pixels)), seed)
        shuffle()
        first = ids.copy()
        shuffle()
        return first, ids, pixels

    first, second, pixels = shuffled(1)
    assert sorted(first.ravel()) == sorted(second.ravel()) == list(range(12))
    assert first.tolist() != second.tolist()
    assert pixels.dtype == np.float32
    assert shuffled(1)[1].tolist() == second.tolist()
    assert shuffled(2)[1].tolist() != second.tolist()

"""Lengths of the requests of a load: distributed as asked, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.records import Shape
from benchmark.serving.requests import Source
from benchmark.serving_records import ServingOptions

CELL = Shape(batch_size=1, input_length=512, output_length=64)


def made(shape=CELL, number=0, **options):
    return Source(ServingOptions(**options), shape).requests(100.0, 50.0, number)


def test_without_a_distribution_all_have_the_lengths_of_the_cell():
    assert np.unique(made().lengths, axis=0).tolist() == [[512, 64]]
    assert made(Shape(batch_size=1, sequence_length=8)).lengths is None


def test_uniform_lengths_are_those_from_one_to_the_cell_s():
    prompts, outputs = made(lengths="uniform").lengths.T
    assert (prompts.min(), outputs.min(), outputs.max()) == (pytest.approx(1, abs=2), 1, 64)
    assert prompts.mean() == pytest.approx(256.5, rel=0.05)
    assert abs(np.corrcoef(prompts, outputs)[0, 1]) < 0.05


def test_lognormal_lengths_have_their_median_and_end_at_the_cell_s():
    prompts, _ = made(lengths="lognormal", prompt_median=20, length_sigma=0.5).lengths.T
    assert np.median(prompts) == pytest.approx(20, abs=1)
    assert np.log(prompts).std() == pytest.approx(0.5, rel=0.05)
    _, outputs = made(lengths="lognormal", output_median=32).lengths.T
    assert outputs.max() == 64
    assert np.mean(outputs == 64) < 0.05  # cut off, not heaped up at the end


def test_lengths_depend_on_the_seed_alone_and_arrivals_not_on_lengths():
    one, again, other = (made(lengths="uniform", arrival_seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.lengths, again.lengths)
    assert one.lengths[:50].tolist() != other.lengths[:50].tolist()
    assert (
        one.lengths[:50].tolist() != made(number=1, lengths="uniform", arrival_seed=1).lengths[:50].tolist()
    )
    assert np.array_equal(one.scheduled, made(arrival_seed=1).scheduled)


def test_a_trace_gives_its_times_or_only_its_lengths(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,5,2\n0.25,7,1\n9,9,9\n", encoding="utf-8")
    requests, seconds = Source(ServingOptions(trace=str(trace), duration_s=5.0), CELL).replay()
    assert requests.scheduled.tolist() == [0, 250_000_000]
    assert (requests.lengths.tolist(), seconds) == ([[5, 2], [7, 1]], 0.25)
    drawn = made(trace=str(trace), rate=100.0).lengths
    assert {tuple(pair) for pair in drawn.tolist()} == {(5, 2), (7, 1), (9, 9)}

"""scenario=server from end to end, in real time on a device that only waits."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.cell import cell_of
from benchmark.serving.board import Board
from benchmark.serving.queue import Batching, generate
from benchmark.serving_records import CallSize, Requests
from benchmark.stats.queueing import highest_load
from benchmark.store.results import ResultsStore

SERVER = ("compiler=simulated", "scenario=server", "compiler.item_ms=0", "sampling.warmup_s=0")


@pytest.fixture
def loaded(simulated, run_cells):
    """Row and requests of one cell."""

    def ran(*overrides):
        experiment = simulated(*SERVER, *overrides)
        (row,) = run_cells(experiment)
        requests = ResultsStore(experiment.store_root).loads(row["run_id"]) if row["offered_per_s"] else None
        return row, requests

    return ran


def test_a_stall_is_seen_from_the_schedule_with_every_request_kept(loaded):
    row, requests = loaded(
        "scenario.rate=150",
        "scenario.duration_s=2",
        "scenario.slo_ms=2000",
        *("compiler.call_ms=1", "compiler.stall_calls=120", "compiler.stall_ms=400"),
    )
    assert row["status"] == "ok"
    assert row["noise_flags"] == []
    assert row["latency_p99_ms"] is None or row["latency_p99_ms"] >= 300
    assert row["latency_max_ms"] >= 400
    assert row["outstanding_max"] >= 0.4 * 150 / 2
    assert (row["attainment"], row["slo_ms"], row["arrivals"]) == (1, 2000, "poisson")
    assert row["samples"] == len(requests["scheduled_ns"][0])
    assert row["outstanding_mean"] == pytest.approx(
        row["achieved_per_s"] * row["latency_mean_ms"] / 1e3, rel=0.03
    )
    assert row["goodput_per_s"] == pytest.approx(row["achieved_per_s"])
    assert 0 < row["transport_ms"] < 50


def test_more_than_the_capacity_is_saturated_and_has_no_percentile(loaded):
    row, requests = loaded("scenario.rate=300", "scenario.duration_s=20", "compiler.call_ms=10")
    assert row["status"] == "saturated"
    assert "300 requests/s are more than it answers: the queue grew by" in row["error"]
    assert row["growing_per_s"] == pytest.approx(200, rel=0.4)
    assert row["latency_p99_ms"] is None
    assert requests["issued_ns"][0][-1].as_py() < 10e9  # it stopped early


def test_copies_and_batches_answer_what_one_alone_does_not(loaded):
    row, _ = loaded(
        "scenario.rate=300",
        "scenario.duration_s=2",
        "scenario.slo_ms=4000",
        "compiler.call_ms=10",
        *("scenario.replicas=2", "scenario.max_batch=4", "scenario.max_delay_ms=5"),
    )
    assert row["status"] == "ok"
    assert row["requests_per_call"] > 1.5
    assert row["replicas"] == 2


DECODER = ("model=llama_tiny", "input_length=128", "output_length=32")


def test_a_trace_of_a_decoder_is_replayed_with_prompts_padded_and_answers_of_their_length(loaded, tmp_path):
    trace = tmp_path / "trace.csv"
    lines = [f"{0.05 * number},{(20, 100)[number % 2]},{(1, 9)[number % 2]}" for number in range(24)]
    trace.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *lines]), encoding="utf-8")
    row, requests = loaded(
        *DECODER,
        f"scenario.trace={trace}",
        "scenario.prompt_lengths=[32]",
        *("scenario.ttft_ms=20000", "scenario.tpot_ms=1.5"),
        *("compiler.call_ms=0", "compiler.item_ms=8", "compiler.token_ms=2"),
    )
    assert (row["status"], row["arrivals"], row["lengths"]) == ("ok", "trace", "trace")
    assert requests["padded_to"][0].as_py() == [32, 128] * 12
    assert row["padding_share"] == pytest.approx(1 - 120 / 160)
    assert row["tpot_p50_ms"] == pytest.approx(2)  # of those that have several tokens
    assert row["attainment"] == 0.5
    assert row["goodput_per_s"] == pytest.approx(row["achieved_per_s"] / 2)
    assert row["output_tokens_per_s"] == pytest.approx(5 * 24 / 1.15, rel=0.3)
    times = [np.array(requests[f"{name}_ns"][0].as_py()) for name in ("started", "first_token", "ended")]
    took = [np.diff(times, axis=0)[:, kind::2].min(axis=1) / 1e6 for kind in (0, 1)]
    assert np.ravel(took) == pytest.approx([2, 0, 8, 16], abs=0.01)


def test_the_highest_rate_within_limits_of_tokens_is_searched(loaded):
    row, _ = loaded(
        *DECODER,
        *("scenario.ttft_ms=60", "scenario.tpot_ms=3", "scenario.percentile=60", "scenario.search_s=6"),
        *("compiler.call_ms=0", "compiler.item_ms=8", "compiler.token_ms=1"),
    )
    # 8 ms to the first token and 31 after it: a wait of 52 ms is within the limit.
    exact = highest_load(1, 1 + 52 / 39, 60) / 0.039
    assert row["status"] == "ok"
    assert row["qps_under_slo"] == pytest.approx(exact, rel=0.25)
    assert row["qps_under_slo_lo"] <= row["qps_under_slo"] <= row["qps_under_slo_hi"]
    assert (row["slo_ms"], row["ttft_slo_ms"], row["tpot_slo_ms"]) == (None, 60, 3)


def test_requests_of_one_call_have_a_prompt_of_the_same_length_and_end_with_their_own_answer():
    board = Board()
    board.prepare(Requests(np.zeros(3, int), np.array([[5, 3], [9, 1], [2, 2]])))
    board["issued"] = 3
    for _ in range(4):
        board.ready.release()
    board.close(1)
    asked = []

    def call(size):
        return lambda tokens: asked.append((*size, tokens)) or [1000 * (1 + n) for n in range(tokens)]

    sizes = [CallSize(room, prompt) for room in (1, 2) for prompt in (8, 16)]
    generate(board, Batching(2, 0), {size: call(size) for size in sizes})
    assert asked == [(2, 16, 3), (1, 8, 2)]
    seen = board.observed(None)
    assert (seen.ended - seen.started).tolist() == [3000, 1000, 2000]
    assert (seen.first_token - seen.started).tolist() == [1000, 1000, 1000]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ("scenario.tpot_ms=9",),
            "a search needs a limit that a waiting request exceeds: give scenario.ttft_ms= or sc",
        ),
        (
            ("scenario.rate=9", "scenario.length_sigma=2"),
            "are those of a distribution: use scenario.lengths=",
        ),
        (
            ("scenario.rate=9", "scenario.prompt_lengths=[32]"),
            "has no effect where all prompts have input_len",
        ),
        (
            ("scenario.rate=9", "scenario.lengths=uniform", "scenario.prompt_lengths=[64,32]"),
            "scenario.prompt_lengths=[64, 32] must ascend and stay below input_length=128",
        ),
        (("scenario.trace=TRACE", "scenario.lengths=uniform"), "has no effect with scenario.trace"),
        (
            ("scenario.trace=TRACE", "scenario.arrivals=gamma"),
            "have no effect on a trace, which has its times",
        ),
        (
            ("scenario.trace=TRACE", "scenario.duration_s=5"),
            "has 5 requests in its first scenario.duration_s=5",
        ),
        (
            ("scenario.trace=TRACE",),
            "has a prompt of 200 tokens, above the longest that is compiled, input_le",
        ),
        (
            ("scenario.trace=TRACE", "input_length=200"),
            "has an output of 40 tokens, above the longest that is",
        ),
        (("scenario.trace=none.csv",), "scenario.trace=none.csv can't be read"),
        (
            ("model=bert_tiny", "scenario.rate=9", "scenario.tpot_ms=9"),
            "scenario.tpot_ms is about tokens, and text-classification makes none",
        ),
    ],
)
def test_loads_of_generations_that_cannot_work_are_refused(simulated, tmp_path, overrides, sentence):
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{n},200,40\n" for n in range(25)),
        encoding="utf-8",
    )
    given = [override.replace("TRACE", str(trace)) for override in overrides]
    e = simulated(*SERVER, *DECODER, *given)
    assert sentence in e.scenario.refuse(e.task, e.compiler, e.hardware, cell_of(e).shape)


def test_a_trace_counts_by_what_it_holds(simulated, tmp_path):
    def cell_id(name, text):
        (tmp_path / name).write_text(f"arrival_s,prompt_tokens,output_tokens\n{text}", encoding="utf-8")
        return cell_of(simulated(*SERVER, *DECODER, f"scenario.trace={tmp_path / name}")).cell_id

    assert cell_id("one.csv", "1,2,3\n") == cell_id("two.csv", "1,2,3\n") != cell_id("three.csv", "1,2,4\n")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ((), "scenario=server: give scenario.rate= for one load, or scenario.slo_ms="),
        (
            ("scenario.rate=0.1",),
            "scenario.rate=0.1 gives 3 requests in scenario.duration_s=30: use at least 200 s",
        ),
        (("scenario.rate=9", "scenario.burstiness=2"), "has no effect with scenario.arrivals=poisson"),
        (("scenario.rate=9", "scenario.max_batch=6"), "scenario.max_batch=6 is no power of two: use 4 or 8"),
        (("scenario.rate=9", "scenario.max_delay_ms=6"), "has no effect with scenario.max_batch=1"),
    ],
)
def test_options_that_say_too_little_or_contradict_each_other_are_refused(simulated, overrides, sentence):
    e = simulated(*SERVER, *overrides)
    assert sentence in e.scenario.refuse(e.task, e.compiler, e.hardware, cell_of(e).shape)


def test_a_preset_is_a_limit_of_mlperf_unless_another_is_given(simulated):
    assert simulated(*SERVER, "scenario.preset=bert").scenario.slo_ms == 130
    mine = simulated(*SERVER, "scenario.preset=resnet50", "scenario.slo_ms=20", "scenario.percentile=90")
    assert (mine.scenario.slo_ms, mine.scenario.percentile) == (20, 90)

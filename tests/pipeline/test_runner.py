"""The sentence, said over whole grids on a device whose latencies follow a law."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.store.results import ResultsStore

MS = 1_000_000


@pytest.fixture
def grid(simulated):
    """The simulated experiment, once for each of some changes to it."""
    return lambda *changes: [replace(simulated(), **change) for change in changes]


@pytest.mark.parametrize(
    ("overrides", "expected_ms"),
    [
        ((), 1.5),
        (("batch=4",), 3.0),
        (("batch=4", "seq_len=64"), 2.0),
        (("batch=4", "compiler.fast_math=matmult"), 2.1),
        (("batch=4", "compiler.fast_math=all"), 1.5),
        (("compiler.call_ms=0.25", "compiler.item_ms=0"), 0.25),
        (("model=vit_tiny", "batch=2", "seq_len=8"), 2.0),
    ],
)
def test_latencies_follow_the_law_to_the_nanosecond(simulated, run_cells, overrides, expected_ms):
    (row,) = run_cells(simulated(*overrides))
    assert row["status"] == "ok"
    assert set(row["latency_ns"]) == {round(expected_ms * MS)}
    assert row["latency_p50_ms"] == row["latency_p95_ms"] == pytest.approx(expected_ms)
    assert row["first_call_ms"] == pytest.approx(expected_ms)
    assert row["throughput_per_s"] == pytest.approx(row["batch_size"] * 1000 / expected_ms)


def test_a_row_tells_what_was_asked_for_and_that_it_is_simulated(simulated, run_cells):
    (row,) = run_cells(simulated("batch=4", "seq_len=64"))
    assert (row["model"], row["hardware"], row["compiler"]) == ("bert_tiny", "simulated", "simulated")
    assert (row["batch_size"], row["sequence_length"], row["campaign"]) == (4, 64, "test")
    assert row["simulated"] is True
    assert row["overrides"] == ["hardware=simulated", "batch=4", "seq_len=64"]
    assert json.loads(row["config"])["batch"] == 4
    assert (row["cosine"], row["peak_device_bytes"]) == (None, None)


def test_a_grid_leaves_one_row_a_cell_in_its_order(grid, run_cells):
    rows = run_cells(*grid({"batch": 2}, {"batch": 1}, {"batch": 2}))
    assert [row["batch_size"] for row in rows] == [2, 1]
    assert rows[0]["finished_at"] <= rows[1]["started_at"]


def test_a_second_campaign_is_a_cache_hit_that_tells_the_original_compile_seconds(grid, run_cells):
    (first,) = run_cells(*grid({"campaign": "first"}))
    (second,) = run_cells(*grid({"campaign": "second"}))
    assert (first["cache_hit"], second["cache_hit"]) == (False, True)
    assert second["compile_s"] == first["compile_s"] > 0
    assert (second["cell_id"], second["environment_id"]) == (first["cell_id"], first["environment_id"])
    assert second["run_id"] != first["run_id"]


def test_the_same_campaign_again_runs_nothing(grid, run_cells):
    cells = grid({"batch": 1}, {"batch": 2})
    assert run_cells(*cells) == run_cells(*cells)


def test_the_same_campaign_with_more_cells_runs_the_new_ones_only(grid, run_cells):
    before = run_cells(*grid({"batch": 1}))
    after = run_cells(*grid({"batch": 1}, {"batch": 2}))
    assert after[:1] == before
    assert after[1]["batch_size"] == 2


def test_all_runs_the_cells_again_and_each_keeps_one_row(grid, run_cells):
    (before,) = run_cells(*grid({}))
    (after,) = run_cells(*grid({"run": "all"}))
    assert after["run_id"] == before["run_id"]
    assert after["started_at"] > before["finished_at"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["compiler.fault=raise"],
            "crashed at measure: RuntimeError: simulated fault 'raise'",
        ),
        (
            ["compiler.fault=raise", "compiler.fault_stage=load"],
            "crashed at measure: RuntimeError: ",
        ),
        (
            ["compiler.fault=raise", "compiler.fault_stage=compile"],
            "compile_error at compile: compiler=simulated can't compile this model: RuntimeError: ",
        ),
        (["compiler.fault=unsupported_op"], "unsupported_op at measure: simulated: aten::imagined has no "),
        (
            ["seq_len=513"],
            "incompatible at plan: model=bert_tiny: seq_len=513 is above its max_position_embeddings 512",
        ),
    ],
)
def test_a_failure_becomes_a_row_and_the_grid_goes_on(simulated, run_cells, options, message):
    bad, good = run_cells(simulated(*options), simulated())
    assert f"{bad['status']} at {bad['stage']}: {bad['error']}".startswith(message)
    assert (bad["latency_p50_ms"], bad["latency_ns"], bad["throughput_per_s"]) == (None, None, None)
    assert (good["status"], good["latency_p50_ms"]) == ("ok", 1.5)


def test_failed_cells_are_run_again_when_asked_for(simulated, run_cells):
    bad = simulated("compiler.fault=raise")
    (before,) = run_cells(bad)
    assert run_cells(bad) == [before]
    (after,) = run_cells(replace(bad, run="failed"))
    assert after["run_id"] == before["run_id"]
    assert after["started_at"] > before["finished_at"]


def test_a_row_is_in_the_store_before_the_next_cell_starts(simulated, run_cells, silent):
    seen = []
    cells = [simulated("hardware.isolated=true", f"batch={batch}") for batch in (1, 2, 3)]

    class Reader(silent):
        @contextmanager
        def working(self, where, run_id, stage):  # noqa: ARG002 - the seam's signature
            if stage == "plan":
                seen.append(len(ResultsStore(cells[0].store_root).table(["run_id"])))
            yield

    run_cells(*cells, observer=Reader())
    assert seen == [0, 1, 2]


def test_whoever_watches_is_said_every_cell_stage_and_row(grid, run_cells, silent):
    seen = []

    class Watcher(silent):
        @contextmanager
        def working(self, where, run_id, stage):
            seen.append((where, run_id, stage))
            yield

        def finished(self, row):
            seen.append((row.run_id, row.status))

    run_cells(*grid({"batch": 2}), observer=Watcher())
    run_id = seen[-1][0]
    stages = ["plan", "build", "compile", "measure", "verify"]
    assert seen == [*(("simulated", run_id, stage) for stage in stages), (run_id, "ok")]


@pytest.mark.parametrize("stage", ["build", "measure"])
def test_an_interrupted_cell_leaves_its_row_and_the_same_command_resumes(grid, run_cells, silent, stage):
    cells, runs = grid({"batch": 1}, {"batch": 2}, {"batch": 3}), {}

    class Impatient(silent):
        @contextmanager
        def working(self, where, run_id, at):  # noqa: ARG002 - the seam's signature
            yield
            runs[run_id] = None
            if len(runs) == 2 and at == stage:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(*cells, observer=Impatient())
    left = ResultsStore(cells[0].store_root).table().to_pylist()
    assert [(row["batch_size"], row["status"], row["stage"]) for row in left] == [
        (1, "ok", None),
        (2, "interrupted", stage),
    ]
    assert (left[1]["latency_p50_ms"], left[1]["error"]) == (None, "stopped by Ctrl-C or a signal")
    resumed = run_cells(*cells)
    assert [row["status"] for row in resumed] == ["ok"] * 3
    assert resumed[0] == left[0]


def test_stage_seconds_tell_the_stages_that_were_reached(simulated, run_cells):
    bad, good = run_cells(simulated("compiler.fault=raise", "compiler.fault_stage=compile"), simulated())
    assert list(dict(bad["stage_seconds"])) == ["plan", "build", "compile", "rest"]
    assert list(dict(good["stage_seconds"])) == [
        *["plan", "build", "compile", "measure", "verify", "rest"],
        *[
            "measure.start",
            "measure.load",
            "measure.first_call",
            "measure.warmup",
            "measure.calls",
            "measure.analysis",
        ],
    ]
    # One call, then blocks of 66: the first to reach the 0.5 s of sampling/default.
    assert good["samples"] == 1 + 6 * 66
    assert dict(good["stage_seconds"])["measure.calls"] == pytest.approx(good["samples"] * 0.0015)


def test_a_cell_stops_at_the_process_with_which_its_median_is_known(simulated, run_cells):
    several = ("sampling.repeats=5", "sampling.min_repeats=2", "sampling.repeat_precision=0.05")
    good, bad = simulated(*several), simulated(*several, "batch=2", "compiler.fault=raise")
    rows = run_cells(good, bad)
    assert [(row["batch_size"], row["repeat"], row["status"]) for row in rows] == [
        (1, 0, "ok"),
        (1, 1, "ok"),
        (2, 0, "crashed"),
    ]


def test_the_seconds_of_the_stages_add_up_to_those_of_the_run(simulated, run_cells):
    for row in run_cells(simulated(), simulated("compiler.fault=raise", "compiler.fault_stage=load")):
        stages = [seconds for name, seconds in row["stage_seconds"] if "." not in name]
        took_s = (row["finished_at"] - row["started_at"]).total_seconds()
        assert sum(stages) == pytest.approx(took_s, abs=0.005)


def test_processes_of_another_campaign_do_not_count(simulated, run_cells):
    several = ("sampling.repeats=3", "sampling.min_repeats=2", "sampling.repeat_precision=0.05")
    rows = run_cells(*(simulated(*several, f"campaign={name}") for name in ("a", "b")))
    assert [(row["campaign"], row["repeat"]) for row in rows] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_what_computes_here_leaves_no_log(simulated, run_cells):
    experiment = simulated()
    (row,) = run_cells(experiment)
    assert row["log_path"] is None
    assert not Path(experiment.output_folder).exists()

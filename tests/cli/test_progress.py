"""Lines of progress: what tells the cells of a grid apart, what each took, whom it waited for."""

from __future__ import annotations

import io
import logging
import re
import time
from datetime import datetime, timedelta, timezone

import pytest
from rich.console import Console

from benchmark.cache.lookup import ReadOnlyCache
from benchmark.cli.progress import ProgressDisplay, labels
from benchmark.cli.terminal_log import TerminalHandler
from benchmark.config.sweep import grid
from benchmark.paths import CampaignPaths, block_name
from benchmark.pipeline.budget import BudgetTracker
from benchmark.pipeline.estimate import forecast
from benchmark.pipeline.progress import GridProgress
from benchmark.pipeline.time_left import TimeLeft
from benchmark.records import Row
from benchmark.stages.plan import plan
from benchmark.store.durations import Durations

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def named(*overrides):
    return [
        *labels(
            plan(grid(["hardware=simulated", "sampling.repeats=1", *overrides]), lambda _: {}).runs
        ).values()
    ]


def test_a_line_names_each_option_that_differs_in_the_grid():
    assert named("batch=1,2", "seed=3,4", "compiler.call_ms=0.5") == [
        "bert_tiny simulated simulated none b1 s128 seed=3",
        "bert_tiny simulated simulated none b1 s128 seed=4",
        "bert_tiny simulated simulated none b2 s128 seed=3",
        "bert_tiny simulated simulated none b2 s128 seed=4",
    ]


def test_a_line_names_quantisation_once():
    assert named("compiler=onnxruntime", "compiler.quantization=none,int8", "seed=7") == [
        "bert_tiny simulated onnxruntime none b1 s128",
        "bert_tiny simulated onnxruntime none int8 b1 s128",
    ]
    assert named("compiler=onnxruntime", "compiler.quantization=int8") == [
        "bert_tiny simulated onnxruntime none int8 b1 s128"
    ]


def test_what_follows_from_a_name_is_in_no_line():
    assert named("model=bert_tiny,vit_tiny") == [
        "bert_tiny simulated simulated none b1 s128",
        "vit_tiny simulated simulated none b1 px32",
    ]


@pytest.fixture
def display(tmp_path):
    """The display of a grid of two cells, and what it prints without a terminal."""
    laid = plan(grid(["hardware=simulated", "sampling.repeats=1", "batch=1,2"]), lambda _: {})
    left = TimeLeft(laid, forecast(laid, ReadOnlyCache(tmp_path / "cache"), Durations(), 1), 1)
    budget = BudgetTracker(laid.runs[0].cell.experiment.budget)
    state = GridProgress(laid, left, budget, CampaignPaths(folder=tmp_path), labels(laid.runs))
    printed = io.StringIO()
    return ProgressDisplay(Console(file=printed), state), laid.runs, printed


def finished(run, **values):
    times = {"started_at": START, "finished_at": START + timedelta(seconds=12.34)}
    stages = [("wait", 0.2), ("measure", 9.0), ("measure.retries", 3.14)]
    figures = {"samples": 30, "latency_p50_ms": 1.234, "attempts": 1, "stage_seconds": stages}
    return Row(values={"run_id": run.run_id, "status": "ok", **times, **figures, **values})


@pytest.mark.parametrize(
    ("values", "course"),
    [
        ({}, "12.3 s"),
        ({"attempts": 2}, "12.3 s, 2 attempts, 3.1 s discarded"),
        ({"cache_hit": False, "compile_s": 5.67}, "12.3 s, compiled in 5.7 s"),
        (
            {"cache_hit": True, "stage_seconds": [("wait", 214.0)]},
            "12.3 s, cache hit, waited 214.0 s for the host",
        ),
    ],
)
def test_the_line_of_a_cell_says_what_it_took_and_what_was_lost(display, values, course):
    shown, runs, printed = display
    shown.finished(finished(runs[0], **values))
    assert printed.getvalue().splitlines()[-1].endswith(f": ok p50 1.23 ms ({course})")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"slo_ms": 50.0}, "50.0 ms"),
        (
            {"slo_ms": None, "ttft_slo_ms": 900.0, "tpot_slo_ms": 70.0},
            "900 ms to the first token and 70.0 ms a token",
        ),
    ],
)
def test_a_rate_that_was_found_stands_with_its_limits(display, limits, words):
    shown, runs, printed = display
    shown.finished(finished(runs[0], qps_under_slo=42.0, slo_percentile=99.0, **limits))
    assert f": ok 42.0 requests/s (99 % within {words}) (" in printed.getvalue()


def test_a_command_that_is_waited_for_is_named_once(display):
    shown, runs, printed = display
    for since in ("14:00:00", "14:00:07"):
        with shown.working("cpu", runs[0].run_id, "wait"):
            shown.waiting("cpu", runs[0].run_id, f"python -m benchmark (pid 7) has it since {since}")
    with shown.working("cpu", runs[1].run_id, "wait"):
        shown.waiting("cpu", runs[1].run_id, "another command has it")
    assert printed.getvalue().splitlines()[1:] == [
        "waiting for the host: python -m benchmark (pid 7) has it since 14:00:00",
        "waiting for the host: another command has it",
    ]


def test_the_first_line_says_what_the_time_rests_on(display):
    assert (
        display[2].getvalue() == "2 cells, less than 1 s, estimated from the minimum times of this sampling\n"
    )


@pytest.fixture
def repeated(tmp_path):
    """The same of two cells with two processes each, in rounds."""
    laid = plan(grid(["hardware=simulated", "sampling.repeats=2", "batch=1,2"]), lambda _: {})
    left = TimeLeft(laid, forecast(laid, ReadOnlyCache(tmp_path / "cache"), Durations(), 1), 1)
    budget = BudgetTracker(laid.runs[0].cell.experiment.budget)
    state = GridProgress(laid, left, budget, CampaignPaths(folder=tmp_path), labels(laid.runs))
    printed = io.StringIO()
    return ProgressDisplay(Console(file=printed), state), laid.queue, printed


def test_a_cell_of_several_processes_has_one_line_when_it_is_done(repeated):
    shown, runs, printed = repeated
    for run, p50 in zip(runs, (1.0, 3.0, 4.0, 12.0), strict=True):
        shown.finished(finished(run, latency_p50_ms=p50, cache_hit=False, compile_s=1.0))
    head = "bert_tiny simulated simulated none"
    course = "(2 processes, 24.7 s, compiled in 1.0 s)"
    assert printed.getvalue().splitlines()[1:] == [
        "round 1 done: 2/4 processes · 12 s left · ok 2",
        f"[1/2] {head} b1 s128: ok p50 2.00 ms {course}",
        f"[2/2] {head} b2 s128: ok p50 6.00 ms {course}",
    ]


def test_a_failure_is_printed_at_once_and_ends_its_cell(repeated):
    shown, runs, printed = repeated
    failed = {"status": "crashed", "stage": "measure", "error": "broken"}
    shown.finished(finished(runs[0], **failed))
    line = "[1/2] bert_tiny simulated simulated none b1 s128 process 1: crashed at measure: broken"
    assert printed.getvalue().splitlines()[1:] == [line]
    shown.finished(finished(runs[1]))
    shown.unneeded(runs[2].run_id)
    shown.unneeded(runs[3].run_id)
    *_, last = printed.getvalue().splitlines()[2:]
    assert (len(printed.getvalue().splitlines()), last.split(": ")[0][:5]) == (3, "[2/2]")


def test_an_interrupted_run_has_no_reason_of_another(repeated):
    shown, runs, printed = repeated
    for run in runs[:2]:
        shown.finished(finished(run, status="interrupted", stage="measure", error="stopped by Ctrl-C"))
    assert [line.rpartition(": ")[2] for line in printed.getvalue().splitlines()[1:]] == [
        "stopped by Ctrl-C",
        "interrupted",
    ]


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """The display of a grid of one cell on a terminal of 100 columns, its runs, and what it draws."""
    monkeypatch.setattr("benchmark.cli.progress._TICK_S", 0.01)
    laid = plan(grid(["hardware=simulated", "sampling.repeats=1"]), lambda _: {})
    left = TimeLeft(laid, forecast(laid, ReadOnlyCache(tmp_path / "cache"), Durations(), 1), 1)
    budget = BudgetTracker(laid.runs[0].cell.experiment.budget)
    state = GridProgress(laid, left, budget, CampaignPaths(folder=tmp_path), labels(laid.runs))
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, width=100)
    return ProgressDisplay(console, state), laid.runs[0].run_id, printed


def drawings(printed, words):
    return printed.getvalue().count(words)


def test_the_line_of_a_cell_moves_while_it_is_compiled(terminal):
    shown, run_id, printed = terminal
    with shown, shown.working("compile 1", run_id, "compile"):
        time.sleep(0.3)
        assert drawings(printed, "none b1 s128: compile, 0 s") > 3


def test_nothing_is_drawn_while_calls_are_timed(terminal):
    shown, run_id, printed = terminal
    with shown, shown.working("cpu", run_id, "measure"):
        time.sleep(0.3)
        before = printed.getvalue()
        time.sleep(0.2)
        assert printed.getvalue() == before
    assert re.search(r"none b1 s128: measure since \d\d:\d\d:\d\d", before)


def test_a_data_set_that_is_answered_has_its_share_now_and_then(terminal, tmp_path, monkeypatch):
    shown, run_id, printed = terminal
    monkeypatch.setattr("benchmark.cli.progress._ANSWERS_TICK_S", 0.01)
    shown._answering = {run_id}
    folder = CampaignPaths(folder=tmp_path).answers("here")
    with shown, shown.working("cpu", run_id, "measure"):
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / block_name(number, 12)).touch()
        time.sleep(0.3)
    assert re.search(r"measure since \d\d:\d\d:\d\d, 25% answered", printed.getvalue())


def test_a_warning_stands_above_the_progress_and_is_printed_once(terminal):
    shown, run_id, printed = terminal
    text, handler = "hardware=%s: skipped, next attempt in %s min", TerminalHandler()
    with shown, shown.working("cpu", run_id, "measure"):
        for minutes in (2, 1):
            handler.emit(logging.LogRecord("any", logging.WARNING, "", 0, text, ("cpu", minutes), None))
    lines = [line for line in printed.getvalue().splitlines() if "skipped" in line]
    (line,) = lines
    assert line.endswith("warning: hardware=cpu: skipped, next attempt in 2 min")

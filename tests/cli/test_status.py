"""The state of a grid: its file, and what `status` shows of it in a second terminal."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.paths import CampaignPaths
from benchmark.pipeline.budget import BudgetTracker
from benchmark.pipeline.estimate import Estimate, Forecast
from benchmark.pipeline.progress import GridProgress
from benchmark.pipeline.time_left import TimeLeft
from benchmark.records import Row
from benchmark.stages.plan import plan
from benchmark.store.results import ResultsStore


def row(run, status="ok", **values):
    outcome_text = {"run_id": run.run_id, "status": status, "samples": 20 if status == "ok" else None}
    return Row(values={**outcome_text, "stage": "measure", "error": "too large\nfor this host", **values})


LABELS = {"first": "bert b2", "second": "bert b4"}


@pytest.fixture
def live(simulated, tmp_path):
    """Three cells, of which one has its row already; each of the others is expected to take 10 s."""
    cells = [simulated(f"batch={n}", "campaign=night") for n in (1, 2, 4)]
    first, *_ = plan(cells, lambda _: {}).runs
    laid = plan(cells, lambda _: {first.run_id: "ok"})
    budget = BudgetTracker(cells[0].budget)

    def made():
        return GridProgress(
            laid, expected(laid), budget, CampaignPaths(folder=tmp_path / "outputs" / "night"), LABELS
        )

    return made


def expected(laid):
    """Each process takes 10 s, and nothing has to be compiled."""
    runs = {run.run_id: Estimate(10.0) for run in laid.queue}
    forecast = Forecast(
        runs=runs,
        shares=dict.fromkeys(runs, 1.0),
        making={},
        compile_s=0.0,
        measure_s=20.0,
        usd=None,
        unpriced=2,
        at_least=False,
    )
    return TimeLeft(laid, forecast, 1)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Ask `status` from another terminal."""
    monkeypatch.chdir(tmp_path)

    def answered(*arguments):
        ran = CliRunner().invoke(app, ["status", *arguments], catch_exceptions=False)
        return ran.output

    return answered


def command(state, pid, ending="running"):
    """Write the state as the command of that process does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.getpid", lambda: pid)
        again = GridProgress(state.plan, expected(state.plan), state.budget, state.paths, LABELS)
        if ending == "running":
            again.write("running")
        else:
            again.finish(ending)


def test_the_file_tells_what_is_going_on(live, tmp_path):
    state = live()
    with state.working("cpu", "first", "measure"):
        state.write("running")
        (file,) = (tmp_path / "outputs" / "night").iterdir()  # no temporary file is left
        held = json.loads(file.read_text())
    assert (held["campaign"], held["state"], held["pid"]) == ("night", "running", os.getpid())
    assert (held["cells"], held["done_before"], held["finished"], held["remaining"]) == (
        3,
        1,
        0,
        2,
    )
    assert [(at["where"], at["cell"], at["stage"]) for at in held["busy"]] == [("cpu", "bert b2", "measure")]
    assert (held["order"], held["order_seed"], held["eta_s"]) == ("grid", 0, 20)


def test_a_disk_that_is_full_does_not_end_a_grid(live, tmp_path):
    (tmp_path / "outputs").write_text("in the way")
    live().write("running")


def test_status_tells_the_campaign_that_changed_last(live, asked):
    state = live()
    state.finished(row(state.plan.queue[0], "oom_host"))
    with state.working("compile 1", "second", "compile"):
        state.write("running")
        lines = asked().splitlines()
    assert lines[0].startswith("night: running on ")
    assert lines[1] == "1 of 2 cells (oom_host 1), 1 done before"
    assert lines[2].startswith("  compile 1: bert b4: compile for ")
    assert re.fullmatch(r"about (10|9|8) s left", lines[3])
    assert lines[-1] == "! oom_host at measure: too large"
    assert json.loads(asked("night", "--json"))["finished"] == 1


def test_status_says_which_command_has_the_host(live, asked):
    state = live()
    holder = "python -m benchmark -m model=vit (campaign tonight, pid 7) has it since 14:03:22"
    with state.working("cpu", "first", "wait"):
        state.waiting("cpu", "first", holder)
        (line,) = [line for line in asked().splitlines() if line.startswith("  cpu")]
        assert re.fullmatch(rf"  cpu: bert b2: wait for \d s: {re.escape(holder)}", line)
        (busy,) = json.loads(asked("--json"))["busy"]
        assert (busy["stage"], busy["holder"]) == ("wait", holder)
    with state.working("cpu", "first", "measure"):
        assert "has it since" not in asked()


def test_what_goes_on_counts_since_the_state_was_written(live, asked):
    """The command that waits, or measures, writes nothing meanwhile."""
    state = live()
    run_id = state.plan.queue[0].run_id
    state.labels = {run_id: "bert b2"}
    before = (datetime.now(timezone.utc) - timedelta(seconds=100)).isoformat()

    def seen_later():
        (file,) = state.paths.all_progress
        written = json.loads(file.read_text())
        busy = [{**at, "since": before} for at in written["busy"]]
        file.write_text(json.dumps({**written, "updated_at": before, "busy": busy}))
        return asked().splitlines()[3:]

    with state.working("cpu", run_id, "wait"):
        state.waiting("cpu", run_id, "another command has it")
        left, used = seen_later()
    assert left == "about 20 s left", "waiting brings it no nearer"
    assert re.fullmatch(r"used 1 min 4\d s: 1 min 4\d s waiting", used)
    with state.working("cpu", run_id, "measure"):
        left, used = seen_later()
    assert left == "about 10 s left", "what comes after the present cell"
    assert re.fullmatch(r"used 1 min 4\d s(: \d s waiting)?", used), "on a slow host the wait above counts"


def test_what_is_used_names_waiting_and_noise_retries(live, asked, monkeypatch):
    state = live()
    now = time.time()
    with monkeypatch.context() as patch, state.working("compile 1", "first", "wait"):
        patch.setattr("time.time", lambda: now + 2)
        with state.working("compile 2", "second", "wait"):
            patch.setattr("time.time", lambda: now + 5)
    state.finished(row(state.plan.queue[0], stage_seconds=[("measure", 9.0), ("measure.retries", 3.0)]))
    state.finish("done")
    assert asked().splitlines()[2] == "used 0 s: 5 s waiting, 3 s noise retries"


@pytest.mark.parametrize("stage", ["build", "compile", "peak", "measure"])
def test_the_file_says_so_when_a_stage_begins_that_lasts(live, asked, stage):
    """However short a time ago it was written: nothing else happens before the stage ends."""
    state = live()
    with state.working("cpu", "first", "wait"):
        pass
    state.finished(row(state.plan.queue[0]))
    state.write("running")
    with state.working("cpu", "first", stage):
        assert f"  cpu: bert b2: {stage} for " in asked()


def test_looking_into_the_cache_writes_no_file_each_time(live):
    state, written = live(), []
    state.write("running")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "write", written.append)
        for stage in ("build", "compile") * 50:
            with state.working("compile 1", "first", stage):
                pass
    assert len(written) <= 1


def test_a_process_that_is_gone_has_stopped(live, asked, tmp_path):
    command(live(), 2**22 + 1)
    assert asked("night").startswith("night: stopped on ")


def test_a_process_with_the_id_of_one_that_is_gone_has_not_started_this_grid(live, asked, tmp_path):
    live().write("running")
    (file,) = (tmp_path / "outputs" / "night").iterdir()
    state = json.loads(file.read_text())
    assert asked("night").startswith("night: running on ")
    file.write_text(json.dumps({**state, "process_started_s": state["process_started_s"] - 60}))
    assert asked("night").startswith("night: stopped on ")
    file.write_text(json.dumps({key: value for key, value in state.items() if key != "process_started_s"}))
    assert asked("night").startswith("night: running on ")  # written before this field existed


def test_two_commands_of_a_campaign_are_both_shown(live, asked):
    state, parent = live(), os.getppid()
    command(state, os.getpid())
    command(state, parent)
    command(state, 2**22 + 1, "done")
    ended, *running = asked("night").split("\n\n")
    assert ended.startswith("night: done on ")
    assert ended.partition("\n")[0].endswith(f", pid {2**22 + 1}")
    assert [part.partition("\n")[0].rpartition(" ")[2] for part in running] == [str(os.getpid()), str(parent)]
    assert [json.loads(line)["state"] for line in asked("--json").splitlines()] == ["done", *["running"] * 2]


def test_a_command_that_finishes_removes_the_files_of_those_that_ended_before(live, tmp_path):
    state, dead = live(), 2**22 + 1
    command(state, os.getpid())
    command(state, dead)  # without a word
    for pid in range(dead + 1, dead + 4):
        command(state, pid, "done")
    pids = {int(file.stem.rpartition("-")[2]) for file in (tmp_path / "outputs" / "night").iterdir()}
    assert pids == {os.getpid(), dead + 3}


@pytest.mark.parametrize(
    ("arguments", "outcome_text"), [([], "no grid has run below outputs"), (["x"], "no grid has written")]
)
def test_status_without_a_grid_says_so(asked, arguments, outcome_text):
    from benchmark.errors import ConfigError

    with pytest.raises(ConfigError, match=outcome_text):
        asked(*arguments)


def test_hosts_that_share_a_store_show_by_their_rows(bucket):
    store = ResultsStore(f"{bucket}/team/results")
    store.prepare()
    for number, (host, outcome, campaign) in enumerate(
        (("a", "ok", "night"), ("b", "ok", "night"), ("b", "crashed", "night"), ("c", "ok", "before"))
    ):
        moment = datetime.now(timezone.utc) - timedelta(minutes=5, days=campaign == "before")
        identity = {"run_id": f"r{number}", "campaign": campaign, "cell_id": "x", "environment_id": "e"}
        times = {"started_at": moment, "finished_at": moment}
        store.append(Row(values={**identity, **times, "hostname": host, "status": outcome}))
    shown = CliRunner().invoke(app, ["status", "--store", store.name], catch_exceptions=False).stdout
    assert re.findall(r"(\w+) on (\w): (.+); last row 5.* ago", shown) == [
        ("night", "a", "ok 1"),
        ("night", "b", "ok 1, crashed 1"),
    ]
    before = CliRunner().invoke(app, ["status", "before", "--store", store.name, "--json"]).stdout
    assert json.loads(before)["statuses"] == {"ok": 1}
    none = CliRunner().invoke(app, ["status", "never", "--store", store.name])
    assert "name another campaign" in str(none.exception)

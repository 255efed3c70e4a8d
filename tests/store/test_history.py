from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from benchmark.records import Exhausted, Row
from benchmark.store import history
from benchmark.store.results import ResultsStore

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def store(tmp_path) -> ResultsStore:
    made = ResultsStore(tmp_path / "results")
    made.prepare()
    return made


@pytest.fixture
def add(store):
    """Append a row; each ends a minute after the one before, unless `at` says otherwise."""
    minutes = iter(range(1000))

    def added(run_id, status="ok", at=None, **values):
        finished = START + timedelta(minutes=next(minutes) if at is None else at)
        identity = {"run_id": run_id, "campaign": "c", "cell_id": "x", "environment_id": "e"}
        times = {"started_at": START, "finished_at": finished}
        store.append(Row(values={**identity, **times, "status": status, **values}))

    return added


# What was measured


def test_the_newest_row_of_a_cell_counts_over_all_campaigns(store, add):
    add("r1", campaign="c1")
    add("r2", campaign="c2", status="crashed")
    add("r3", cell_id="y", at=-1)
    assert history.fresh(store, {"e"}) == {("x", "e", 0): ("r2", "crashed"), ("y", "e", 0): ("r3", "ok")}


@pytest.mark.parametrize("status", ["interrupted", "unavailable", "dominated"])
def test_a_cell_that_was_not_tried_to_the_end_leaves_its_older_row_standing(store, add, status):
    add("r1", status="timeout")
    add("r2", status=status)
    add("r3", status=status, cell_id="y")
    assert history.fresh(store, {"e"}) == {("x", "e", 0): ("r1", "timeout")}


def test_a_row_that_was_replaced_counts_no_more(store, add):
    add("r1")
    add("r2")
    store.compact()
    add("r2", status="interrupted")
    add("r1", status="interrupted")
    assert history.fresh(store, {"e"}) == {}


def test_other_environments_are_left_out(store, add):
    add("r1", environment_id="e1")
    add("r2", environment_id="e2")
    add("r3", environment_id="e3")
    found = history.fresh(store, {"e1", "e3"})
    assert found == {("x", "e1", 0): ("r1", "ok"), ("x", "e3", 0): ("r3", "ok")}


# What won't fit


def config(memory_gib):
    return json.dumps({"batch": 1, "limits": {"memory_gib": memory_gib}})


def test_rows_that_ran_out_of_memory_are_said_with_the_limit_they_ran_under(store, add):
    add("r1", "oom_host", family_id="f", batch_size=8, sequence_length=128, config=config(4))
    add("r2", "oom_device", family_id="f", batch_size=16, cell_id="y", config=config(None))
    add("r3", "oom_device", family_id="g", batch_size=16, cell_id="z")
    add("r4", "crashed", family_id="f", batch_size=4, cell_id="w", config=config(4))
    common = {"family_id": "f", "environment_id": "e"}
    assert history.exhausted(store, {"e"}) == (
        Exhausted(**common, batch_size=8, sequence_length=128, memory_gib=4.0, run_id="r1"),
        Exhausted(**common, batch_size=16, sequence_length=None, memory_gib=None, run_id="r2"),
        Exhausted(
            family_id="g",
            environment_id="e",
            batch_size=16,
            sequence_length=None,
            memory_gib=None,
            run_id="r3",
        ),
    )


def exhausted(store):
    return [limit.run_id for limit in history.exhausted(store, {"e"})]


def test_a_newer_row_that_is_ok_takes_the_older_failure_back(store, add):
    shared = {"family_id": "f", "batch_size": 8}
    add("r1", "oom_host", **shared)
    add("r2", "ok", **shared)
    assert exhausted(store) == []
    add("r3", "oom_host", **shared)
    assert exhausted(store) == ["r3"]


def test_an_ok_row_of_another_cell_or_environment_takes_nothing_back(store, add):
    shared = {"family_id": "f", "batch_size": 8}
    add("r1", "oom_host", **shared)
    add("r2", "ok", cell_id="y", **shared)
    add("r3", "ok", environment_id="e3", **shared)
    add("r4", "timeout", **shared)
    assert exhausted(store) == ["r1"]


def test_rows_from_before_there_were_families_tell_nothing_of_memory(store, add):
    add("r1", "oom_host", batch_size=8)
    assert exhausted(store) == []


# Stores


def test_without_a_store_nothing_is_known(tmp_path):
    absent = ResultsStore(tmp_path / "none")
    assert history.fresh(absent, {"e"}) == {}
    assert history.exhausted(absent, {"e"}) == ()


def test_an_empty_store_knows_nothing(store):
    assert history.fresh(store, {"e"}) == {}
    assert history.exhausted(store, {"e"}) == ()

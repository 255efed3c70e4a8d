"""`store verify` and `store repair`: what they print, and their exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmark.cli.store import app
from benchmark.store.results import ResultsStore
from tests.chaos.bit_flips import flip, row


@pytest.fixture
def store(tmp_path):
    made = ResultsStore(tmp_path / "results")
    made.prepare()
    made.append(row(1))
    made.append(row(2))
    return made


def call(verb, store, *options):
    done = CliRunner().invoke(app, [verb, "--store", str(store.paths.root), *options])
    return done.exit_code, done.stdout


def test_a_sound_store_is_called_so(store):
    assert call("verify", store) == (0, f"every file at {store.paths.root} is as it was written\n")
    assert call("repair", store) == (0, "0 files set aside; lost rows: 0\n")


def test_a_damaged_file_is_named_set_aside_and_its_run_is_called_lost(store):
    flip(file := store.paths.run("r1"), 9000)
    code, text = call("verify", store)
    assert code == 2
    assert f"{file}: its content has changed since it was written; it holds 1 row\n" in text
    code, text = call("repair", store)
    assert code == 2
    assert "  lost: run r1\n" in text
    assert text.endswith("1 file set aside; lost rows: 1\n")
    assert call("verify", store)[0] == call("repair", store)[0] == 0
    assert store.statuses() == {"r2": "ok"}


def test_a_file_whose_rows_cannot_be_counted_is_called_so(store):
    store.paths.part("x").write_bytes(b"no Parquet")
    assert "; its rows can't be counted\n" in call("verify", store)[1]
    assert call("repair", store)[0] == 2


def test_as_json(store):
    flip(store.paths.run("r1"), 9000)
    (flaw,) = json.loads(call("verify", store, "--json")[1])["flaws"]
    assert (flaw["run_ids"], flaw["unreadable_rows"]) == (["r1"], 0)
    (repaired,) = json.loads(call("repair", store, "--json")[1])["repaired"]
    assert (repaired["lost"], repaired["older"]) == (["r1"], [])

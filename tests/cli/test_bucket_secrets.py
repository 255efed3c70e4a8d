"""Credentials of a bucket are in nothing that the program writes, prints or sends."""

from __future__ import annotations

import pytest

from benchmark.bucket.objects import Bucket
from tests.buckets import ACCESS_KEY, SECRET

GRID = ("-m", "hardware=simulated", "model=bert_tiny", "batch=1,2", "sampling.repeats=1", "campaign=night")


@pytest.fixture
def ran(command, bucket):
    """Whatever a grid and the verbs print, with the store and the remote cache in a bucket."""
    store = f"{bucket}/team/results"
    places = (f"store.root={store}", f"cache.remote={bucket}/team/cache")
    verbs = {
        "grid": (*GRID, *places),
        "plan": ("plan", *GRID, *places),
        "cfg": ("--cfg", "job", *places),
        "results": ("results", "--store", store, "--simulated", "--json"),
        "report": ("report", "overview", "--store", store, "--simulated", "--md"),
        "status": ("status", "--store", store),
        "cache": ("cache", "ls", "--remote", f"{bucket}/team/cache"),
        "absent": ("results", "--store", "s3://not-there/results"),
    }
    return {name: command(*words, timeout=120) for name, words in verbs.items()}


def test_no_secret_is_in_a_row_a_file_a_configuration_a_plan_or_a_report(ran, tmp_path, bucket):
    assert [name for name, done in ran.items() if done.returncode] == ["absent"], ran
    texts = {
        f"{name} {stream}": getattr(done, stream).encode()
        for name, done in ran.items()
        for stream in ("stdout", "stderr")
    }
    texts |= {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    objects = Bucket(f"{bucket}/team/x")
    folders = ("results-simulated", "results", ".results", "cache/entries", "cache/files")
    sent = {
        one.key: objects.get(one.key).data for folder in folders for one in objects.listed(f"team/{folder}")
    }
    assert any("part-" in key for key in sent)  # the end of the grid has merged its rows
    assert any("cache/entries" in key for key in sent)
    assert any(name.endswith("multirun.yaml") for name in texts)
    assert b"night" in texts["results stdout"]
    searched = {**texts, **sent}
    for secret in (SECRET.encode(), ACCESS_KEY.encode()):
        assert [name for name, data in searched.items() if secret in data] == []

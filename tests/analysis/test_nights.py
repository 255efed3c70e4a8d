"""What checks of nights leave in the store."""

from __future__ import annotations

import json

import pytest

from benchmark.analysis import nights
from benchmark.store.results import ResultsStore


def test_findings_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    store = ResultsStore(tmp_path)
    nights.keep(store, "night", [])
    monkeypatch.setattr(json, "dumps", lambda *_, **__: "\ud800")  # can't be encoded: the write fails
    with pytest.raises(UnicodeEncodeError):
        nights.keep(store, "night", [])
    assert nights.kept(store, "night") == ()
    assert [file.name for file in store.paths.nightly("night").parent.iterdir()] == ["night.json"]


def test_findings_that_have_changed_are_not_used(tmp_path, caplog):
    store = ResultsStore(tmp_path / "results")
    store.prepare()
    nights.keep(store, "night", [])
    file = store.paths.nightly("night")
    file.write_bytes(file.read_bytes().replace(b"[]", b'["x"]'))
    assert nights.kept(store, "night") == ()
    assert "its content has changed since it was written" in caplog.text
    file.write_bytes(b"[]")  # as older versions wrote them
    caplog.clear()
    assert nights.kept(store, "night") == ()
    assert not caplog.messages

"""Suggestions for misspelled names."""

from __future__ import annotations

from benchmark.spelling import did_you_mean, nearest, suggest


def test_the_most_similar_name_is_suggested():
    assert did_you_mean("btach", ["seq_len", "batch", "input_length"]) == "did you mean 'batch'?"


def test_no_name_is_suggested_when_none_is_similar():
    assert not did_you_mean("xyz", ["batch", "seq_len"])
    assert not did_you_mean("batch", [])
    assert not suggest(None)


def test_a_caller_may_demand_more_or_less_similarity():
    assert nearest("int2", ["inf2", "trn1"], cutoff=0.85) is None
    assert nearest("int2", ["inf2", "trn1"], cutoff=0) == "inf2"

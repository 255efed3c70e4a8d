"""Ten published rows: what differs from AWS's scripts has a reason, and nothing else has one."""

from __future__ import annotations

import csv

import pytest

from benchmark.published.documents import FOLDER
from tests.neuron import fidelity

pytestmark = pytest.mark.real
"""Ten compositions: slow for core tests."""


@pytest.fixture(scope="module")
def rows():
    return [*fidelity.rows()]


def test_each_difference_is_named_and_each_reason_is_one_of_a_difference(rows):
    wrong = [
        (row["row"], name, theirs, own)
        for row, fields in rows
        for name, theirs, own, why, _ in fields
        if fidelity.is_same(name, theirs, own) == bool(why)
    ]
    assert wrong == []


def test_what_conf_decides_is_not_written_by_hand(rows):
    for row, _ in rows:
        own = fidelity.ours(row)
        assert [name for name, said in row["fields"].items() if "ours" in said and name in own] == []


def test_every_part_and_every_variable_is_compared(rows):
    for row, fields in rows:
        named = {name for name, *_ in fields}
        own = fidelity.ours(row)
        assert {name for name in own if name.startswith("program of ")} <= named
        assert not own["environment"] or "environment" in named
        assert {"copies x callers", "placement", "graph"} <= named


def test_the_rows_are_published_ones(rows):
    for row, _ in rows:
        cell = row["cell"]
        with (FOLDER / "inf2_performance" / cell["table"]).open(encoding="utf-8", newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["Model"] == cell["model"]]
        assert cell["batch"] in {line["Batch Size"] for line in lines}
        assert "image_size" not in cell or cell["image_size"] in {line["Image Size"] for line in lines}


def test_the_page_is_what_conf_composes_today():
    assert fidelity.PAGE.read_text(encoding="utf-8") == fidelity.text(), (
        "python -m tests.neuron.fidelity, and review the difference"
    )

"""CSV: whole figures, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io

import pytest

from benchmark.report.document import Field, Head, Table
from benchmark.report.render import csv as files
from tests.report.render import sample


def read(text):
    return [*csv.reader(io.StringIO(text))]


def table(*fields, heads=("A", "B", "C", "D")):
    return Table(
        name="t", caption="", heads=tuple(Head(text=head) for head in heads[: len(fields)]), lines=(fields,)
    )


def test_figures_are_whole_and_texts_as_shown():
    fields = (Field(text="8", value=8.0), Field(text="0.19", value=0.187123), Field(text="OOM", word=True))
    assert files.csv(table(*fields)) == "A,B,C\n8,0.187123,OOM\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1"])
def test_a_text_is_no_formula(text):
    assert read(files.csv(table(Field(text=text))))[1][0].startswith("'")


def test_a_negative_figure_stays_a_figure():
    assert files.csv(table(Field(text="-1.5 ms", value=-1.5))) == "A\n-1.5\n"


def test_mixed_origins_have_a_column():
    heads, *lines = read(files.csv(sample.cost_table()))
    assert heads[-1] == "origin"
    assert [line[-1] for line in lines] == ["published", "published", "measured", "measured"]
    assert read(files.csv(sample.latency_table()))[1][-1] == "measured published published simulated"
    assert "origin" not in read(files.csv(sample.document().failures))[0]


def test_a_hostile_error_is_one_field():
    heads, line = read(files.csv(sample.document().failures))
    assert len(line) == len(heads)
    assert "\x1b" not in line[2]
    assert "NCC_EVRF001" in line[2]

"""Numbers as text."""

from __future__ import annotations

import math

import pytest

from benchmark.formatting import counted, finite, floored, is_useless, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.34, "12.3"), (9.999, "10.0"), (9, "9.00"), (12345.6, "12346"), (0.00123456, "0.00123"), (0, "0")],
)
def test_a_figure_has_three_significant_digits_and_no_exponent(value, text):
    assert significant(value) == text


def test_a_figure_may_have_other_digits_and_separators():
    assert significant(12345.6, 2, separator=",") == "12,346"
    assert significant(math.nan) == "nan"


def test_a_similarity_is_never_rounded_up_to_one():
    assert floored(0.9999999) == "0.999999"
    assert floored(-0.00001, 4) == "-0.0001"


def test_nouns_agree_with_their_number():
    assert [counted(number, "cell") for number in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
    assert (counted(2, "process"), counted(1, "entry", "entries")) == ("2 processes", "1 entry")
    assert counted(3, "entry", "entries") == "3 entries"


def test_an_interval_of_half_its_middle_or_more_says_nothing():
    assert [is_useless(1.0, high) for high in (2.9, 3.0, math.nan)] == [False, True, True]


def test_json_has_null_for_what_is_not_finite():
    assert finite({"a": math.nan, "b": math.inf, "c": 1.0, "d": None}) == {
        "a": None,
        "b": None,
        "c": 1.0,
        "d": None,
    }

"""Numbers as text."""

from __future__ import annotations

import math

import pytest

from benchmark.formatting import finite, floored, significant


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


def test_json_has_null_for_what_is_not_finite():
    assert finite({"a": math.nan, "b": math.inf, "c": 1.0, "d": None}) == {
        "a": None,
        "b": None,
        "c": 1.0,
        "d": None,
    }

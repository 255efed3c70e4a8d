from __future__ import annotations

import math

import pandas as pd

from benchmark.stats.pareto import unbeaten


def front(*points):
    first, second = zip(*points, strict=True)
    return [*unbeaten(pd.Series(first, dtype=float), pd.Series(second, dtype=float))]


def test_a_point_that_another_beats_in_both_is_not_on_the_front():
    assert front((1, 3), (2, 2), (3, 1), (2.5, 2.5)) == [True, True, True, False]


def test_equals_share_the_front_and_a_worse_second_value_loses():
    assert front((1, 1), (1, 1), (1, 2), (2, 1)) == [True, True, False, False]


def test_unknown_counts_as_the_worst_and_nothing_known_is_no_choice():
    assert front((1, math.inf), (2, 5), (math.inf, 1), (math.inf, math.inf)) == [True, True, True, False]

from __future__ import annotations

import pytest

from benchmark.report.axis_ticks import logarithmic


@pytest.mark.parametrize(
    ("ends", "ticks"),
    [
        ([(0.21, 4.2)], [0.2, 0.3, 0.5, 0.7, 1, 2, 3]),
        ([(1, 900)], [1, 2, 5, 10, 20, 50, 100, 200, 500]),
        ([(1, 90_000)], [1, 10, 100, 1000, 10_000]),
        ([(0.9, 9), (9, 90)], [0.9, 1, 2, 3, 5, 7, 10, 20, 30, 50, 70]),
        ([(2.0, 2.1)], []),
        ([(5.0, 5.0), (1.0, 100.0)], []),
    ],
)
def test_ticks_are_round_and_few(ends, ticks):
    assert logarithmic(ends) == [tick for tick in ticks if tick != 0.9]


def test_batches_have_ticks_at_their_powers():
    assert logarithmic([(1, 16)], 2) == [1, 2, 4, 8, 16]

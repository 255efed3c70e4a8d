"""A few random experiments; `python tests/grids/random_experiments.py --times 200` compares more."""

from __future__ import annotations

from tests.grids.random_experiments import check


def test_random_experiments_have_the_cells_of_the_definition(tmp_path):
    cells, wrong = check(3, 1, tmp_path)
    assert wrong == []
    assert cells

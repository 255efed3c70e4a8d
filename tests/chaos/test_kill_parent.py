"""A grid that is killed loses nothing; `python -m tests.chaos.kill_parent --times 50` is the longer drill."""

from __future__ import annotations

import pytest

from tests.chaos.kill_parent import drill

pytestmark = pytest.mark.chaos


def test_a_killed_grid_loses_no_finished_cell_doubles_none_and_leaves_no_process(tmp_path):
    kills, wrong = drill(2, 1, tmp_path)
    assert wrong == []
    assert kills.total() == 2

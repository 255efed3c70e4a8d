"""Short versions of the drills; `make drills` runs the long ones."""

from __future__ import annotations

import pytest

from tests.chaos import hostile, kill_command, kill_locks, kill_parent, many_cells
from tests.chaos.hostile_acts import EXPECTED

pytestmark = pytest.mark.chaos


def test_a_killed_grid_loses_no_finished_cell_doubles_none_and_leaves_no_process(tmp_path):
    kills, wrong = kill_parent.drill(2, 1, tmp_path)
    assert wrong == []
    assert kills.total() == 2


def test_nothing_survives_a_killed_command_whatever_its_children_have_started(tmp_path):
    kills, _, faults = kill_command.drill(len(kill_command.KINDS), 1, tmp_path)
    assert faults == []
    assert kills.total() == len(kill_command.KINDS)


def test_whatever_children_do_their_caller_gets_an_answer_and_nothing_stays_behind(tmp_path):
    done, faults, descriptors = hostile.drill(len(EXPECTED), 0, tmp_path)
    assert faults == []
    assert {*done.values()} == {1}
    assert descriptors < 60


def test_no_two_hold_a_lock_at_once_and_the_dead_hold_none(tmp_path):
    turns, kills, faults = kill_locks.drill(3, 0, tmp_path)
    assert faults == []
    assert kills == 3
    assert turns > kills


def test_a_long_grid_keeps_its_size_and_answers_ctrl_c(tmp_path):
    seen, faults = many_cells.drill(100, tmp_path / "grid")
    assert faults == []
    assert seen[-1].cells >= 80

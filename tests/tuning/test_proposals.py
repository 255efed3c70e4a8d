"""Proposals of a large space: few, new, and near the best."""

from __future__ import annotations

import itertools
import math

import pytest

pytest.importorskip("optuna")

from benchmark.tuning.candidates import Candidate, Look, Question
from benchmark.tuning.proposals import MOST, Proposals
from benchmark.tuning.race import Race

SPACE = [
    dict(zip("abc", map(str, one), strict=True)) for one in itertools.product(range(8), range(8), range(8))
]


def milliseconds(one):
    return 1 + sum(abs(int(value) - 5) for value in one.values())


def test_each_candidate_is_proposed_once_and_no_more_than_the_most():
    sampler, found = Proposals(SPACE), {}
    proposed = []
    for _ in range(40):
        new = sampler.next(found)
        proposed += new
        found |= {index: math.log(milliseconds(SPACE[index])) for index in new}
    assert len(proposed) == len(set(proposed)) == MOST


def test_the_best_of_a_large_space_is_found_with_looks_at_a_part_of_it():
    sampler = Proposals(SPACE)
    race = Race([Candidate(name=str(one)) for one in SPACE], Question(), proposed=True)
    while True:
        race.propose(sampler.next(race.means()))
        turn = race.next_round()
        if turn is None:
            break
        race.add(turn, {index: Look(values=(float(milliseconds(SPACE[index])),)) for index in turn.looks})
    (winner,) = race.standing.front
    assert SPACE[winner] == {"a": "5", "b": "5", "c": "5"}
    assert len(race.means()) <= MOST < len(SPACE)

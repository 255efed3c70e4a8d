"""Score the answers of a run against the labels and against the fp32 reference's answers."""

from __future__ import annotations

from benchmark.cell import Cell
from benchmark.errors import WrongAnswer
from benchmark.labelled.answers import Blocks, load
from benchmark.labelled.exam import Exam
from benchmark.labelled.scores import Score, score


def scored(cell: Cell, exam: Exam) -> Score:
    """Score what the measuring child has left.

    Raises:
        Crashed: it answered other items than the reference.
    """
    e = cell.experiment
    assert e.dataset is not None  # noqa: S101 - refused by the plan
    answers = Blocks(exam.blocks).all()
    floor = e.accuracy.relative_floor
    return score(answers, load(exam.reference), e.dataset.metric, exam.classes, floor)


def judge_floor(found: Score | None) -> None:
    """Refuse a model that misses its floor, by chance as good as excluded.

    Raises:
        WrongAnswer: the whole interval of its ratio to the reference lies below `accuracy.relative_floor`.
    """
    if found and found.floor == "missed":
        raise WrongAnswer(found.reason)

"""Asking a session all items: batches, padding, blocks that survive a stop, and times."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.errors import Crashed, Incompatible
from benchmark.items import Item
from benchmark.labelled import answers
from benchmark.labelled.exam import Asking
from benchmark.labelled.questions import Classes
from benchmark.records import Arithmetic, Sampling, Session
from benchmark.scenarios.accuracy import Accuracy
from benchmark.timing.harness import replace_inputs

FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")
CALL_NS = 2_000_000
SAMPLING = Sampling(warmup_calls=3, warmup_s=0.0, min_calls=1, max_calls=9, min_s=0, max_s=1)


class Numbers:
    """Inputs that are the items' own numbers."""

    def arrays(self, items):
        return {"numbers": np.array([[item.content] for item in items], np.float32)}


class Model:
    """Its class is the number's rest by three; each call takes 2 ms of its clock. It may stop working."""

    def __init__(self, batch, calls=10**9):
        self.given, self.now, self.left = np.zeros((batch, 1), np.float32), 0, calls

    def run(self):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.now += CALL_NS
        return [np.eye(3)[self.given[:, 0].astype(int) % 3] * 5]

    @property
    def session(self):
        return Session(run=self.run, arithmetic=FP32, inputs=(self.given,), clock=lambda: self.now)


def items(count):
    """Every seventh has the wrong label."""
    return [
        Item(f"item {number}", number, "abc"[(number + (number % 7 == 0)) % 3])
        for number in range(1, count + 1)
    ]


def asking(folder, batch, count=200, names=("numbers",)):
    questions = Classes(Numbers(), "abc", range(3), None)
    return Asking(items(count), questions, batch, names, folder)


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_answers_are_the_same_with_every_batch_and_none_is_of_padding(tmp_path, batch):
    asked = asking(tmp_path / "blocks", batch)
    asked.ask(Model(batch).session, replace_inputs)
    found = asked.answers()
    assert [*found["id"]] == [item.id for item in items(200)]
    assert [*found["predicted"]] == ["abc"[number % 3] for number in range(1, 201)]
    assert [*found["right"]] == [number % 7 != 0 for number in range(1, 201)]
    assert set(found["margin"]) == {5.0}


def test_the_scenario_times_the_calls_of_items_after_a_warm_up(tmp_path):
    timing = Accuracy().measure([Model(8).session], SAMPLING, asking(tmp_path / "blocks", 8))
    assert timing.nanoseconds == (CALL_NS,) * 25
    assert timing.warmup_calls == 3
    assert timing.wall_s == pytest.approx(0.05)


def test_a_stopped_run_goes_on_after_its_last_finished_block(tmp_path):
    whole = asking(tmp_path / "whole", 8)
    whole.ask(Model(8).session, replace_inputs)
    stopped, resumed = Model(8, calls=13), Model(8)
    with pytest.raises(KeyboardInterrupt):
        asking(tmp_path / "blocks", 8).ask(stopped.session, replace_inputs)
    again = asking(tmp_path / "blocks", 8)
    again.ask(resumed.session, replace_inputs)
    assert resumed.now // CALL_NS == 25 - 8  # a block of 64 items was finished
    for name, values in whole.answers().items():
        np.testing.assert_array_equal(values, again.answers()[name])
    assert len(again.times()[0]) == 25


def test_a_half_written_block_is_no_block(tmp_path):
    asked = asking(tmp_path, 8)
    (tmp_path / ".block-0-1.npz").write_bytes(b"half")
    asked.ask(Model(8).session, replace_inputs)
    assert len(asked.answers()["id"]) == 200


def test_a_model_that_takes_more_than_the_items_have_is_incompatible(tmp_path):
    with pytest.raises(Incompatible, match="also takes pixel_values"):
        asking(tmp_path, 8, names=("numbers", "pixel_values")).first_inputs()


@pytest.mark.parametrize(
    ("theirs", "first"),
    [(("a", "c", "b"), "item 2 is b here and c there"), (("a", "b"), "item 3 is c here and no item there")],
)
def test_answers_to_other_items_are_refused_with_the_first_that_differs(theirs, first):
    ours = {"id": np.array(["a", "b", "c"])}
    with pytest.raises(Crashed, match=first):
        answers.refuse_other_items(ours, {"id": np.array(theirs)})
    answers.refuse_other_items(ours, ours)


def test_answers_of_different_widths_are_joined():
    parts = [{"next": np.array([[1, 2]])}, {"next": np.array([[3, 4, 5]])}]
    assert answers.joined(parts)["next"].tolist() == [[1, 2, -1], [3, 4, 5]]


def test_answers_that_are_no_numbers_are_wrong():
    questions = Classes(Numbers(), "abc", range(3), None)
    logits = np.array([[np.nan, 1, 0], [5, 1, 0]])
    graded = questions.graded([Item("1", 0, "b"), Item("2", 0, "a")], {}, [logits])
    assert graded["right"].tolist() == [False, True]
    assert graded["predicted"].tolist() == ["", "a"]

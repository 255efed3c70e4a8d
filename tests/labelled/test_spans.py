"""Answers to questions: the likeliest span inside the text, compared as SQuAD does."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.items import Item
from benchmark.labelled import spans
from benchmark.labelled.questions import Spans


@pytest.mark.parametrize(
    ("text", "accepted", "exact", "f1"),
    [
        ("The Cat!", ["cat"], True, 1.0),
        ("a black cat", ["cat", "dog"], False, 2 / 3),
        ("dog", ["cat", "the dog"], True, 1.0),
        ("", ["cat"], False, 0.0),
    ],
)
def test_case_punctuation_and_articles_do_not_count(text, accepted, exact, f1):
    assert spans.exact(text, accepted) == exact
    assert spans.f1(text, accepted) == pytest.approx(f1)


class Words:
    """A token for each word; the question is one token, and padding follows."""

    def spans(self, items):
        first, last = np.full((len(items), 50), -1), np.full((len(items), 50), -1)
        for row, item in enumerate(items):
            place = 0
            for number, word in enumerate(item.content[1].split(" "), 1):
                first[row, number], last[row, number] = place, place + len(word)
                place += len(word) + 1
        return {"first": first, "last": last}


def answered(text, accepted, starts, ends):
    items = [Item("q", ("who?", text), "", accepted)]
    asked = Spans(Words())
    logits = [np.full((2, 50), -9.0), np.full((2, 50), -9.0)]  # the second row is padding
    for one, places in zip(logits, (starts, ends), strict=True):
        for place, value in places.items():
            one[0, place] = value
    return {name: values[0] for name, values in asked.graded(items, asked.arrays(items), logits).items()}


def test_the_likeliest_span_is_the_answer():
    found = answered("it was Ann Lee today", ("Ann Lee",), {3: 5.0, 1: 2.0}, {4: 5.0})
    assert (found["predicted"], found["right"], found["f1"]) == ("Ann Lee", True, 1.0)
    assert found["margin"] == pytest.approx(3.0)  # "it was Ann Lee" has 7


def test_a_span_never_ends_before_it_starts_nor_lies_in_the_question_or_the_padding():
    found = answered(
        "it was Ann", ("Ann",), {0: 99.0, 3: 5.0, 40: 99.0}, {1: 99.0, 3: 4.0, 40: 99.0, 0: 99.0}
    )
    assert found["predicted"] in {"it", "Ann"}
    found = answered("it was Ann", ("Ann",), {3: 5.0}, {1: 6.0, 3: 5.5})
    assert found["predicted"] == "Ann"


def test_a_span_has_at_most_thirty_tokens():
    text = " ".join(f"w{number}" for number in range(1, 45))
    found = answered(text, ("w1",), {1: 9.0, 10: 5.0}, {40: 9.0, 30: 3.0})
    assert found["predicted"].split()[0] == "w1"
    assert len(found["predicted"].split()) <= 30

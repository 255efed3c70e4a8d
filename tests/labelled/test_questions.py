"""Which of the model's classes a label is, and a head that turns features into classes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.errors import Incompatible, Unavailable
from benchmark.labelled import head
from benchmark.labelled.questions import class_numbers

UNNAMED = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


def test_classes_are_found_by_name_whatever_their_order_and_case():
    assert [*class_numbers(["anger", "joy"], {0: "Joy", 1: "Anger"}, stated=False)] == [1, 0]


def test_a_synonym_is_a_name():
    model = {0: "tench, Tinca tinca", 1: "goldfish, Carassius auratus"}
    assert [*class_numbers(["goldfish", "tench"], model, stated=False)] == [1, 0]


def test_unnamed_classes_are_in_order():
    assert [*class_numbers(["a", "b", "c"], UNNAMED, stated=False)] == [0, 1, 2]


def test_numbers_are_numbers_of_the_model():
    assert [*class_numbers(["0", "2"], UNNAMED, stated=False)] == [0, 2]


def test_imagenets_folders_are_in_the_order_of_its_models():
    folders, model = ["n01440764", "n01443537"], {0: "tench", 1: "goldfish"}
    assert [*class_numbers(folders, model, stated=False)] == [0, 1]


@pytest.mark.parametrize(
    ("names", "model", "said"),
    [
        (["happy", "sad"], {0: "joy", 1: "anger"}, "doesn't know the labels happy, sad: it has 2 classes"),
        (["joy", "sad"], {0: "joy", 1: "anger"}, "doesn't know the label sad"),
        (["a", "b", "c", "d"], UNNAMED, "the data set 4"),
        (["0", "3"], UNNAMED, "the label"),
        (["n01440764"], {number: f"thing {number}" for number in range(1000)}, "1000 classes"),
    ],
)
def test_a_label_that_the_model_does_not_know_is_refused(names, model, said):
    with pytest.raises(Incompatible, match=said):
        class_numbers(names, model, stated=False)


def test_a_stated_order_decides_where_names_differ():
    assert [*class_numbers(["happy", "cross"], {0: "joy", 1: "anger"}, stated=True)] == [0, 1]


def test_features_are_means_over_what_is_no_padding():
    hidden = np.array([[[1.0, 2], [3, 4], [99, 99]]])
    assert head.features(hidden, np.array([[1, 1, 0]])).tolist() == [[2, 3]]
    assert head.features(hidden[:, :2], None).tolist() == [[2, 3]]
    assert head.features(np.arange(8.0).reshape(1, 2, 2, 2), None).tolist() == [[1.5, 5.5]]


@pytest.mark.parametrize("classes", [2, 4])
def test_a_head_answers_as_the_regression_that_was_fitted(tmp_path, classes):
    pytest.importorskip("sklearn", reason="scikit-learn fits the head")
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    names = [f"class {number}" for number in range(classes)]
    labels = [names[number % classes] for number in range(120)]
    values = rng.normal(size=(120, 6)) + np.array([names.index(label) for label in labels])[:, None]
    head.save(head.fit(values, labels, names[::-1]), tmp_path)
    fitted = head.load(tmp_path)
    theirs = LogisticRegression(max_iter=2000).fit(values, labels)
    assert fitted.classes == tuple(names[::-1])
    answers = [fitted.classes[number] for number in fitted.logits(values).argmax(axis=1)]
    assert answers == [*theirs.predict(values)]


def test_a_head_needs_two_classes():
    pytest.importorskip("sklearn", reason="scikit-learn fits the head")
    with pytest.raises(Unavailable, match="all items to fit on have the class a"):
        head.fit(np.ones((3, 2)), ["a"] * 3, ["a"])

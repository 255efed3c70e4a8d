"""From answers to the columns of a row: figures, comparison with the reference, floors."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.errors import WrongAnswer
from benchmark.labelled import metrics
from benchmark.labelled.scores import score, table
from benchmark.stages.score import judge_floor
from benchmark.store.schema import SCHEMA


def answers(right, classes=("a", "b"), items=None):
    """Answers of which so many first ones are right."""
    count = items or len(right)
    label = np.array([classes[number % len(classes)] for number in range(count)])
    wrong = np.array([classes[(number + 1) % len(classes)] for number in range(count)])
    right = np.asarray(right, bool)
    return {
        "id": np.array([str(number) for number in range(count)]),
        "label": label,
        "predicted": np.where(right, label, wrong),
        "right": right,
        "rank": np.where(right, 0, 1),
        "margin": np.arange(count, dtype=float),
    }


def first(right, items):
    return answers(np.arange(items) < right, items=items)


def test_the_case_of_bbc():
    """557 articles: dynamic int8 lost 7 and won 1; exact p .070, so nothing is proven."""
    reference = np.arange(557) < 541
    int8 = reference.copy()
    int8[:7], int8[550] = False, True
    found = score(answers(int8), answers(reference), "accuracy", 2).columns
    assert found["accuracy"] == pytest.approx(535 / 557)
    assert (found["accuracy_lost"], found["accuracy_won"]) == (7, 1)
    assert found["accuracy_p"] == pytest.approx(0.0703, abs=1e-4)
    assert found["accuracy_verdict"] == "no measurable difference"
    assert found["metric_difference"] == pytest.approx(-6 / 557)
    assert found["metric_difference_lo"] < found["metric_difference"] < 0 < found["metric_difference_hi"]
    assert found["reference_agreement"] == pytest.approx(1 - 8 / 557)
    assert found["flip_margin_p50"] == 3.5


def test_every_column_is_one_of_the_schema():
    found = score(first(90, 100), first(95, 100), "f1", 2, relative_floor=0.99).columns
    assert set(found) <= set(SCHEMA.names)


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c", "d")])
def test_figures_are_those_of_scikit_learn(classes):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn's figures are the truth here")
    rng = np.random.default_rng(3)
    label, predicted = rng.choice(classes, 300, p=None), rng.choice(classes, 300)
    predicted = np.where(rng.random(300) < 0.5, label, predicted)
    found = metrics.statistics(
        {"label": label, "predicted": predicted, "right": label == predicted}, len(classes)
    )
    average = {"pos_label": classes[-1]} if len(classes) == 2 else {"average": "macro"}
    f1 = sklearn.f1_score(label, predicted, **average)
    assert metrics.value(found["f1"], 300) == pytest.approx(f1)
    assert metrics.value(found["matthews"], 300) == pytest.approx(sklearn.matthews_corrcoef(label, predicted))
    assert metrics.value(found["accuracy"], 300) == pytest.approx((label == predicted).mean())
    counts = rng.multinomial(300, np.full(300, 1 / 300), 2)
    for row, (f1, matthews) in zip(
        counts, zip(found["f1"](counts), found["matthews"](counts), strict=True), strict=True
    ):
        drawn = np.repeat(np.arange(300), row)
        assert f1 == pytest.approx(sklearn.f1_score(label[drawn], predicted[drawn], **average))
        assert matthews == pytest.approx(sklearn.matthews_corrcoef(label[drawn], predicted[drawn]))


def test_top5_is_the_share_of_items_whose_class_is_among_five():
    ranks = {"rank": np.array([0, 4, 5, 9]), "right": np.array([1, 0, 0, 0])}
    assert metrics.value(metrics.statistics(ranks, 10)["top5"], 4) == 0.5
    assert "top5" not in metrics.statistics(ranks, 5)


def test_perplexity_is_the_exponential_of_the_mean_of_all_tokens():
    texts = {"nll": np.array([2.0, 6.0]), "tokens": np.array([1, 3]), "next_right": np.array([1, 1])}
    found = metrics.statistics(texts, 0)
    assert metrics.value(found["perplexity"], 2) == pytest.approx(np.exp(2))
    assert metrics.value(found["next_token_accuracy"], 2) == 0.5


def test_another_figure_is_compared_by_the_paired_bootstrap():
    reference, worse = first(480, 500), first(430, 500)
    found = score(worse, reference, "f1", 2).columns
    assert found["metric"] == "f1"
    assert found["accuracy_verdict"] == "worse"
    assert found["metric_difference_lo"] < found["metric_difference"] < found["metric_difference_hi"] < 0
    same = score(reference, reference, "f1", 2).columns
    assert (same["metric_difference_lo"], same["metric_difference_hi"]) == (0, 0)
    assert same["accuracy_verdict"] == "no measurable difference"


def test_a_smaller_perplexity_is_better():
    rng = np.random.default_rng(0)
    base = {
        "id": np.arange(50).astype(str),
        "nll": rng.gamma(5, size=50),
        "tokens": np.full(50, 5),
        "next_right": np.ones(50),
    }
    found = score({**base, "nll": base["nll"] * 1.2}, base, "perplexity", 0, relative_floor=0.99)
    assert found.columns["accuracy_verdict"] == "worse"
    assert found.columns["reference_ratio"] < 0.99
    assert "accuracy" not in found.columns
    rounded = score({**base, "nll": base["nll"] * 1.000001}, base, "perplexity", 0).columns
    assert rounded["metric_difference_lo"] > 0
    assert rounded["accuracy_verdict"] == "no measurable difference"
    assert (
        score({**base, "nll": base["nll"] * 0.8}, base, "perplexity", 0).columns["accuracy_verdict"]
        == "better"
    )


@pytest.mark.parametrize(("right", "floor"), [(950, "kept"), (940, "inconclusive"), (900, "missed")])
def test_a_floor_is_that_of_the_interval(right, floor):
    found = score(first(right, 1000), first(950, 1000), "accuracy", 2, relative_floor=0.99)
    assert found.columns["floor_verdict"] == floor
    if floor == "missed":
        with pytest.raises(
            WrongAnswer, match=r"accuracy is 0\.9474 of the fp32 reference's .*relative_floor=0.99"
        ):
            judge_floor(found)
    else:
        judge_floor(found)
    if floor == "inconclusive":
        assert found.columns["floor_items"] > 1000


def test_the_table_has_a_line_an_item_with_the_references_answer():
    lines = table(score(first(1, 3), first(2, 3), "accuracy", 2)).to_pylist()
    assert [line["right"] for line in lines] == [True, False, False]
    assert [line["reference_right"] for line in lines] == [True, True, False]
    assert [line["id"] for line in lines] == ["0", "1", "2"]

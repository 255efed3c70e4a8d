"""Verdicts of a grid, and accuracies beside the figures of other scenarios of the same compiled model."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.errors import ConfigError
from benchmark.store.accuracies import ADJUSTED, COMPARISONS, NEEDED, VERDICT, contested, judged, lent, only
from benchmark.store.repeats import KEYS


def row(scenario="accuracy", **values):
    usual = {
        "environment_id": "e",
        "hardware": "cpu",
        "model": "minilm",
        "task": "feature-extraction",
        "compiler": "onnxruntime",
        "fast_math": "none",
        "quantization": "int8",
        "batch_size": 8,
        "artifact_key": "k",
        "status": "ok",
        "compiler_flags": ["x"],
    }
    answered = {
        "metric": "accuracy",
        "metric_value": 0.96,
        "accuracy": 0.96,
        "accuracy_lo": 0.94,
        "accuracy_n": 557,
        "accuracy_lost": 7,
        "accuracy_won": 1,
        "accuracy_p": 0.0703,
        "accuracy_verdict": "no measurable difference",
        "dataset": "bbc",
        "items_hash": "h",
    }
    return {
        **dict.fromkeys((*NEEDED, *KEYS)),
        **usual,
        **(answered if scenario == "accuracy" else {}),
        "scenario": scenario,
        **values,
    }


def frame(*rows):
    return pd.DataFrame(rows)


def test_the_p_of_several_comparisons_is_adjusted():
    """One of 20 with p .04 proves nothing; alone it does."""
    worse = row(
        accuracy_lost=15, accuracy_won=5, accuracy_p=0.0414, accuracy_verdict="worse", artifact_key="w"
    )
    others = [row(accuracy_p=1.0, accuracy_lost=0, accuracy_won=0, artifact_key=str(n)) for n in range(19)]
    alone, many = judged(frame(worse)), judged(frame(worse, *others))
    assert (alone[VERDICT][0], alone[COMPARISONS][0]) == ("worse", 1)
    assert (many[VERDICT][0], many[COMPARISONS][0]) == ("no measurable difference", 20)
    assert many[ADJUSTED][0] == pytest.approx(0.0414 * 20)


def test_comparisons_with_other_references_and_the_reference_itself_do_not_count():
    eager = row(compiler="eager", quantization=None, accuracy_p=1.0)
    found = judged(frame(row(), row(dataset="movies", items_hash="m"), eager))
    assert [*found[COMPARISONS]] == [1, 1, None] or found[COMPARISONS].isna().tolist() == [False, False, True]


def test_rows_without_answers_have_no_verdict():
    assert judged(frame(row("latency")))[VERDICT].isna().all()
    assert judged(frame(row(status="crashed")))[VERDICT].isna().all()


def test_what_was_timed_gets_the_accuracy_of_the_same_compiled_model():
    timed, other = row("latency"), row("latency", artifact_key="another")
    found = lent(frame(timed, other, row()))
    assert [*found["scenario"]] == ["latency", "latency"]
    assert found["accuracy"].tolist()[0] == 0.96
    assert found["accuracy"].isna().tolist() == [False, True]
    assert found["dataset"].tolist()[0] == "bbc"


def test_an_accuracy_that_nothing_borrows_stays():
    assert [*lent(frame(row("latency", batch_size=1), row()))["scenario"]] == ["latency", "accuracy"]


def test_nothing_is_lent_where_several_data_sets_were_answered():
    found = lent(frame(row("latency"), row(), row(dataset="movies", items_hash="m", accuracy=0.7)))
    assert found["accuracy"].isna().tolist() == [True, False, False]


def test_the_newest_answers_count():
    found = lent(frame(row("latency"), row(accuracy=0.5), row(accuracy=0.96)))
    assert found["accuracy"].tolist() == [0.96]


def test_other_rows_are_unchanged():
    rows = frame(row("latency"), row("throughput"))
    pd.testing.assert_frame_equal(lent(rows), rows)


def test_accuracies_of_several_data_sets_are_named_and_one_can_be_chosen():
    rows = frame(row("latency"), row(), row(dataset="movies", items_hash="m", accuracy=0.7))
    assert contested(rows) == ("bbc", "movies")
    assert lent(rows)["accuracy"].dropna().tolist() == [0.96, 0.7]  # neither is lent
    chosen = only(rows, "movies")
    assert contested(chosen) == ()
    assert lent(chosen)["accuracy"].tolist() == [0.7]
    with pytest.raises(ConfigError, match="--dataset mnist: rows have answers to bbc, movies"):
        only(rows, "mnist")


def test_all_compilers_of_a_grid_are_compared_with_one_reference_though_their_environments_differ():
    found = judged(frame(row(), row(compiler="openvino", environment_id="o", artifact_key="v"), row()))
    assert [*found[COMPARISONS]] == [2, 2, 2]
    assert found[ADJUSTED][0] == found[ADJUSTED][2] == pytest.approx(0.0703)  # both p are equal

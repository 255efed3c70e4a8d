"""Measured, simulated and published rows: every verb has the same words for them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from typer.testing import CliRunner

from benchmark.analysis.nights import nights_of
from benchmark.cli.app import app
from benchmark.records import Row
from benchmark.store.results import ResultsStore

MODELS = {"measured": "own_net", "simulated": "feigned_net", "published": "printed_net"}
ORIGINS = {
    "measured": {"simulated": False},
    "simulated": {"simulated": True},
    "published": {"source": "published"},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two compilers of each origin, each origin with a model of its own; every row is worth a finding."""
    folder = tmp_path_factory.mktemp("selection") / "results"
    store = ResultsStore(folder)
    store.prepare()
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    usual = {
        "campaign": "c",
        "environment_id": "e",
        "started_at": start,
        "finished_at": start,
        "status": "ok",
    }
    figures = {"latency_p50_ms": 10.0, "latency_p95_ms": 12.0, "throughput_per_s": 90.0, "cosine": 7.0}
    axes = {
        "task": "fill-mask",
        "hardware": "cpu",
        "fast_math": "none",
        "batch_size": 1,
        "scenario": "latency",
    }
    for origin, columns in ORIGINS.items():
        model = MODELS[origin]
        for compiler in ("eager", "openvino"):
            name = {
                "model": model,
                "compiler": compiler,
                "run_id": model + compiler,
                "cell_id": model + compiler,
            }
            shared = {"throughput_unit": "items", "document": "a page" if origin == "published" else None}
            store.append(Row(values={**usual, **axes, **figures, **shared, **columns, **name}))
    return folder


VERBS = {
    "results": ("results", "--json"),
    "matrix": ("matrix", "--json"),
    "lint": ("lint", "--json"),
    "best": ("best", "--json"),
    "report": ("report", "overview", "--md"),
}


def seen(root, verb, *words):
    """Origins whose model the verb names."""
    outcome = CliRunner().invoke(app, [*VERBS[verb], *words, "--store", str(root)])
    assert outcome.exit_code in {0, 2}, outcome.output
    return {origin for origin, model in MODELS.items() if model in outcome.stdout}


WORDS = [
    ((), {"measured"}),
    (("--simulated",), {"measured", "simulated"}),
    (("simulated=true",), {"simulated"}),
    (("source=published",), {"published"}),
]


@pytest.mark.parametrize(("words", "origins"), WORDS, ids=[" ".join(words) for words, _ in WORDS])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_shows_the_rows_of_the_origins_that_are_requested(root, verb, words, origins):
    assert seen(root, verb, *words) == origins


@pytest.mark.parametrize("verb", ["results", "matrix", "lint", "best"])
def test_published_rows_are_added_by_an_option_or_by_the_name_of_their_document(root, verb):
    assert seen(root, verb, "--published") == {"measured", "published"}
    assert seen(root, verb, "document~page") == {"published"}
    assert seen(root, verb, "source=measured,published") == {"measured", "published"}


JUDGED = [((), "", "measured"), (("--simulated",), "", "simulated"), ((), "simulated=true", "simulated")]
JUDGED += [((), "source=published", "published")]


@pytest.mark.parametrize(("options", "condition", "origin"), JUDGED, ids=str)
def test_a_verdict_rests_on_rows_of_one_origin(root, options, condition, origin):
    sides = [f"compiler={compiler} {condition}" for compiler in ("eager", "openvino")]
    outcome = CliRunner().invoke(app, ["compare", *sides, *options, "--json", "--store", str(root)])
    assert outcome.exit_code == 0, outcome.output
    assert [one for one, model in MODELS.items() if model in outcome.stdout] == [origin]
    (night,), _ = nights_of(ResultsStore(root), condition, "", simulated=bool(options))
    assert {*night.rows["model"]} == {MODELS[origin]}

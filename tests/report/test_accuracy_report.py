"""The page `accuracy`: latency beside accuracy of one artefact, p adjusted for all comparisons."""

from __future__ import annotations

import pytest
import yaml

from benchmark.config.folder import CONF
from benchmark.store.accuracies import ADJUSTED, judged
from tests.report.rows import frame, made, store_of

SPLITS = {
    "onnxruntime": (15, 5, 0.0414),
    "openvino": (40, 10, 0.00002),
    "torchscript": (0, 0, 1.0),
    "inductor": (3, 1, 0.625),
}


def answered(compiler, lost=0, won=0, p=1.0):
    return {
        "scenario": "accuracy",
        "compiler": compiler,
        "artifact_key": compiler,
        "latency_p50_ms": 99.0,
        "metric": "accuracy",
        "metric_value": 0.9 - (lost - won) / 1000,
        "metric_value_lo": 0.88,
        "metric_value_hi": 0.92,
        "metric_difference": (won - lost) / 1000,
        "metric_difference_lo": (won - lost) / 1000 - 0.01,
        "metric_difference_hi": (won - lost) / 1000 + 0.01,
        "accuracy": 0.9 - (lost - won) / 1000,
        "accuracy_n": 1000,
        "accuracy_lost": lost,
        "accuracy_won": won,
        "accuracy_p": p,
        "accuracy_verdict": "worse" if p < 0.05 else "no measurable difference",
        "smallest_difference": 0.01,
        "dataset": "bbc",
        "items_hash": "h",
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rows = [answered(compiler, *split) for compiler, split in SPLITS.items()]
    timed = {"scenario": "latency", "compiler": "openvino", "artifact_key": "openvino", "latency_p50_ms": 5.0}
    other = {"scenario": "latency", "compiler": "inductor", "artifact_key": "older", "latency_p50_ms": 1.0}
    store = store_of(tmp_path_factory.mktemp("store"), answered("eager"), *rows, timed, other)
    return store, made(store, yaml.safe_load((CONF / "report" / "accuracy.yaml").read_text(encoding="utf-8")))


def tables(page):
    return {table.name: frame(table) for section in page.sections for table in section.tables}


def test_the_latency_is_that_of_the_same_artefact(page):
    lines = tables(page[1])["models"].set_index("compiler")
    assert lines.loc["openvino", "p50 ms"].startswith("5.00")
    assert lines.loc["inductor", "p50 ms"].startswith("99.0")  # the other artefact is another model
    assert len(lines) == 5


def test_verdicts_and_p_are_those_of_the_table_of_rows(page):
    lines = tables(page[1])["answers"].set_index("compiler")
    verdicts = tables(page[1])["models"].set_index("compiler")["verdict"]
    assert verdicts["openvino"] == "worse"
    assert verdicts["onnxruntime"] == "no measurable difference"  # p .041 alone, one of four here
    assert verdicts["inductor"] == "too few to tell"
    rows = page[0].table().to_pandas()
    adjusted = judged(rows[rows["scenario"] == "accuracy"]).set_index("compiler")[ADJUSTED]
    for compiler in SPLITS:
        assert float(lines.loc[compiler, "p"]) == pytest.approx(float(adjusted[compiler]), abs=6e-4)


def test_a_loss_is_a_finding_with_its_interval(page):
    (text,) = (str(one) for one in page[1].findings if "worse" in str(one))
    assert "by 2.0 to 4.0 points" in text

"""The page `llm`: times of a generation beside what the same compiler's answers lose."""

from __future__ import annotations

import pytest
import yaml

from benchmark.config.folder import CONF
from tests.report.rows import frame, made, store_of

FP32 = {"model_dtype": "fp32", "fast_math": "none"}
INT4 = {"model_dtype": "int4", "fast_math": "none", "quantization": "int4"}


def generation(compiler, tpot, **changes):
    return {
        "task": "text-generation",
        "model": "smollm2_135m",
        "scenario": "latency",
        "compiler": compiler,
        "input_length": 32,
        "output_length": 33,
        "batch_size": 1,
        "first_token_p50_ms": 100.0,
        "tpot_p50_ms": tpot,
        "latency_p50_ms": 100 + 32 * tpot,
        **FP32,
        **changes,
    }


def scored(compiler, perplexity, verdict, **changes):
    return generation(compiler, 0.0) | {
        "scenario": "accuracy",
        "tpot_p50_ms": None,
        "latency_p50_ms": 400.0,
        "metric": "perplexity",
        "metric_value": perplexity,
        "reference_value": 20.0,
        "metric_difference": perplexity - 20,
        "reference_agreement": 0.75,
        "accuracy_verdict": verdict,
        "dataset": "bbc",
        "items_hash": "h",
        **changes,
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    store = store_of(
        tmp_path_factory.mktemp("store"),
        generation("eager", 50.0),
        generation("openvino", 20.0),
        generation("openvino", 10.0, **INT4),
        scored("openvino", 20.0, "no measurable difference"),
        scored("openvino", 23.5, "worse", **INT4),
    )
    return made(store, yaml.safe_load((CONF / "report" / "llm.yaml").read_text(encoding="utf-8")))


def test_what_a_compiler_loses_stands_beside_its_own_times(page):
    (section,) = page.sections
    times, costs = (frame(table).set_index("compiler") for table in section.tables)
    assert times.loc["openvino int4", "TPOT ms"].startswith("10.0")
    assert costs.loc["openvino int4", "perplexity"].startswith("23.5")
    assert costs.loc["openvino", "perplexity"].startswith("20.0")
    assert costs.loc["eager", "perplexity"] == "-"
    assert costs["verdict"].tolist()[1:] == ["no measurable difference", "worse"]


def test_the_fastest_and_the_worse_are_findings(page):
    fastest, worse, _ = map(str, page.findings)
    assert "fastest with openvino int4" in fastest
    assert "5.00x as fast as eager" in fastest
    assert "perplexity 23.50 instead of 20.00, the same next token in 75.0%" in worse

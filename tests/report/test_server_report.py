"""The page `server`: highest rates within limits, loads of a decoder, and their charts."""

from __future__ import annotations

import pytest
import yaml

from benchmark.config.folder import CONF
from tests.report.rows import frame, made, store_of

SERVER = {"scenario": "server", "slo_percentile": 99.0, "offered_per_s": 80.0, "attainment": 0.99}
FOUND = {"qps_under_slo": 80.0, "qps_under_slo_lo": 78.0, "qps_under_slo_hi": 82.0}
CURVE = {"curve_per_s": [60.0, 90.0], "curve_p99_ms": [20.0, 70.0], "curve_attainment": [1.0, 0.9]}
DECODER = {
    **SERVER,
    "model": "smollm2_135m",
    "lengths": "lognormal",
    "prompt_tokens_mean": 100.0,
    "output_tokens_mean": 40.0,
    "ttft_slo_ms": 2000.0,
    "tpot_slo_ms": 100.0,
    "output_tokens_per_s": 30.0,
    "tpot_p50_ms": 50.0,
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    store = store_of(
        tmp_path_factory.mktemp("store"),
        {**SERVER, **FOUND, **CURVE, "slo_ms": 50.0},
        {**DECODER, "offered_per_s": 0.2, "goodput_per_s": 0.2},
        {**DECODER, "offered_per_s": 0.4, "goodput_per_s": 0.1, "attainment": 0.3, "tpot_p50_ms": 90.0},
        {**DECODER, **FOUND, "compiler": "openvino", "qps_under_slo": 0.8, **CURVE},
    )
    return made(store, yaml.safe_load((CONF / "report" / "server.yaml").read_text(encoding="utf-8")))


def test_a_rate_is_said_with_its_limits(page):
    said = [str(finding) for finding in page.findings]
    assert "80.0 requests/s (78.0 to 82.0) with 99 % within 50 ms" in said[0]
    assert "99 % within 2000 ms to the first token, 100 ms a token" in said[1]
    assert "keeps 2000 ms to the first token, 100 ms a token for 99.0% of the requests at 0.200/s" in said[2]


def test_loads_and_searches_stand_in_one_table(page):
    rates = frame(page.sections[0].tables[0])
    assert rates["limits"].tolist()[-1] == "50 ms"
    assert rates["rate within it"].str.startswith(("0.8", "80", "-")).all()


def test_each_model_has_the_charts_that_its_rows_allow(page):
    names = {chart.name for section in page.sections for chart in section.charts}
    assert names == {
        "smollm2_135m-goodput",
        "smollm2_135m-pareto",
        "smollm2_135m-attainment",
        "vit-latency-against-rate",
        "vit-attainment",
    }

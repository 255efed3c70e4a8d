"""The trainings of the page `transformers_benchmarks`: seeds combined, paired with eager fp32 on one rank."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from scipy import stats

from benchmark.config.folder import CONF
from tests.report.rows import frame, made, store_of

RATES = {("eager", "none", 1): (100, 101, 99, 102), ("inductor", "all", 2): (300, 310, 290, 305)}
ACCURACIES = {1: (0.90, 0.91, 0.89, 0.92), 2: (0.91, 0.90, 0.90, 0.93)}
STEPS, BATCH = 20, 8


def training(compiler, fast_math, ranks, seed, rate):
    """Steps of equal length but the first, which compiles for two seconds."""
    step_s = BATCH * ranks / rate
    first_s = step_s + 2 * (compiler != "eager")
    return {
        "scenario": "training",
        "compiler": compiler,
        "fast_math": fast_math,
        "data_parallel": ranks,
        "seed": seed,
        "batch_size": BATCH,
        "global_batch_size": BATCH * ranks,
        "throughput_per_s": float(rate),
        "latency_mean_ms": 1e3 * step_s,
        "latency_p50_ms": 1e3 * step_s,
        "first_call_ms": 1e3 * first_s,
        "training_s": first_s + (STEPS - 1) * step_s,
        "losses": [0.5] * STEPS,
        "accuracy": ACCURACIES[ranks][seed],
    }


def page(folder, *rows):
    published = {"scenario": "training", "throughput_per_s": 1e6, "source": "published", "seed": 0}
    text = (CONF / "report" / "transformers_benchmarks.yaml").read_text(encoding="utf-8")
    return made(store_of(folder, *rows, published), yaml.safe_load(text))


def tables_of(made_page):
    return {table.name: frame(table) for section in made_page.sections for table in section.tables}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    rows = [training(*key, seed, rate) for key, rates in RATES.items() for seed, rate in enumerate(rates)]
    return tables_of(page(tmp_path_factory.mktemp("store"), *rows))


def test_steps_of_trainings_are_neither_calls_nor_published(tmp_path):
    kinds = (("eager", "none", None), ("eager", "all", None), ("inductor", "none", 2.0))
    rows = [
        training(compiler, fast_math, 1, seed, 100)
        | {"compile_s": compile_s, "dataset": "mnist", "image_size": 28}
        for compiler, fast_math, compile_s in kinds
        for seed in range(2)
    ]
    found = page(tmp_path, *rows)
    said = [line for section in found.sections for line in section.sentences]
    assert any("against eager fp32 on one rank" in line for line in said)
    assert not any("no spread stated" in line for line in said)
    assert "speed-up" not in tables_of(found)


def half(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))


def test_speed_ups_are_paired_by_seed_without_and_with_the_compilation(tables):
    base, fast = (np.array(rates, float) for rates in RATES.values())
    (line,) = tables["training-measured"].query("compiler == 'inductor all'").to_dict("records")
    logs = np.log(fast / base)
    ends = [math.exp(logs.mean() + sign * half(logs)) for sign in (-1, 1)]
    assert line["seeds"] == "4"
    assert (line["samples/s"], line["±"]) == ("301", f"{half(fast):.2g}")
    assert [line["speed-up excluded"], line["from"], line["to"]] == [
        f"{value:.2f}x" for value in (math.exp(logs.mean()), *ends)
    ]
    walls = [
        (2 * STEPS * BATCH / slow) / (2 + 2 * STEPS * BATCH / quick)
        for slow, quick in zip(base, fast, strict=True)
    ]
    assert line["included"] == f"{stats.gmean(walls):.2f}x"
    assert line["pays after steps"] == "-"  # two ranks do other steps than one


def test_the_metric_is_compared_seed_by_seed(tables):
    gained = np.subtract(ACCURACIES[2], ACCURACIES[1])
    (line,) = tables["training-seeds"].query("compiler == 'inductor all'").to_dict("records")
    assert (line["accuracy"], line["±"]) == ("0.910", f"{half(ACCURACIES[2]):.3f}")
    assert (line["difference"], line["± of it"]) == (f"{gained.mean():+.3f}", f"{half(gained):.3f}")


def test_the_baseline_is_itself_and_no_published_row_is_among_the_measured(tables):
    (line,) = tables["training-measured"].query("compiler == 'eager'").to_dict("records")
    assert (line["speed-up excluded"], line["included"]) == ("1.00x", "1.00x")
    assert len(tables["training-measured"]) == 2

"""`lint`: published mistakes are found, and honest rows are left alone."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.lint import RULES, findings, typed
from benchmark.analysis.lint_pairs import lookalikes
from benchmark.store.schema import SCHEMA

LENGTHS = (8, 16, 32, 64, 128, 256, 512)
BERT = {"cpu": (19.9, 23.1, 27.7, 36.2, 54.3, 108.6, 226.1), "inf2": (1.1, 1.2, 1.3, 1.6, 2.4, 4.4, 10.7)}
ROBERTA = {"cpu": (19.9, 23.1, 27.7, 39.3, 57.1, 102.9, 225.1), "inf2": (1.14, 1.2, 1.3, 1.6, 2.4, 4.4, 10.7)}
DISTILBERT = {
    "cpu": (10.0, 11.0, 14.4, 18.9, 27.4, 52.3, 108.1),
    "inf2": (0.63, 0.63, 0.64, 0.67, 0.8, 1.4, 3.12),
}
BERT_LARGE = {
    "cpu": (65.54, 117.7, 131.3, 170.22, 213.72, 379.43, 783.93),
    "inf2": (3.5, 3.0, 3.3, 3.9, 6.3, 12.6, 28.6),
}


def rows(*given: dict[str, object], **shared: object) -> pd.DataFrame:
    usual = {"campaign": "c", "environment_id": "e", "status": "ok", "model": "bert", "hardware": "cpu"}
    figures = {"latency_p50_ms": 10.0, "batch_size": 1, "scenario": "latency", "replicas": 1, "workers": 1}
    return pd.DataFrame(
        [{"run_id": f"r{number}", **usual, **figures, **shared, **row} for number, row in enumerate(given)]
    )


def said_by(frame: pd.DataFrame, rule: str) -> list[tuple[tuple[str, ...], str]]:
    """What one rule says of a frame."""
    (wanted,) = (one for one in RULES if one.name == rule)
    return [(tuple(ids), reason) for ids, reason in wanted.check(typed(frame))]


def published(model: str, printed: dict[str, tuple[float, ...]]) -> list[dict[str, object]]:
    """Rows of a page that prints p95 by device and length, and nothing else."""
    return [
        {"model": model, "hardware": hardware, "sequence_length": length, "latency_p95_ms": p95}
        for hardware, column in printed.items()
        for length, p95 in zip(LENGTHS, column, strict=True)
    ]


def honest(seed: int) -> pd.DataFrame:
    """A grid as a careful run of it would leave it: 3 % between processes, 5 % between calls."""
    draw = np.random.default_rng(seed)
    given = []
    grid = product("ab", ("none", "all"), (1, 2, 4, 8), (32, 64, 128, 256), (0, 1, 2))
    for model, fast_math, batch, length, repeat in grid:
        call = (1 + 0.01 * batch * length * (1.2 if model == "b" else 1)) * (
            1 if fast_math == "none" else 0.6
        )
        ms = call * draw.lognormal(0, 0.03) * draw.lognormal(0, 0.05, size=400)
        names = ("min", "p50", "p90", "p95", "p99", "max")
        quantiles = np.quantile(ms, (0, 0.5, 0.9, 0.95, 0.99, 1))
        figures = {f"latency_{name}_ms": float(ms) for name, ms in zip(names, quantiles, strict=True)}
        bounds = {"latency_p50_ms_lo": np.quantile(ms, 0.45), "latency_p50_ms_hi": np.quantile(ms, 0.55)}
        cell = {"batch_size": batch, "sequence_length": length, "fast_math": fast_math, "repeat": repeat}
        rate = {
            "latency_mean_ms": ms.mean(),
            "throughput_per_s": 999 * batch / ms.mean(),
            "throughput_unit": "items",
        }
        checks = {
            "cosine": 0.99999,
            "max_abs_error": draw.random(),
            "first_call_ms": 3 * call,
            "steady": True,
        }
        identity = {
            "model": model,
            "family_id": model + fast_math,
            "cell_id": f"{model}{fast_math}{batch}{length}",
        }
        host = {
            "device_name": "x",
            "cpu_model": "x",
            "cores": 4,
            "cpu_share": 7.9,
            "instance_type": "c6i.2xlarge",
        }
        given.append({**figures, **bounds, **cell, **rate, **checks, **identity, **host, "samples": 400})
    return rows(*given)


@pytest.mark.parametrize("seed", range(3))
def test_honest_rows_are_left_alone(seed):
    assert findings(honest(seed)) == []


def test_an_empty_store_has_no_findings():
    assert findings(pd.DataFrame({name: [] for name in SCHEMA.names})) == []


def test_rules_have_names_of_their_own():
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_rows_copied_from_another_model_are_found_though_their_figures_are_rounded():
    page = published("BERT", BERT) + published("RoBERTa", ROBERTA) + published("DistilBERT", DISTILBERT)
    found = said_by(rows(*page, latency_p50_ms=None), "identical series")
    assert [reason.partition(":")[0] for _, reason in found] == [
        f"BERT {where} and model RoBERTa have the same latency in {cells} cells in a row of 7 ({figures} ms)"
        for where, cells, figures in (
            ("cpu", 3, "19.9, 23.1, 27.7"),
            ("inf2", 6, "1.2, 1.3, 1.6, 2.4, 4.4, 10.7"),
        )
    ]
    assert found[0][0] == ("r0", "r1", "r2", "r14", "r15", "r16")


def test_single_coincidences_of_rounded_figures_are_no_proof():
    page = [
        {"model": model, "sequence_length": length, "latency_p95_ms": p95}
        for model, column in {"a": (1.2, 1.9, 2.4, 4.4), "b": (1.2, 1.9, 2.5, 4.4)}.items()
        for length, p95 in zip(LENGTHS, column, strict=False)
    ]
    assert said_by(rows(*page, latency_p50_ms=None), "identical series") == []


def test_figures_of_nine_digits_need_to_agree_once_only():
    same = {"latency_p50_ms": 2.77757645, "latency_p99_ms": 2.85720825}
    frame = rows({"model": "cased", **same}, {"model": "uncased", **same}, {"model": "other"})
    ((found, reason),) = said_by(frame, "identical series")
    assert found == ("r0", "r1")
    assert reason.startswith(
        "cased cpu and uncased cpu agree to the last digit in 1 cell (p50 2.77757645 ms, p99"
    )


def test_one_equal_figure_is_no_copy_for_clocks_tick():
    frame = rows(
        {"model": "cased", "latency_p50_ms": 0.97560883}, {"model": "uncased", "latency_p50_ms": 0.97560883}
    )
    assert said_by(frame, "identical series") == []


def test_a_throughput_of_ten_digits_does_not_belong_to_two_latencies():
    frame = rows(
        {"model": "bert", "throughput_per_s": 41.24005048, "latency_p50_ms": 1.01661682},
        {"model": "xlm", "throughput_per_s": 41.24005048, "latency_p50_ms": 48.2749939},
    )
    ((found, reason),) = said_by(frame, "identical series")
    assert found == ("r0", "r1")
    assert "the same throughput to 10 digits, 41.24005048/s, at latencies of 1.02 to 48.3 ms" in reason


def test_series_with_the_same_samples_are_copies_of_each_other():
    series = [10_000_001, 10_000_003, 10_000_002, 10_000_004, 10_000_001]
    shuffled = [10_000_003, 10_000_001, 10_000_002, 10_000_004, 10_000_001]
    frame = rows(
        {"compiler": "eager", "latency_ns": series},
        {"compiler": "openvino", "latency_ns": list(series)},
        {"compiler": "onnxruntime", "latency_ns": shuffled},
        latency_p50_ms=10.000002,
        latency_mean_ms=10.0000022,
    )
    ((found, reason),) = said_by(frame, "identical series")
    assert found == ("r0", "r1")
    assert reason.startswith("bert cpu eager and bert cpu openvino agree to the last digit in 1 cell")


def test_a_clock_that_hardly_ticks_makes_no_copies():
    frame = rows({"latency_ns": [4, 4, 4, 4, 4]}, {"model": "vit", "latency_ns": [4, 4, 4, 4, 4]})
    assert said_by(frame, "identical series") == []


def test_simulated_series_may_be_identical():
    same = {"latency_p50_ms": 2.77757645, "latency_p99_ms": 2.85720825, "simulated": True}
    frame = rows({"model": "a", **same}, {"model": "b", **same}, hardware="simulated")
    assert said_by(frame, "identical series") == []
    assert lookalikes(frame.reindex(columns=SCHEMA.names)) == []


def test_lookalikes_are_the_rows_whose_samples_are_wanted():
    frame = rows(
        {}, {"model": "vit"}, {"latency_p50_ms": 3.0}, {"latency_p50_ms": None}, {"latency_p50_ms": None}
    )
    assert lookalikes(frame.reindex(columns=SCHEMA.names)) == ["r0", "r1"]


def test_latency_that_falls_while_the_length_doubles_is_found():
    page = published("BERT-large", BERT_LARGE)
    ((found, reason),) = said_by(rows(*page, latency_p50_ms=None), "latency falls")
    assert found == ("r7", "r8")
    assert reason.startswith(
        "BERT-large inf2: p95 falls from 3.5 ms at length 8 to 3 ms at length 16 "
        "(no interval stored; samples: unknown and unknown)"
    )


@pytest.mark.parametrize(
    ("p50", "lo", "hi", "found"),
    [
        ((10.0, 8.5), (9.8, 8.3), (10.2, 8.7), 1),  # apart
        ((10.0, 8.5), (8.6, 8.3), (10.2, 8.7), 0),  # they overlap
        ((10.0, 9.2), (9.9, 9.1), (10.1, 9.3), 0),  # no more than processes differ by
        ((10.0, 8.5), (None, None), (None, None), 1),
    ],
)
def test_a_fall_counts_beyond_its_intervals(p50, lo, hi, found):
    given = zip((1, 2), p50, lo, hi, strict=True)
    names = ("batch_size", "latency_p50_ms", "latency_p50_ms_lo", "latency_p50_ms_hi")
    frame = rows(*(dict(zip(names, figures, strict=True)) for figures in given), samples=100)
    assert len(said_by(frame, "latency falls")) == found


def test_repeats_of_a_cell_are_its_spread():
    frame = rows({"latency_p50_ms": 10.0}, {"latency_p50_ms": 6.0}, {"latency_p50_ms": 7.0, "batch_size": 2})
    assert said_by(frame, "latency falls") == []


def test_rows_that_say_they_are_noisy_are_not_also_said_to_fall():
    frame = rows({"noise_flags": ["cpu_share"]}, {"latency_p50_ms": 5.0, "batch_size": 2})
    assert said_by(frame, "latency falls") == []
    ((found, reason),) = said_by(frame, "noisy")
    assert found == ("r0",)
    assert reason.startswith("the samples were disturbed (cpu_share): run again on a quieter host")


def test_other_environments_are_no_neighbours():
    frame = rows({}, {"latency_p50_ms": 5.0, "batch_size": 2, "environment_id": "f"})
    assert said_by(frame, "latency falls") == []


def test_a_call_cannot_be_answered_more_often_than_its_callers_ask():
    rate = {"throughput_per_s": 1540.0, "throughput_unit": "items", "latency_mean_ms": 5.2, "batch_size": 4}
    frame = rows(rate, {**rate, "workers": 2}, {**rate, "throughput_per_s": 780.0})
    ((found, reason),) = said_by(frame, "above Little's law")
    assert found == ("r0",)
    assert reason.startswith(
        "bert cpu: 1540 items/s at 5.2 ms and batch 4 need 2 calls at a time, but replicas x workers is 1"
    )


@pytest.mark.parametrize(
    "unlike",
    [{"throughput_unit": "tokens"}, {"workers": None}, {"scenario": "server"}, {"throughput_unit": None}],
)
def test_little_is_not_asked_where_the_callers_are_not_known(unlike):
    rate = {"throughput_per_s": 1540.0, "throughput_unit": "items", "latency_mean_ms": 5.2}
    assert said_by(rows({**rate, **unlike}), "above Little's law") == []


def test_a_median_above_the_mean_of_two_modes_is_given_room():
    frame = rows({"throughput_per_s": 108.0, "throughput_unit": "items"})
    assert said_by(frame, "above Little's law") == []


STEP = {"scenario": "training", "batch_size": 8.0, "data_parallel": 2.0, "throughput_unit": "items"}


@pytest.mark.parametrize("items", [{"global_batch_size": 16.0}, {}, {"accumulation": 3.0}])
def test_a_training_with_a_rate_that_its_steps_dont_have_is_found(items):
    step = 16 * items.get("accumulation", 1)
    right = {**STEP, **items, "latency_mean_ms": 100.0, "throughput_per_s": step * 10.05}
    frame = rows(right, {**right, "throughput_per_s": step * 1000.0}, {**right, "scenario": "latency"})
    ((found, reason),) = said_by(frame, "steps at another rate")
    assert found == ("r1",)
    assert "100 times as many" in reason


GENERATION = {"output_length": 33.0, "first_token_mean_ms": 40.0, "tpot_mean_ms": 5.0}


@pytest.mark.parametrize(
    ("call_ms", "is_found"), [(200.0, False), (200.19, False), (200.3, True), (199.7, True), (205.0, True)]
)
def test_tokens_that_dont_add_up_to_their_call_are_found(call_ms, is_found):
    frame = rows({**GENERATION, "latency_mean_ms": call_ms}, {"latency_mean_ms": call_ms})
    found = said_by(frame, "tokens and call differ")
    assert [ids for ids, _ in found] == [("r0",)] * is_found
    assert all("32 more of 5 ms each end at 200 ms" in reason for _, reason in found)


def test_a_disturbed_host_may_end_a_call_later():
    disturbed = {**GENERATION, "noise_flags": ["contended"]}
    frame = rows({**disturbed, "latency_mean_ms": 209.0}, {**disturbed, "latency_mean_ms": 215.0})
    ((found, _),) = said_by(frame, "tokens and call differ")
    assert found == ("r1",)


def test_percentiles_need_samples():
    present = {"latency_p90_ms": 11.0, "latency_p95_ms": 12.0, "latency_p99_ms": 13.0}
    frame = rows(
        {**present, "samples": 368},
        {**present, "samples": 72},
        {**present, "samples": 35},
        {**present, "samples": None},
    )
    found = said_by(frame, "few samples")
    assert [ids for ids, _ in found] == [("r2",), ("r2",), ("r1", "r2")]
    assert found[2][1].startswith("p99 of 35 to 72 samples: below 368 samples")


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency_p50_ms": 10.0, "latency_p95_ms": 9.0},
        {"latency_min_ms": 10.5},
        {"latency_mean_ms": 14.0, "latency_max_ms": 13.0},
        {"latency_p50_ms_lo": 10.2, "latency_p50_ms_hi": 11.0},
        {"accuracy": 0.55, "accuracy_hi": 0.41},
    ],
)
def test_figures_out_of_order_are_found(wrong):
    ((found, reason),) = said_by(rows(wrong), "out of order")
    assert found == ("r0",)
    assert "a figure that can't be greater" in reason


def test_figures_rounded_differently_are_not_out_of_order():
    assert (
        said_by(rows({"latency_p50_ms": 3.0, "latency_mean_ms": 2.96, "latency_min_ms": 3.0}), "out of order")
        == []
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency_p50_ms": 0.0},
        {"latency_p95_ms": float("inf")},
        {"throughput_per_s": -1.0},
        {"cosine": 1.01},
        {"accuracy": 76.9},
        {"roofline_fraction": 1.2},
        {"cpu_percent": 250.0},
    ],
)
def test_impossible_figures_are_found(wrong):
    ((name, value),) = wrong.items()
    ((_, reason),) = said_by(rows(wrong), "impossible figure")
    assert reason.startswith(f"bert cpu: {name} is {value:g}, which is impossible")


def test_an_ok_row_has_a_result():
    frame = rows({}, {"accuracy": 0.9}, {}, {"status": "crashed"}, latency_p50_ms=None)
    assert [ids for ids, _ in said_by(frame, "no result")] == [("r0", "r2")]


def test_a_simulated_row_must_say_so():
    frame = rows(
        {"hardware": "simulated"}, {"hardware": "simulated", "simulated": True}, {"compiler": "simulated"}
    )
    assert [ids for ids, _ in said_by(frame, "simulated passed off")] == [("r0", "r2")]


def test_instance_types_are_those_of_the_price_book():
    frame = rows({"instance_type": "inf2.2xlarge"}, {"instance_type": "inf2.xlarge"}, {})
    ((found, reason),) = said_by(frame, "unknown instance")
    assert found == ("r0",)
    assert reason.startswith("the price book has no on-demand price of inf2.2xlarge")


def test_cores_can_give_two_cpu_seconds_a_second():
    shares = {"device_name": "EPYC", "cpu_model": "EPYC", "cores": 2}
    frame = rows({**shares, "cpu_share": 4.0}, {**shares, "cpu_share": 4.5}, {"cores": 2, "cpu_share": 9.0})
    assert [ids for ids, _ in said_by(frame, "busier than its cores")] == [("r1",)]


def test_a_first_call_does_what_all_calls_do():
    frame = rows({"first_call_ms": 4.9}, {"first_call_ms": 6.0}, latency_min_ms=10.0)
    assert [ids for ids, _ in said_by(frame, "first call too fast")] == [("r0",)]


def test_unsteady_rows_are_said():
    frame = rows(
        {"steady": False}, {"steady": True}, {"steady": None}, {"steady": False, "status": "timeout"}
    )
    assert [ids for ids, _ in said_by(frame, "noisy")] == [("r0",)]


def test_units_of_one_model_are_not_mixed():
    units = [
        {"throughput_unit": "items"},
        {"throughput_unit": "tokens"},
        {"throughput_unit": "tokens", "model": "t5"},
    ]
    ((found, reason),) = said_by(rows(*units, throughput_per_s=9.0), "mixed units")
    assert found == ("r0", "r1")
    assert reason.startswith("throughputs of bert in scenario latency are counted in items and in tokens")


def test_accuracies_within_their_noise_are_not_to_be_ranked():
    given = [
        ("ViT", "all", 0.7687),
        ("ViT", "none", 0.7692),
        ("ViT", "matmult", 0.7993),
        ("BEiT", "none", 0.8397),
    ]
    frame = rows(
        *({"model": model, "fast_math": fast, "accuracy": share} for model, fast, share in given),
        dataset="imagenet",
        accuracy_n=50_000,
    )
    ((found, reason),) = said_by(frame, "no difference")
    assert found == ("r0", "r1")
    assert reason.startswith(
        "imagenet: ViT cpu fast_math=all with 76.87% and ViT cpu with 76.92% do not differ measurably "
        "(z = 0.19, p = 0.85, n = 50000): rank them by nothing but"
    )


def test_answers_that_were_compared_item_by_item_are_judged_by_that():
    """Unpaired, 96.05 % against 97.13 % of 557 has p .32; paired, 14 lost and none won are a loss."""
    answers = {"dataset": "bbc", "items_hash": "h", "accuracy_n": 557, "metric": "accuracy"}
    whole = {"compiler": "eager", "fast_math": "none", "metric_value": 0.97, "accuracy": 0.97}
    lost = {"compiler": "onnxruntime", "quantization": "int8", "metric_value": 0.96, "accuracy": 0.96}
    frame = rows(
        {**whole, "accuracy_lost": 0, "accuracy_won": 0, "accuracy_p": 1.0},
        {**lost, "accuracy_lost": 7, "accuracy_won": 1, "accuracy_p": 0.0703, "artifact_key": "a"},
        {**lost, "accuracy_lost": 14, "accuracy_won": 0, "accuracy_p": 0.0001, "artifact_key": "b"},
        accuracy_verdict="no measurable difference",
        **answers,
    )
    ((found, reason),) = said_by(frame, "no difference")
    assert found == ("r1",)
    assert reason.endswith(
        "it lost 7 and won 1 (no measurable difference, p = 0.07, n = 557): call it neither better nor worse"
    )


def test_models_within_their_noise_are_said_in_the_longest_stretches():
    shares = {"a": 0.80, "b": 0.82, "c": 0.83, "d": 0.85}
    frame = rows(
        *({"model": model, "accuracy": share} for model, share in shares.items()),
        dataset="sst2",
        accuracy_n=872,
    )
    assert [ids for ids, _ in said_by(frame, "no difference")] == [("r0", "r1", "r2"), ("r1", "r2", "r3")]


def test_equal_accuracies_need_no_ranking():
    frame = rows({"fast_math": "none"}, {"fast_math": "all"}, accuracy=0.9, accuracy_n=100, dataset="sst2")
    assert said_by(frame, "no difference") == []


def test_a_flag_that_changed_no_number_had_no_effect():
    plain = {"matmul_dtype": "fp32", "max_abs_error": 1.25e-6, "cosine": 1.0, "latency_p50_ms": 10.0}
    frame = rows(
        {**plain, "fast_math": "none"},
        {**plain, "fast_math": "all", "latency_p50_ms": 9.0},
        {**plain, "fast_math": "matmult", "max_abs_error": 3e-3},
    )
    ((found, reason),) = said_by(frame, "flag without effect")
    assert found == ("r1", "r0")
    assert reason.startswith("bert cpu fast_math=all computed exactly the numbers of fast_math=none in")


def test_a_campaign_that_was_taken_up_elsewhere_is_noted():
    there = {"environment_id": "f", "framework_versions": {"torch": "2.10"}}
    frame = rows({"framework_versions": {"torch": "2.9"}}, there, cell_id="x")
    ((found, reason),) = said_by(frame, "mixed environments")
    assert found == ("r0", "r1")
    assert "in several environments (differing in framework_versions)" in reason


def test_an_interval_of_one_process_beside_some_over_several_is_a_note():
    bounds = {"latency_p50_ms_lo": 9.9, "latency_p50_ms_hi": 10.1, "instance_type": "m7i"}
    several = [{"cell_id": "x", "repeat": repeat} for repeat in range(3)]
    frame = rows({"cell_id": "y", "repeat": 0}, *several, {"cell_id": "z", "model": "vit"}, **bounds)
    ((found, reason),) = said_by(frame, "one process")
    assert found == ("r0",)
    assert reason.startswith(
        "bert on cpu: the intervals of 1 cell are of one process, those of 1 cell of several"
    )
    assert next(rule for rule in RULES if rule.name == "one process").note
    assert said_by(frame[frame["run_id"] != "r0"], "one process") == []
    assert said_by(frame.assign(scenario=["throughput", *frame["scenario"][1:]]), "one process") == []
    assert said_by(frame.assign(latency_p50_ms_lo=np.nan), "one process") == [], "it claims no interval"
    assert said_by(frame.assign(source="published"), "one process") == []


def test_requests_that_are_not_rate_times_latency_are_found():
    loaded = {"scenario": "server", "achieved_per_s": 100.0, "latency_mean_ms": 40.0}
    frame = rows(
        {**loaded, "outstanding_mean": 4.1},
        {**loaded, "outstanding_mean": 4.2},
        {**loaded, "latency_mean_ms": 0.1, "outstanding_mean": 0.02},
        loaded,
    )
    ((found, reason),) = said_by(frame, "outstanding at another rate")
    assert found == ("r1",)
    assert "100 requests/s x 40 ms are 4 requests without an answer, but the row has 4.2" in reason

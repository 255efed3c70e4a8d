"""What is chosen of measured cells, what it is weighed against, and what is said of it."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from benchmark.analysis import best_wording
from benchmark.analysis.best import NEEDED, SloLimits, Wanted, answers, cells
from benchmark.cloud.cost import PriceBasis, priced

ON_DEMAND = PriceBasis(kind="on-demand", region="us-east-1", as_of=None)
WHOLE = ("batch_size", "image_size", "sequence_length", "input_length", "output_length", "repeat")
DAY = pd.Timestamp("2026-11-24", tz="UTC")


def row(number, **values):
    p95 = values.get("latency_p95_ms", 10.0)
    usual = {
        "model": "vit",
        "task": "image-classification",
        "image_size": 224,
        "throughput_unit": "images",
        "hardware": "inf2",
        "instance_type": "inf2.xlarge",
        "compiler": "neuronx",
        "fast_math": "none",
        "batch_size": 1,
        "status": "ok",
        "campaign": "c",
        "cell_id": f"x{number}",
        "environment_id": "e",
        "run_id": f"r{number}",
        "finished_at": DAY + pd.Timedelta(minutes=number),
        "latency_p95_ms": p95,
        "latency_p95_ms_lo": p95 * 0.9,
        "latency_p95_ms_hi": p95 * 1.1,
        "throughput_per_s": 1000 * (values.get("batch_size", 1) or 1) / p95,
        "cosine": 0.9999,
        "steady": True,
    }
    return {**dict.fromkeys(NEEDED), **usual, **values}


def found(*changes):
    rows = pd.DataFrame([row(number, **values) for number, values in enumerate(changes)])
    return cells(rows.astype(dict.fromkeys(WHOLE, "Int64")))


def asked(*changes, aim="cheapest", rate=None, utilisation=0.7, **limits):
    wanted = Wanted(limits=SloLimits(**limits), aim=aim, requests_per_s=rate, utilisation=utilisation)
    of = found(*changes)
    made = answers(priced(of.done, ON_DEMAND).frame, wanted)
    return made, [best_wording.notes(one, wanted, of.failed) for one in made]


def batches(*pairs, **more):
    return [{"batch_size": batch, "latency_p95_ms": p95, **more} for batch, p95 in pairs]


def chosen(answer):
    return None if answer.best is None else answer.best["batch_size"]


GROWING = batches((1, 4.0), (2, 5.0), (4, 7.8), (8, 15.0))


@pytest.mark.parametrize(
    ("limits", "batch"),
    [({}, 8), ({"p95_ms": 10.0}, 4), ({"p95_ms": 4.0}, 1), ({"p95_ms": 3.9}, None), ({"usd_per_1m": 0.5}, 8)],
)
def test_the_cheapest_is_the_one_with_the_least_cost_within_the_limits(limits, batch):
    ((answer,), _) = asked(*GROWING, **limits)
    assert chosen(answer) == batch


def test_the_fastest_is_the_one_with_the_least_p95():
    ((answer,), _) = asked(*GROWING, aim="fastest", usd_per_1m=0.5)
    assert chosen(answer) == 4


def test_the_front_has_what_nothing_beats_in_p95_and_dollars_at_once():
    beaten = {"batch_size": 16, "latency_p95_ms": 40.0}
    level = {"batch_size": 8, "latency_p95_ms": 15.0, "compiler": "other"}
    ((answer,), _) = asked(beaten, *GROWING, level)
    assert answer.front["batch_size"].tolist() == [1, 2, 4, 8, 8]
    assert answer.by == "usd_per_1m"


def test_a_dearer_machine_is_on_the_front_for_what_it_is_faster_at():
    card = {"instance_type": "g5.xlarge", "hardware": "cuda"}
    ((answer,), _) = asked(*GROWING, *batches((1, 3.5), (2, 6.0), **card))
    assert answer.front["instance_type"].tolist() == ["g5.xlarge", *["inf2.xlarge"] * 4]
    assert chosen(answer) == 8


def test_a_cell_without_a_price_is_on_the_front_only_as_the_fastest():
    bare = {"instance_type": None, "hardware": "cpu"}
    ((answer,), _) = asked(*GROWING, *batches((1, 2.0), (2, 6.0), **bare), aim="fastest")
    assert answer.front["hardware"].tolist() == ["cpu", *["inf2"] * 4]
    assert answer.best["hardware"] == "cpu"
    assert not math.isnan(answer.front["usd_per_1m"].iloc[1])


def test_without_any_price_the_fastest_is_chosen_and_it_says_so():
    ((answer,), ((note,),)) = asked(*batches((1, 4.0), (2, 5.0), instance_type=None))
    assert (answer.aim, answer.by, chosen(answer)) == ("fastest", "throughput_per_s", 1)
    assert note == "no cell has a price, so the fastest is chosen, not the cheapest"


def test_different_work_is_never_weighed_against_each_other():
    tokens = {"model": "t5", "throughput_unit": "tokens", "input_length": 8, "output_length": 8}
    texts = {"model": "bert", "image_size": None, "throughput_unit": "items"}
    changes = [{**texts, "sequence_length": 8}, {**texts, "sequence_length": 128}, {}, {**tokens}]
    made, _ = asked(*changes)
    assert [best_wording.work_label(one) for one in made] == [
        "bert s8",
        "bert s128",
        "t5 in8 out8 px224",
        "vit px224",
    ]


def test_a_training_answers_nothing_however_fast_it_is():
    ((answer,), _) = asked({}, {"scenario": "training", "latency_p95_ms": 0.1, "throughput_per_s": 1e6})
    assert len(answer.cells) == 1


def test_a_latency_without_a_throughput_belongs_to_the_work_that_others_count():
    alone = {"throughput_unit": None, "throughput_per_s": None, "latency_p95_ms": 2.0, "compiler": "other"}
    ((answer,), _) = asked(*GROWING, alone, aim="fastest")
    assert (answer.best["compiler"], answer.work["throughput_unit"]) == ("other", "images")
    ((answer,), (notes,)) = asked(*GROWING, alone, p95_ms=3.0)
    assert (answer.aim, answer.best["compiler"]) == ("fastest", "other")
    assert notes[0] == "no cell within the limits has a cost, so the fastest is chosen"
    (_, ((note, *_),)) = asked(alone)
    assert note == "no cell has a throughput, so none has a cost, and the fastest is chosen"


def test_the_newest_of_a_setup_counts_and_processes_of_a_cell_are_one():
    (old, new) = ({"latency_p95_ms": 9.0}, {"latency_p95_ms": 5.0})
    assert found(old, new).done["latency_p95_ms"].tolist() == [5.0]
    twice = [
        {"cell_id": "x", "repeat": number, "latency_p95_ms": p95} for number, p95 in enumerate((4.0, 9.0))
    ]
    (line,) = found(*twice).done.to_dict("records")
    assert line["latency_p95_ms"] == pytest.approx(6.0)
    assert line["processes"] == 2


def test_figures_of_two_documents_stay_apart():
    printed = [{"source": "published", "document": name} for name in ("a", "b")]
    assert len(found(*printed, {}).done) == 3


def test_what_failed_and_never_was_ok_is_counted_once():
    failed = {"status": "oom_device", "batch_size": 8}
    of = found({}, {"status": "timeout"}, failed, failed)
    assert of.failed["status"].tolist() == ["oom_device"]
    assert len(of.done) == 1


@pytest.mark.parametrize(
    ("limits", "note"),
    [
        ({"p95_ms": 3.0}, "the lowest p95 is 4 ms: batch 1, inf2.xlarge, neuronx"),
        ({"cosine_floor": 0.99999}, "the highest cosine is 0.9999: batch 1, inf2.xlarge, neuronx"),
        ({"usd_per_1m": 0.1}, "the lowest cost is $0.3949 per 1M images: batch 8, inf2.xlarge, neuronx"),
        (
            {"p95_ms": 5.0, "usd_per_1m": 0.5},
            "for each limit some cell keeps it, but no cell keeps all of them",
        ),
    ],
)
def test_limits_that_no_cell_keeps_are_answered_with_the_nearest(limits, note):
    ((answer,), (notes,)) = asked(*GROWING, **limits)
    assert answer.chosen is None
    assert notes == (note,)


def test_an_accuracy_that_was_never_measured_gives_no_answer():
    ((answer,), (notes,)) = asked(*GROWING, accuracy_floor=0.8)
    assert (answer.chosen, len(answer.front)) == (None, 0)
    assert notes[0] == "no cell has an accuracy: scenario=latency,accuracy with dataset= measures both"


def test_cells_without_an_accuracy_are_left_out_and_counted():
    known = {"accuracy": 0.82, "accuracy_lo": 0.79}
    ((answer,), (notes,)) = asked(*GROWING[:3], {**GROWING[3], **known}, accuracy_floor=0.8)
    assert chosen(answer) == 8
    assert notes[0].startswith("left out: 3 of 4 cells have no accuracy")
    assert notes[1:] == (
        "uncertain: the lower bound of its accuracy is 0.79",
        "no cell is within the limits with 95 % confidence",
    )


def test_an_interval_that_reaches_over_the_limit_is_not_certainly_within():
    ((answer,), (notes,)) = asked(*GROWING, p95_ms=8.0)
    assert answer.best["within"] == "uncertain"
    assert notes == (
        "uncertain: the upper bound of its p95 is 8.58 ms",
        "within the limits with 95 % confidence: batch 2, inf2.xlarge, neuronx",
    )


def test_too_few_calls_for_an_interval_are_not_certainly_within():
    ((_,), (notes,)) = asked(
        {"latency_p95_ms_lo": None, "latency_p95_ms_hi": None}, {"batch_size": 2}, p95_ms=12.0
    )
    assert "uncertain" not in " ".join(notes)
    ((_,), (notes,)) = asked({"latency_p95_ms_lo": None, "latency_p95_ms_hi": None}, p95_ms=12.0)
    assert notes[0] == "uncertain: too few calls for a confidence interval of its p95"


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ([], "larger batches than 8 were not measured, try batch=16,32"),
        ([{"batch_size": 16, "status": "oom_device"}], "of larger batches 16 ended as oom_device"),
        (batches((16, 40.0)), "larger batches than 8 were no cheaper"),
    ],
)
def test_a_limit_that_was_not_reached_comes_with_what_to_try(more, note):
    (_, ((message,),)) = asked(*GROWING, *more, p95_ms=100.0)
    assert message == f"every measured cell is within p95 <= 100 ms: the limit is not reached; {note}"


@pytest.mark.parametrize(
    ("doubt", "note"),
    [
        ({"noise_flags": ["contended"]}, "noisy: other load disturbed its calls"),
        ({"steady": False}, "unsteady: its latency drifted or jumped"),
    ],
)
def test_a_doubtful_choice_is_marked(doubt, note):
    (_, (notes,)) = asked({**GROWING[0], **doubt})
    assert notes[0].startswith(note)


def test_a_fleet_has_as_many_machines_as_the_rate_needs():
    """1,000 requests/s at 70 % of 512.8, 400 and 250 images/s: 3, 4 and 6 machines of $0.7582 an hour."""
    ((answer,), _) = asked(*GROWING[:3], rate=1000.0)
    assert answer.front["machines"].tolist() == [6, 4, 3]
    assert answer.front["usd_per_month"].round(2).tolist() == [3320.92, 2213.94, 1660.46]
    assert "3 machines for $1,660 a month" in best_wording.figures(answer.best, answer)


def test_a_fleet_is_chosen_by_dollars_a_month():
    """For ten requests a second one small machine does, though the large one is cheaper by the million."""
    large = {"instance_type": "inf2.48xlarge", "batch_size": 64, "latency_p95_ms": 2.0}
    ((answer,), _) = asked({}, large, rate=10.0)
    assert answer.best["instance_type"] == "inf2.xlarge"
    ((answer,), _) = asked({}, large)
    assert answer.best["instance_type"] == "inf2.48xlarge"


def test_a_request_of_tokens_is_one_generation():
    """560 tokens/s are 14 generations of 8 + 32 tokens; at half of that 100/s need 15 machines."""
    lengths = {"throughput_unit": "tokens", "input_length": 8, "output_length": 32, "image_size": None}
    ((answer,), _) = asked({"throughput_per_s": 560.0, **lengths}, rate=100.0, utilisation=0.5)
    assert answer.best["machines"] == 15


def test_a_published_cell_is_said_by_what_its_document_says_of_it():
    bare = {"hardware": None, "compiler": None, "fast_math": None, "batch_size": None, "model": None}
    printed = {"latency_p95_ms_lo": None, "latency_p95_ms_hi": None, "throughput_per_s": 500.0}
    ((answer,), (notes,)) = asked({"source": "published", **bare, **printed, "batch_size": None}, p95_ms=20.0)
    assert best_wording.cell_words(answer.best) == "inf2.xlarge, published"
    assert best_wording.work_label(answer) == "unnamed px224"
    assert notes[0] == "uncertain: the source gives no confidence interval of its p95"


def test_the_headline_has_work_limit_cell_and_figures():
    wanted = Wanted(limits=SloLimits(p95_ms=10.0), aim="cheapest")
    (answer,) = answers(priced(found(*GROWING).done, ON_DEMAND).frame, wanted)
    assert best_wording.headline(answer, wanted) == (
        "vit, image-classification, image size 224: the cheapest within p95 <= 10 ms is batch 4, "
        "inf2.xlarge, neuronx: p95 7.80 ms (7.02 to 8.58), 513 images/s, $0.411 per 1M images"
    )


def test_a_document_without_p95_is_answered_by_its_throughput():
    bare = dict.fromkeys(("latency_p95_ms", "latency_p95_ms_lo", "latency_p95_ms_hi"), math.nan)
    lines = [{**bare, "batch_size": batch, "throughput_per_s": 100.0 * batch} for batch in (1, 8)]
    ((answer,), (notes,)) = asked(*lines, aim="fastest")
    assert answer.best["batch_size"] == 8
    assert "no cell has a p95: this is the cell with the highest throughput" in notes


def test_generated_tokens_are_a_throughput_where_there_is_no_other():
    line = {"throughput_per_s": None, "throughput_unit": None, "output_tokens_per_s": 250.0}
    ((answer,), _) = asked(line)
    assert answer.work["throughput_unit"] == "output tokens"
    assert answer.best["throughput_per_s"] == 250.0


def test_a_row_whose_figures_do_not_fit_together_is_never_the_best():
    (answer,), _ = asked(*GROWING[:2], {**GROWING[2], "outlier": "13.8 calls in flight"})
    assert chosen(answer) == 2
    assert answer.cells.set_index("batch_size").loc[4, "doubt"] == "13.8 calls in flight"
    assert not answer.cells.set_index("batch_size").loc[4, "front"]


def test_an_accuracy_floor_counts_what_another_scenario_measured_of_the_same_artefact():
    answered = {"scenario": "accuracy", "metric": "accuracy", "items_hash": "h", "latency_p95_ms": 99.0}
    right = {"accuracy": 0.97, "accuracy_lo": 0.96, "metric_value": 0.97, "artifact_key": "none"}
    wrong = {"accuracy": 0.95, "accuracy_lo": 0.93, "metric_value": 0.95, "artifact_key": "all"}
    exact, fast = (
        {"scenario": "latency", "artifact_key": "none"},
        {"scenario": "latency", "artifact_key": "all"},
    )
    ((answer,), _) = asked(
        {**exact, "latency_p95_ms": 10.0},
        {**fast, "fast_math": "all", "latency_p95_ms": 5.0},
        {**answered, **right},
        {**answered, **wrong, "fast_math": "all"},
        accuracy_floor=0.96,
    )
    assert answer.best["fast_math"] == "none"
    assert answer.best["scenario"] == "latency"
    assert (answer.best["accuracy"], answer.best["within"]) == (0.97, "yes")
    assert len(answer.cells) == 2


@pytest.mark.parametrize("name", ["slo_ms", "ttft_slo_ms", "tpot_slo_ms", "lengths"])
def test_loads_with_other_limits_or_lengths_are_other_cells(name):
    server = {"scenario": "server", "throughput_per_s": 59.0, "latency_p95_ms": 10.0}
    given = ["fixed", "uniform"] if name == "lengths" else [50.0, 20.0]
    ((answer,), _) = asked(*({**server, name: value} for value in given))
    assert len(answer.cells) == 2


def test_a_fleet_uses_the_rate_that_keeps_its_limit_under_load():
    closed = {"latency_p95_ms": 10.0, "throughput_per_s": 100.0}
    server = {"scenario": "server", "batch_size": 2, "throughput_per_s": 59.0, "slo_ms": 50.0}
    loads = ({**server, "qps_under_slo": 30.0}, server, {**server, "slo_ms": 20.0})
    ((answer,), _) = asked(closed, *loads, rate=120.0, utilisation=0.5)
    # 120 / (100 * 0.5), 120 / (30 calls of 2); one load doesn't say what a server answers at most
    assert answer.cells["machines"].sort_values().tolist() == pytest.approx([2, 3, math.nan], nan_ok=True)
    under_load = best_wording.fleet_note(Wanted(limits=SloLimits(), aim="cheapest", requests_per_s=1.0))
    assert "scenario=server run at all of their qps_under_slo" in under_load

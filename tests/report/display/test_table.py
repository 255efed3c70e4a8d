"""What the table says of doubtful rows, and that it still fits a narrow terminal."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from rich.console import Console

from benchmark.report.display.table import NEEDED, markdown_usual, print_rows, print_table


def row(**values):
    usual = {
        "model": "distilbert",
        "hardware": "cpu",
        "compiler": "torchscript",
        "fast_math": "none",
        "batch_size": 1,
        "sequence_length": 128,
        "latency_p50_ms": 10.0,
        "latency_p50_ms_lo": 9.8,
        "latency_p50_ms_hi": 10.5,
        "latency_p95_ms": 12.0,
        "throughput_per_s": 99.0,
        "cosine": 0.9999999,
        "status": "ok",
        "samples": 500,
        "steady": True,
        "noise_flags": [],
        "repeat": 0,
        "campaign": "c",
        "cell_id": "x",
        "environment_id": "e",
    }
    return {**dict.fromkeys(NEEDED), **usual, **values}


def printed(*rows, width=80):
    out = io.StringIO()
    print_rows(pd.DataFrame(rows), console=Console(file=out, width=width, no_color=True))
    return out.getvalue()


def test_p50_stands_with_the_wider_half_of_its_interval():
    assert " 10.0 5%° 12.0" in printed(row())
    assert "°: of this process only" in printed(row())


def test_the_interval_of_several_processes_says_how_many():
    text = printed(row(), row(repeat=1, latency_p50_ms=10.2), row(repeat=2, latency_p50_ms=10.1))
    assert " 10.1 2% 12.0" in text
    assert "±: half width of the 95 % interval of p50 over 3 processes" in text
    assert "°" not in text


@pytest.mark.parametrize(
    ("values", "mark", "meaning"),
    [
        ({"latency_p95_ms": None, "samples": 50}, "few", "p95 needs at least 72 calls"),
        ({"noise_flags": ["contended"]}, "noisy", "other load or throttling"),
        ({"steady": False, "noise_flags": ["stolen"]}, "noisy", "other load or throttling"),
        ({"steady": False}, "unsteady", "latency drifted or jumped"),
    ],
)
def test_doubts_are_marked_and_explained(values, mark, meaning):
    text = printed(row(**values))
    assert mark in text
    assert f"{mark}: {meaning}" in text


def test_an_interval_below_a_per_cent_or_above_a_half_is_said_to_be():
    assert "<1%" in printed(row(latency_p50_ms_lo=9.99, latency_p50_ms_hi=10.01))
    assert ">50%" in printed(row(latency_p50_ms_hi=31.0))


def test_the_lowest_latency_stands_beside_a_median_that_is_not_known_well():
    wide = row(latency_min_ms=7.0, latency_p50_ms_lo=8.0, latency_p50_ms_hi=12.0)
    text = printed(wide, row(latency_min_ms=9.5, cell_id="y"))
    assert "7.00 10.0 20%° 12.0" in text
    assert "9.50 10.0 5%°  12.0" in text
    assert "min: lowest latency" in text
    assert "min" not in printed(row(latency_min_ms=9.5))
    assert "latency_min_ms" in markdown_usual(pd.DataFrame([wide]))
    assert "latency_min_ms" not in markdown_usual(pd.DataFrame([row(latency_min_ms=9.5)]))


def test_the_lowest_latency_has_room_where_all_answers_agree():
    wide = row(latency_min_ms=7.0, latency_p50_ms_lo=8.0, latency_p50_ms_hi=12.0, compiler="aot_inductor")
    lines = [wide, {**wide, "cell_id": "y", "compiler": "eager", "steady": False}]
    lines += [{**wide, "cell_id": "z", "model": "vit_tiny", "batch_size": 4, "sequence_length": 16}]
    text = printed(*lines)
    assert "all with hardware=cpu and fast_math=none, cosine 0.9999 or more" in " ".join(text.split())
    assert "min: lowest latency" in text
    assert "cosine status" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "0.999999 ok" in printed(*lines, width=120)
    unlike = {"hardware": "inf2", "fast_math": "all", "steady": False}
    assert printed(*lines, {**lines[2], **unlike, "cell_id": "w"}, width=92).startswith(
        "4 rows, cosine 0.9999 or more"
    )
    lines[0]["cosine"] = 0.98
    assert "0.980000" in printed(*lines)
    assert "min: lowest latency" not in printed(*lines)


def test_lines_are_compared_with_eager_of_their_machine_else_with_the_slowest():
    eager = row(compiler="eager", cell_id="a", latency_p50_ms=30.0)
    text = printed(eager, row())
    assert "3.00x" in text
    assert "faster: compared with eager of the same model, size and machine" in text
    text = printed(row(), row(compiler="openvino", cell_id="o", latency_p50_ms=5.0))
    assert "2.00x" in text
    assert "faster: compared with the slowest of the same model and size" in text
    assert "faster" not in printed(row(), row(batch_size=4, cell_id="b"))


def test_rows_of_before_have_no_marks():
    old = row(samples=500, steady=None, noise_flags=None, latency_p50_ms_lo=None, latency_p50_ms_hi=None)
    assert "noisy" not in printed(old)


def test_the_processes_of_a_cell_are_one_line():
    text = printed(row(repeat=0), row(repeat=1, latency_p95_ms=12.0), row(cell_id="y", batch_size=4))
    assert "3 rows in 2 lines (one per cell), all with model=distilbert" in text
    assert len([line for line in text.splitlines() if line.rstrip().endswith(" ok")]) == 2


def test_a_failure_is_not_called_noisy():
    failed = row(status="crashed", stage="measure", error="boom", noise_flags=["contended"], samples=None)
    assert "noisy" not in printed(failed)
    assert "1 x crashed at measure: boom" in printed(failed)


def test_the_widest_row_fits_eighty_columns():
    rows = [row(compiler="aot_inductor", steady=False), row(model="roberta", hardware="inf2", batch_size=16)]
    assert max(map(len, printed(*rows).splitlines())) <= 80


def test_what_was_swept_stands_beside_the_sizes():
    rows = [row(config=json.dumps({"compiler": {"dtype": one}}), cell_id=one) for one in ("fp32", "bf16")]
    table = printed(*rows)
    assert "dtype" in table
    assert "bf16" in table


def test_more_options_than_fit_are_named_below():
    rows = [
        row(config=json.dumps({f"option_{n}": f"{value}-of-{n}" for n in range(40)}), cell_id=value)
        for value in ("first", "second")
    ]
    lines = printed(*rows).splitlines()
    assert max(map(len, lines)) <= 160
    assert "option_0" in "".join(lines)
    assert "differ too: " in "".join(lines)
    assert "option_39" in " ".join(lines).partition("differ too: ")[2]


def test_figures_besides_the_usual_are_shown_for_rows_that_have_no_other():
    nothing = dict.fromkeys(("latency_p50_ms", "latency_p95_ms", "throughput_per_s", "samples"))
    assert "0.912" in printed(row(**nothing, accuracy=0.912, source="published"))
    assert "0.912" not in printed(row(accuracy=0.912))


def test_doubts_about_the_comparison_are_columns_where_there_are_any():
    fine, doubted = row(relative_error=0.001), row(cell_id="y", verify_flags=["untellable"])
    table = printed(fine, doubted)
    assert "relative" in table
    assert "\nuntellable: the reference answers different inputs alike" in table
    assert max(map(len, table.splitlines())) <= 80
    assert "relative" not in printed(fine, row(cell_id="y"))


def test_quantisation_is_the_arithmetic_of_a_row():
    assert " int8 " in printed(row(quantization="int8"))
    two = printed(row(quantization="int8"), row(cell_id="y", quantization="int8", batch_size=2))
    assert two.startswith(
        "2 rows, all with model=distilbert, hardware=cpu, compiler=torchscript, \nquantization=int8 and"
    )
    assert " none " in printed(row())


@pytest.mark.parametrize("width", [20, 30, 45, 60])
def test_a_narrow_terminal_cuts_no_figure(width):
    frame = pd.DataFrame(
        {
            "compiler": ["a compiler of many words"] * 2,
            "batch_size": [1000, 1],
            "p95": ["123.456", "few"],
            "rate": [98765.4321, 1.5],
        }
    )
    with io.StringIO() as out:
        print_table(frame, console=Console(file=out, width=width))
        words = out.getvalue().split()
    assert {"1000", "123.456", "few", "98765"} <= {*words}


def test_one_row_that_is_too_wide_has_its_names_above():
    shown = printed(row(model="smollm2_135m", **ANSWERED))
    assert shown.startswith("1 row, model=smollm2_135m, hardware=cpu, compiler=torchscript")
    assert max(map(len, shown.splitlines())) <= 80


def test_a_name_keeps_four_characters_of_a_line():
    found = {**ANSWERED, "metric": "perplexity", "metric_value": 27.3, "metric_value_lo": 22.2}
    shown = printed(
        row(model="smollm2_135m", latency_p50_ms=4372.0, **found),
        row(cell_id="b", model="bert_base", hardware="inf2", compiler="onnxruntime", **found),
    )
    words = {word for line in shown.splitlines() for word in line.split()}
    assert {"smol", "bert", "torc", "onnx"} <= {word[:4] for word in words}


ANSWERED = {
    "metric": "accuracy",
    "metric_value": 0.961,
    "metric_value_lo": 0.94,
    "metric_value_hi": 0.974,
    "accuracy_n": 557,
    "accuracy_lost": 15,
    "accuracy_won": 5,
    "accuracy_p": 0.041,
    "accuracy_verdict": "worse",
    "items_hash": "h",
    "dataset": "bbc",
    "scenario": "accuracy",
}


def test_names_are_broken_before_values_are():
    frame = pd.DataFrame({"compiler": ["torchscript"], "throughput_per_s": [3.74], "latency_p50_ms": [267.0]})
    out = io.StringIO()
    print_table(frame, console=Console(file=out, width=36))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == [
        "            throughput_ latency_",
        "compiler          per_s   p50_ms",
        "torchscript        3.74      267",
    ]


def test_a_measured_accuracy_stands_with_its_interval_and_its_verdict():
    text = printed(row(**ANSWERED))
    assert "96.10% ±2.1" in text
    assert "worse: worse than the fp32 reference on the same items (95 %)" in text
    assert "against" not in printed(row(accuracy=0.9))


def test_verdicts_of_several_are_adjusted_and_say_so():
    others = [
        row(
            **{**ANSWERED, "accuracy_p": 1.0, "accuracy_lost": 0, "accuracy_won": 0},
            cell_id=str(n),
            batch_size=n,
        )
        for n in range(2, 5)
    ]
    text = printed(row(**ANSWERED), *others, width=120)
    assert (
        "same: no measurable difference to the fp32 reference on the same items, p adjusted for 4 comp"
        in text
    )
    assert "worse" not in text


def test_a_figure_that_is_no_share_has_its_name():
    text = printed(
        row(
            **{
                **ANSWERED,
                "metric": "f1",
                "metric_value": 0.9,
                "metric_value_lo": 0.88,
                "metric_value_hi": 0.91,
            }
        )
    )
    assert "f1 0.900 ±0.02" in text

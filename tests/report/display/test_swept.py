"""A table has a column for each option whose values differ, and none for what follows from a name."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmark.report.display.swept import swept


def row(overrides=(), config=None, **values):
    """A row with a nested configuration; `compiler` and `model` name its sections."""
    usual = {"model": "bert", "hardware": "cpu", "compiler": "onnxruntime", "task": "text-classification"}
    return {
        **usual,
        "config": None if config is None else json.dumps(config),
        "overrides": [*overrides],
        **values,
    }


def columns(*rows):
    return swept(pd.DataFrame(rows))


def test_options_of_a_compiler_that_differ_are_columns():
    rows = [row(config={"compiler": {"dtype": dtype, "same": 1}}) for dtype in ("fp32", "bf16")]
    assert columns(*rows) == {"dtype": ["fp32", "bf16"]}


@pytest.mark.parametrize(
    ("column", "values", "header"),
    [
        ("task", ("text-classification", "fill-mask"), "task"),
        ("quantization", (None, "int8"), "quantization"),
        ("threads", (1, 2), "threads"),
        ("input_source", ("random", "real"), "inputs"),
        ("weights", ("random", "pretrained"), "weights"),
        ("scenario", ("latency", "throughput"), "scenario"),
        ("output_length", (8, 16), "output"),
    ],
)
def test_an_axis_that_differs_is_a_column_under_its_header(column, values, header):
    keys = {"quantization": "none" if values[0] is None else "int8"}
    rows = [row(config={"compiler": keys}, **{column: value}) for value in values]
    assert columns(*rows) == {header: [str(value or "none") for value in values]}


def test_what_follows_from_a_name_is_no_difference():
    rows = [
        row(model="bert", config={"model": {"layers": 12}}, task="text-classification"),
        row(model="vit", config={"model": {"layers": 24}}, task="image-classification"),
    ]
    assert columns(*rows) == {}


def test_what_an_override_sets_is_a_difference_whatever_the_names_say():
    rows = [
        row([f"hardware.threads={threads}"], {"hardware": {"threads": threads}}, model=model)
        for model, threads in (("bert", 1), ("vit", 2))
    ]
    assert columns(*rows) == {"threads": ["1", "2"]}


def test_a_group_that_overrides_choose_is_one_column():
    rows = [
        row([f"sampling={name}"], {"sampling": {"max_s": most, "min_s": most / 2}})
        for name, most in (("quick", 1), ("thorough", 60))
    ]
    assert columns(*rows) == {"sampling": ["quick", "thorough"]}


def test_an_option_that_only_one_row_has_is_a_column_if_an_override_adds_it():
    plain, more = {"compiler": {}}, {"compiler": {"extra": True}}
    assert columns(row(config=plain), row(["+compiler.extra=true"], more)) == {"extra": ["", "true"]}
    assert columns(row(config=plain), row(config=more)) == {}, "another version of the program has the key"


def test_places_and_sizes_of_the_usual_columns_are_no_columns():
    rows = [
        row(config={"campaign": name, "batch": size, "output_folder": name, "run": name})
        for name, size in (("a", 1), ("b", 2))
    ]
    assert columns(*rows) == {}


def test_equal_numbers_are_equal_however_they_are_written():
    assert columns(row(config={"x": 1}), row(config={"x": 1.0})) == {}


def test_options_of_one_name_have_their_whole_key():
    rows = [row(config={"compiler": {"level": one}, "verify": {"level": one}}) for one in (1, 2)]
    assert [*columns(*rows)] == ["compiler.level", "verify.level"]
    rows = [row(config={"sampling": {"inputs": one}}) for one in ("fixed", "varied")]
    assert [*columns(*rows)] == ["sampling.inputs"]


def test_published_rows_that_look_equal_show_what_distinguishes_them():
    rows = [
        row(source="published", overrides=(), model_dtype=dtype, device_name="A", document=document)
        for dtype, document in (("fp16", "x"), ("bf16", "y"))
    ]
    assert columns(*rows) == {"dtype": ["fp16", "bf16"]}


def test_one_row_differs_from_nothing():
    assert columns(row(config={"x": 1})) == {}
    assert swept(pd.DataFrame()) == {}

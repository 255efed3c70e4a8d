"""Grid algebra: the product, pairs, single cells, exclusions, and a command line that narrows it all."""

from __future__ import annotations

import pytest

from benchmark.config.grid import Exclusion, Grid, exclusions, refuse_unknown_keys
from benchmark.errors import ConfigError

ROWS = ({"batch": "1", "seq_len": "512"}, {"batch": "8", "seq_len": "128"})


def cells(**said):
    return [" ".join(cell) for cell in Grid(**said).cells()]


def test_without_anything_there_is_one_cell():
    assert cells() == [""]


def test_axes_multiply_and_the_last_varies_fastest():
    assert cells(axes={"a": ("1", "2"), "b": ("x", "y")}) == ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]


def test_the_command_line_replaces_an_axis_in_its_place():
    assert cells(axes={"a": ("1", "2"), "b": ("x",)}, requested={"a": ("3",), "c": ("z",)}) == ["a=3 b=x c=z"]


def test_the_rows_of_a_pair_are_one_dimension():
    assert cells(axes={"a": ("1", "2")}, pairs=(ROWS,)) == [
        "a=1 batch=1 seq_len=512",
        "a=1 batch=8 seq_len=128",
        "a=2 batch=1 seq_len=512",
        "a=2 batch=8 seq_len=128",
    ]


def test_two_pairs_multiply():
    assert len(cells(pairs=(ROWS, ({"c": "1"}, {"c": "2"}, {"c": "3"})))) == 6


def test_the_command_line_keeps_the_rows_of_a_pair_that_have_its_value():
    assert cells(pairs=(ROWS,), requested={"batch": ("8", "9")}) == ["batch=8 seq_len=128"]


def test_a_value_that_no_row_of_a_pair_has_is_said_with_the_rows():
    with pytest.raises(
        ConfigError, match=r"^pair: no row has batch=3; choose one of batch=1 seq_len=512; batch="
    ):
        cells(pairs=(ROWS,), requested={"batch": ("3",)})


@pytest.mark.parametrize("said", [{"axes": {"batch": ("1",)}, "pairs": (ROWS,)}, {"pairs": (ROWS, ROWS)}])
def test_a_key_has_one_place(said):
    with pytest.raises(ConfigError, match=r"^pair: batch is an axis or in a pair twice"):
        cells(**said)


def test_what_all_single_cells_have_narrows_them_and_is_no_axis():
    lines = ({"a": "1", "b": "x"}, {"a": "2", "b": "y"}, {"a": "3", "b": "z"})
    assert cells(include=lines, requested={"a": ("1", "3")}) == ["a=1 b=x", "a=3 b=z"]
    assert cells(include=lines[:1], requested={"c": ("7", "8")})[-2:] == ["c=7 a=1 b=x", "c=8 a=1 b=x"]


def test_single_cells_stand_beside_the_product():
    assert cells(axes={"a": ("1", "2")}, include=({"a": "9", "b": "x"},)) == ["a=1", "a=2", "a=9 b=x"]


def test_an_experiment_of_single_cells_has_no_others():
    assert cells(include=({"a": "1"}, {"a": "2"}), requested={"campaign": ("c",)}) == [
        "campaign=c a=1",
        "campaign=c a=2",
    ]


def test_single_cells_take_what_has_one_value_and_leave_what_has_several_to_the_defaults():
    said = {"axes": {"hardware": ("inf2",), "batch": ("1", "2")}, "include": ({"model": "vit"},)}
    assert cells(**said)[-1] == "hardware=inf2 model=vit"


def test_the_command_line_narrows_single_cells_and_multiplies_those_that_do_not_name_its_key():
    said = {"axes": {"a": ("1", "2")}, "include": ({"a": "9"}, {"b": "x"}), "requested": {"a": ("1", "9")}}
    assert cells(**said) == ["a=1", "a=9", "a=9", "a=1 b=x", "a=9 b=x"]


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ("beit", "beit", True),
        ("beit", "vit", False),
        ("inf*", "inf2", True),
        ("inf?", "inf22", False),
        (">32", 64, True),
        (">32", 32, False),
        (">=32", 32, True),
        ("< 0.5", 0.25, True),
        ("<=1", 2, False),
        ("!=1", 2, True),
        ("!=1", 1, False),
        ("!=none", "all", True),
        ("!=none", "none", False),
        (8, 8, True),
        (8, 8.0, True),
        (True, True, True),
        (True, 1, False),
        (None, None, True),
        ([1, ">32"], 64, True),
        (["a", "b*"], "bc", True),
        ([], 1, False),
        (">32", "64", False),
        (">0", True, False),
    ],
)
def test_a_condition_holds_or_not(condition, value, holds):
    assert Exclusion(conditions={"key": condition}, reason="r").matches({"key": value}) is holds


def test_every_condition_must_hold_and_a_key_that_a_cell_lacks_holds_nothing():
    both = Exclusion(conditions={"a": 1, "b": 2}, reason="r")
    assert both.matches({"a": 1, "b": 2})
    assert not both.matches({"a": 1, "b": 3})
    assert not both.matches({"a": 1})


def test_a_comparison_with_no_number_is_a_mistake():
    with pytest.raises(ConfigError, match="'>many' needs a number"):
        Exclusion(conditions={"a": ">many"}, reason="r").matches({"a": 1})


def test_an_exclusion_without_a_reason_tells_its_conditions():
    (exclusion,) = exclusions([{"hardware": "inf*", "batch": ">32"}])
    assert exclusion.reason == "hardware=inf* batch=>32"
    assert exclusions([{"a": 1, "reason": "too slow"}])[0].reason == "too slow"


@pytest.mark.parametrize("written", ["a", {"a": 1}, ["a"], [{}], [{"reason": "r"}], [[1]]])
def test_what_is_no_exclusion_is_said_how_one_is_written(written):
    with pytest.raises(ConfigError, match=r"^exclude"):
        exclusions(written)


def test_a_condition_on_what_no_cell_has_is_a_mistake():
    exclude = exclusions([{"batch": 1}, {"bacth": 2}])
    with pytest.raises(
        ConfigError, match=r"^exclude\[1\]\.bacth: no cell has this key; did you mean 'batch'\?"
    ):
        refuse_unknown_keys(exclude, {"batch"}, ["model", "batch"])

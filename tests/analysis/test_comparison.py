"""Stored rows of two sides, matched cell by cell."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark import axes
from benchmark.analysis.comparison import compare_rows
from benchmark.errors import ConfigError

FIGURE = "latency_p50_ms"


def row(p50, *, campaign="c", repeat=0, cell="x", **values_of):
    values = {
        "run_id": f"{campaign}-{cell}-{repeat}-{values_of}",
        "campaign": campaign,
        "cell_id": cell,
        "environment_id": "e",
        "repeat": repeat,
        FIGURE: p50,
        **dict.fromkeys(axes.COLUMNS),
        "model": "bert",
        "batch_size": 1,
    }
    return {**values, **values_of}


def compared(base, candidate, *more, threshold=0.02):
    frames = [pd.DataFrame(rows) for rows in (base, candidate, [*base, *candidate, *more])]
    return compare_rows(*frames, FIGURE, threshold)


def test_processes_of_the_same_rounds_are_compared_round_by_round():
    slow = [10.0, 20.0, 15.0, 12.0]  # what slows a round slows both sides
    base = [row(p50, repeat=n, cell="a", compiler="eager") for n, p50 in enumerate(slow)]
    candidate = [row(p50 * 1.05, repeat=n, cell="b", compiler="openvino") for n, p50 in enumerate(slow)]
    (found,) = compared(base, candidate)
    assert found.ratio_test.verdict == "regression"
    assert found.ratio_test.ratio == pytest.approx(1.05)
    assert (found.evidence, found.confirmed, found.ratio_test.rounds) == ("rounds", True, 4)
    assert found.cell["model"] == "bert"
    assert "compiler" not in found.cell


def test_rows_measured_apart_are_inconclusive_without_a_history():
    (found,) = compared([row(10.0, campaign="a")], [row(20.0, campaign="b")])
    assert (found.ratio_test.verdict, found.evidence) == ("inconclusive", "apart")
    assert found.ratio_test.ratio == pytest.approx(2)
    assert not found.confirmed


def test_a_history_of_five_times_makes_a_suspicion_of_it():
    history = [row(p50, campaign=f"n{night}") for night, p50 in enumerate((10.1, 9.9, 10.05, 9.95))]
    base, candidate = [row(10.0, campaign="a")], [row(12.0, campaign="b")]
    (found,) = compared(base, candidate, *history[:3])
    assert found.ratio_test.verdict == "inconclusive"
    (found,) = compared(base, candidate, *history)
    assert (found.ratio_test.verdict, found.confirmed) == ("regression", False)


def test_cells_are_matched_by_what_the_sides_have_in_common():
    base = [row(1.0 * batch, cell=f"a{batch}", compiler="eager", batch_size=batch) for batch in (1, 2)]
    candidate = [
        row(2.0 * batch, cell=f"b{batch}", compiler="openvino", batch_size=batch) for batch in (2, 1)
    ]
    found = compared(base, candidate)
    assert [(one.cell["batch_size"], one.base, one.candidate) for one in found] == [
        (1, pytest.approx(1), pytest.approx(2)),
        (2, pytest.approx(2), pytest.approx(4)),
    ]


def test_sides_without_a_common_cell_are_a_mistake():
    reason = "the sides have no cell in common: batch_size is 1,2 and 4,8: a column that has several"
    with pytest.raises(ConfigError, match=reason):
        compared(
            [row(1.0, cell="a", model="vit", batch_size=1), row(1.0, cell="b", model="vit", batch_size=2)],
            [row(1.0, cell="c", model="bert", batch_size=4), row(1.0, cell="d", model="bert", batch_size=8)],
        )


def test_several_cells_for_one_are_a_mistake():
    base = [row(1.0, cell="a", compiler="eager"), row(1.0, cell="b", compiler="eager")]
    with pytest.raises(
        ConfigError,
        match=r"baseline has 2 cells of equal axes .bert eager b1., so they differ in an option.*cell_id=a",
    ):
        compared(base, [row(1.0, cell="c", compiler="openvino")])


def test_a_run_can_not_be_compared_with_itself():
    same = [row(1.0)]
    with pytest.raises(ConfigError, match="on both sides"):
        compared(same, same)


VALUES = {
    **dict.fromkeys(axes.COLUMNS, ("x", "y", "z", "w")),
    **dict.fromkeys((*axes.SIZES, "replicas", "workers", "threads"), (1, 2, 3, 4)),
    **dict.fromkeys(("pipeline_cores", "tensor_parallel", "data_parallel"), (1, 2, 3, 4)),
}


@pytest.mark.parametrize("axis", axes.COLUMNS)
def test_sides_that_differ_in_one_axis_are_compared_along_it(axis):
    one, other = VALUES[axis][:2]
    (found,) = compared([row(1.0, cell="a", **{axis: one})], [row(2.0, cell="b", **{axis: other})])
    assert found.ratio_test.ratio == pytest.approx(2)
    assert axis not in found.cell


@pytest.mark.parametrize("axis", axes.COLUMNS)
def test_sides_with_the_same_values_of_an_axis_are_compared_value_by_value(axis):
    swapped = "fast_math" if axis == "compiler" else "compiler"

    def side(factor, name):
        return [
            row(factor * (at + 1), cell=f"{name}{at}", **{swapped: name, axis: value})
            for at, value in enumerate(VALUES[axis][:2])
        ]

    found = compared(side(1.0, "a"), side(3.0, "b"))
    assert [(one.cell[axis], one.ratio_test.ratio) for one in found] == [
        (value, pytest.approx(3)) for value in VALUES[axis][:2]
    ]


@pytest.mark.parametrize("axis", axes.COLUMNS)
def test_several_values_of_an_axis_without_a_common_one_are_refused_by_its_name(axis):
    sides = [
        [row(1.0, cell=f"{axis}{value}", **{axis: value}) for value in values]
        for values in (VALUES[axis][:2], VALUES[axis][2:])
    ]
    with pytest.raises(
        ConfigError, match=f"nothing to compare: the sides have no cell in common: {axis} is "
    ):
        compared(*sides)

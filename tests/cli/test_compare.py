"""`compare` as it is typed."""

from __future__ import annotations

import json

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmark.cli.compare import compare
from benchmark.cli.compare_output import MeasuredPair, Output, Taken, _effect, _undecided, show_duel
from benchmark.cli.md_option import WithFile
from benchmark.errors import ConfigError
from benchmark.records import Row
from benchmark.stats.ratio_test import ratio_test
from benchmark.store.results import ResultsStore
from benchmark.timing.interleaved import Side

program = typer.Typer()
program.command(cls=WithFile)(compare)


@pytest.fixture(scope="module")
def root(
    tmp_path_factory,
):
    """A campaign of four rounds in which OpenVINO is 10 % slower, and one of another time."""
    folder = tmp_path_factory.mktemp("compare") / "results"
    shelf = ResultsStore(folder)
    shelf.prepare()
    import datetime as dt

    start = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    usual = {"environment_id": "e", "started_at": start, "finished_at": start, "status": "ok"}
    axes = {"model": "bert", "hardware": "cpu", "fast_math": "none", "batch_size": 1}
    rows = [
        {
            **usual,
            **axes,
            "run_id": f"{compiler}{repeat}",
            "campaign": "rounds",
            "cell_id": compiler,
            "compiler": compiler,
            "repeat": repeat,
            "latency_p50_ms": (10.0 + repeat) * slower,
            "latency_p95_ms": None,
        }
        for compiler, slower in (("eager", 1.0), ("openvino", 1.1))
        for repeat in range(4)
    ]
    rows += [
        {**row, "model": "vit", "campaign": "leap", "latency_p50_ms": row["latency_p50_ms"] / factor}
        | {"run_id": f"vit{row['run_id']}", "cell_id": f"vit{row['cell_id']}"}
        for row, factor in zip(rows, (1, 1, 1, 1, 29, 30, 31, 34), strict=True)
    ]
    rows.append({**rows[0], "run_id": "later0", "campaign": "later"})
    rows.append({**rows[0], "run_id": "page", "campaign": "page", "source": "a page", "latency_p50_ms": 1.0})
    rows.append({**rows[0], "run_id": "imagined", "campaign": "imagined", "simulated": True})
    rows.append({**rows[0], "run_id": "both", "campaign": "rounds", "simulated": True, "repeat": 0})
    shelf.append(*(Row(values=values) for values in rows))
    return folder


@pytest.fixture
def typed(root):
    def ran(*arguments):
        result = CliRunner().invoke(program, [*arguments, "--store", str(root)], standalone_mode=False)
        if result.exception:
            raise result.exception
        return result.return_value, result.stdout

    return ran


def test_a_regression_in_common_rounds_is_exit_code_3(typed):
    code, outcome_text = typed("compiler=eager campaign=rounds", "compiler=openvino")
    assert code == 3
    assert "regression" in outcome_text
    assert "10.0 % slower" in outcome_text
    assert "apart" not in outcome_text


def test_an_improvement_is_exit_code_0(typed):
    code, outcome_text = typed("compiler=openvino", "compiler=eager campaign=rounds")
    assert code == 0
    assert "improvement" in outcome_text


def test_rows_of_different_times_say_so(typed):
    code, outcome_text = typed("rounds", "later")
    assert code == 0
    assert "inconclusive" in outcome_text
    assert "compare --run" in outcome_text


def test_json_carries_every_cell(typed):
    _, outcome_text = typed("compiler=eager campaign=rounds", "compiler=openvino", "--json")
    (one,) = json.loads(outcome_text)
    assert one["cell"]["model"] == "bert"
    assert (one["verdict"], one["rounds"], one["evidence"]) == ("regression", 4, "rounds")


def test_a_run_is_named_by_its_first_characters(typed):
    _, outcome_text = typed("eager0", "openvino0", "--json")
    assert json.loads(outcome_text)[0]["verdict"] == "inconclusive"


def test_a_summary_says_the_verdict_first_and_what_was_measured_how(typed, tmp_path):
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    code, outcome_text = typed("compiler=eager campaign=rounds", "compiler=openvino", "--md", str(file))
    assert code == 3
    assert "regression" in outcome_text
    lines = file.read_text().splitlines()
    assert lines[:2] == ["before", "### compiler=openvino against compiler=eager campaign=rounds"]
    assert lines[3].startswith(
        "**1 of 1 cell is slower: <code>bert cpu none b1</code>: B is 10.0 % slower than A; 99 % interval "
    )
    assert lines[7].startswith(
        "| bert cpu none b1 | 11.45 | 12.59 | 10.0 % slower | 10.0 to 10.0 % | 4 | regression |"
    )
    assert "p50 of a call, geometric means over processes: 4 and 4 a cell" in lines[-2]
    assert "Both have the same commit and versions" in lines[-2]


def test_a_summary_alone_goes_to_standard_output(typed):
    _, outcome_text = typed("rounds", "later", "--md")
    assert outcome_text.startswith(
        "### later against rounds\n\n**No verdict: the comparison is inconclusive.**"
    )


def test_a_confirmed_regression_is_marked_in_a_job(typed, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    _, outcome_text = typed("compiler=eager campaign=rounds", "compiler=openvino")
    mark = (
        "::error title=bert cpu none b1 is slower::"
        "B is 10.0 %25 slower than A; 99 %25 interval 10.0 to 10.0 %25, 4 rounds"
    )
    assert mark in outcome_text.splitlines()
    assert "::error" not in typed("compiler=openvino", "compiler=eager campaign=rounds")[1]


def test_a_summary_whose_file_cannot_be_written_is_a_mistake(typed, tmp_path):
    with pytest.raises(ConfigError, match="Is a directory: name a file that can be written"):
        typed("rounds", "later", "--md", str(tmp_path))


def test_published_rows_are_compared_where_a_condition_names_their_source(typed):
    with pytest.raises(ConfigError, match="page: none of its rows is measured: add source=published"):
        typed("later", "page")
    _, outcome_text = typed("run_id=eager0", "source~page", "--json")
    assert json.loads(outcome_text)[0]["candidate_ms"] == 1.0


def test_simulated_rows_are_never_mixed_with_measured_ones(typed):
    _, outcome_text = typed("compiler=eager campaign=rounds", "compiler=openvino", "--json")
    assert json.loads(outcome_text)[0]["rounds"] == 4
    with pytest.raises(ConfigError, match=r"imagined is simulated and later is not: they can't be compared"):
        typed("later", "imagined")
    _, outcome_text = typed("campaign=rounds", "imagined", "--simulated", "--json")
    assert json.loads(outcome_text)[0]["baseline_ms"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("arguments", "outcome_text"),
    [
        (("nothing", "rounds"), "nothing: no row with status ok"),
        (("rounds", "rounds"), "on both sides"),
        (("rounds", "later", "--percentile", "80"), "--percentile 80: rows have 50, 90, 95, 99"),
        (("rounds", "later", "--percentile", "95"), "no row with status ok and a latency_p95_ms"),
        (("model=bert", "model=vit", "--run", "--percentile", "95"), "--run compares medians"),
    ],
)
def test_mistakes_are_said(typed, arguments, outcome_text):
    with pytest.raises(ConfigError, match=outcome_text):
        typed(*arguments)


def test_sides_take_turns_now(command):
    ran = command(
        *("compare", "--run", "hardware=simulated", "hardware=simulated compiler.call_ms=1.2"),
        *("--pairs", "2", "--json"),
        timeout=120,
    )
    assert ran.returncode == 3, ran.stderr
    outcome_text = json.loads(ran.stdout)
    assert outcome_text["verdict"] == "regression"
    assert outcome_text["ratios"] == pytest.approx([1.7 / 1.5] * 2)
    assert outcome_text["simulated"]
    assert (outcome_text["a_ms"], outcome_text["b_ms"]) == (
        pytest.approx([1.5] * 2),
        pytest.approx([1.7] * 2),
    )
    assert "pair 2 of 2: A 1.50 ms, B 1.70 ms, B / A 1.1333 (" in ran.stderr


def test_a_large_change_is_a_factor_with_its_interval(typed):
    _, outcome_text = typed("model=vit compiler=eager", "model=vit compiler=openvino", "--md", "-")
    (line,) = [line for line in outcome_text.splitlines() if line.startswith("| vit")]
    size, interval = [part.strip() for part in line.split("|")][4:6]
    low, high = (float(bound.removesuffix("x")) for bound in interval.split(" to "))
    assert size == "28 times faster"
    assert low < 28 < high


PAIRS = [MeasuredPair(a_ms=3.0, b_ms=1.0, ratio=1 / 3, seconds=1.0), MeasuredPair(4.0, 1.25, 0.3125, 1.0)]


def test_a_measured_comparison_has_the_milliseconds_of_both_sides(side):
    taken = Taken(ratio_test([one.ratio for one in PAIRS]), PAIRS, (side("a"), side("b")), 0.02)
    assert taken.effect == (
        "B (1.12 ms) is 3.1 times faster than A (3.50 ms); 99 % interval 0.40x to 24x, 2 pairs"
    )


def test_its_summary_names_b_first_as_the_ratio_does(side, capsys):
    sides = (side("eager"), side("openvino"))
    show_duel(Taken(ratio_test([0.5, 0.51]), PAIRS, sides, 0.02), Output(Console(), "-", as_json=False))
    text = capsys.readouterr().out
    assert "### openvino against eager" in text
    assert "| pair | A ms | B ms | B / A |" in text
    assert "| 1 | 3.00 | 1.00 | 0.3333 |" in text


def test_an_interval_without_sense_is_not_printed_as_a_figure():
    """Two rounds of 1.0 and 1.8: the bounds are factors of millions."""
    text = _effect(ratio_test([1.0, 1.8]))
    assert text == "B is 34.2 % slower than A; 99 % interval -100.0 to >100 %, 2 rounds"


@pytest.fixture
def side():
    def made(label):
        return Side(
            label=label,
            cell_id=label,
            environment_id="e",
            versions={},
            git_commit=None,
            cache_hit=None,
            simulated=False,
        )

    return made


@pytest.mark.parametrize(
    ("same", "cells", "sentence"),
    [
        (0, 1, "No verdict: the comparison is inconclusive."),
        (0, 2, "No verdict: both comparisons are inconclusive."),
        (2, 2, "No difference: all 2 cells are the same."),
        (1, 3, "None is known to be slower: 1 of 3 cells is the same, 2 inconclusive."),
    ],
)
def test_without_a_change_the_verdict_says_what_is_known(same, cells, sentence):
    assert _undecided(same, cells) == sentence

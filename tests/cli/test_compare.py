"""`compare` as it is typed."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from benchmark.cli.compare import compare
from benchmark.errors import ConfigError
from benchmark.records import Row
from benchmark.results import ResultsStore

program = typer.Typer()
program.command()(compare)


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
    rows.append({**rows[0], "run_id": "later0", "campaign": "later"})
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
    code, told = typed("compiler=eager campaign=rounds", "compiler=openvino")
    assert code == 3
    assert "regression" in told
    assert "+10.0%" in told
    assert "apart" not in told


def test_an_improvement_is_exit_code_0(typed):
    code, told = typed("compiler=openvino", "compiler=eager campaign=rounds")
    assert code == 0
    assert "improvement" in told


def test_rows_of_different_times_say_so(typed):
    code, told = typed("rounds", "later")
    assert code == 0
    assert "inconclusive" in told
    assert "compare --run" in told


def test_json_carries_every_cell(typed):
    _, told = typed("compiler=eager campaign=rounds", "compiler=openvino", "--json")
    (one,) = json.loads(told)
    assert one["cell"]["model"] == "bert"
    assert (one["verdict"], one["rounds"], one["evidence"]) == ("regression", 4, "rounds")


def test_a_run_is_named_by_its_first_characters(typed):
    _, told = typed("eager0", "openvino0", "--json")
    assert json.loads(told)[0]["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing", "rounds"), "nothing: no rows that are ok"),
        (("rounds", "rounds"), "on both sides"),
        (("rounds", "later", "--percentile", "80"), "--percentile 80: rows have 50, 90, 95, 99"),
        (("rounds", "later", "--percentile", "95"), "no rows that are ok and have a latency_p95_ms"),
        (("model=bert", "model=vit", "--run", "--percentile", "95"), "--run compares medians"),
    ],
)
def test_mistakes_are_told(typed, arguments, told):
    with pytest.raises(ConfigError, match=told):
        typed(*arguments)


def test_sides_take_turns_now(command):
    ran = command(
        *("compare", "--run", "hardware=simulated", "hardware=simulated compiler.call_ms=1.2"),
        *("--pairs", "2", "--json"),
        timeout=120,
    )
    assert ran.returncode == 3, ran.stderr
    told = json.loads(ran.stdout)
    assert told["verdict"] == "regression"
    assert told["ratios"] == pytest.approx([1.7 / 1.5] * 2)
    assert told["simulated"]
    assert "pair 2 of 2" in ran.stderr

"""`lint` as typed: what it prints in 80 columns, its JSON and its exit codes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
import typer
from typer.testing import CliRunner

from benchmark.analysis.lint import RULES
from benchmark.cli.explain import full_id
from benchmark.cli.lint import lint
from benchmark.records import Row
from benchmark.store.results import ResultsStore

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SERIES = [10_000_001, 10_000_003, 10_000_002, 10_000_004, 10_000_001]

program = typer.Typer()
program.command()(lint)


def measured(number: int, **values) -> Row:
    times = {"started_at": START, "finished_at": START + timedelta(minutes=number)}
    identity = {"run_id": f"{number:03}abcdef0{number:07}", "campaign": "c", "cell_id": f"x{number}"}
    axes = {"model": f"m{number}", "hardware": "cpu", "compiler": "eager", "batch_size": 1, "status": "ok"}
    figures = {"latency_p50_ms": 10.0 + number, "samples": 5, "simulated": False, "environment_id": "e"}
    return Row(values={**times, **identity, **axes, **figures, **values})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    store = ResultsStore(tmp_path_factory.mktemp("lint") / "results")
    store.prepare()
    copied = {"latency_p50_ms": 10.000002, "latency_ns": SERIES}
    shuffled = {"latency_p50_ms": 10.000002, "latency_ns": sorted(SERIES)}
    store.append(
        measured(1, **copied, model="bert"),
        measured(2, **copied, model="roberta"),
        measured(3, **shuffled),
        measured(4, hardware="simulated", simulated=True),
        measured(5, campaign="good", first_call_ms=1.0, latency_min_ms=14.0),
        *(measured(number, campaign="many", cosine=float(number)) for number in range(20, 32)),
    )
    return store.paths.root


@pytest.fixture
def typed(root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(program, ["--store", str(root), *arguments])


def test_findings_are_said_by_rule_in_80_columns_with_exit_code_2(typed):
    outcome = typed("campaign=c")
    assert outcome.exit_code == 2
    assert outcome.stdout.splitlines() == [
        "identical series - two different runs have exactly the same figures",
        "  bert cpu eager and roberta cpu eager agree to the last digit in 1 cell (p50",
        "  10.000002 ms), as no two measurements do: one was copied, so run both again",
        "  and remove these",
        "    001abcde 002abcde",
        "",
        "1 finding in 3 rows",
        "simulated rows hidden: 1 (--simulated shows them)",
    ]


def test_the_runs_it_names_are_what_explain_takes(typed, root):
    (line,) = (line for line in typed("campaign=c").stdout.splitlines() if line.startswith("    "))
    assert [full_id(ResultsStore(root), typed_id) for typed_id in line.split()] == [
        "001abcdef00000001",
        "002abcdef00000002",
    ]


def test_notes_alone_leave_the_exit_code_at_0(typed):
    outcome = typed("campaign=good")
    assert outcome.exit_code == 0
    assert outcome.stdout.endswith("no findings, 1 note in 1 row\n")


def test_nothing_wrong_is_said_in_one_line(typed):
    outcome = typed("model=m3")
    assert (outcome.exit_code, outcome.stdout) == (0, "no findings in 1 row\n")


def test_no_rows_are_said_as_such(typed):
    assert typed("model=nix").stdout == "no rows: model=nix isn't in this store; it has 17 others\n"


def test_many_findings_and_long_lists_are_cut(typed):
    lines = typed("campaign=many").stdout.splitlines()
    assert lines[-3] == "  … 12 in all, --json has them"
    assert lines[-1] == "12 findings in 12 rows"


def test_json_has_every_finding_and_the_whole_run_ids(typed):
    outcome = typed("--json", "model=bert,roberta")
    outcome_text = json.loads(outcome.stdout)
    assert outcome.exit_code == 2
    assert outcome_text["rows"] == 2
    ((finding),) = outcome_text["findings"]
    assert (finding["rule"], finding["rows"]) == (
        "identical series",
        ["001abcdef00000001", "002abcdef00000002"],
    )


@pytest.mark.parametrize("asked", [["--simulated"], ["simulated=true"]])
def test_simulated_rows_are_looked_at_when_asked_for(typed, asked):
    assert "hidden" not in typed("model=m4", *asked).stdout


def test_rules_are_listed_with_what_they_mean(typed):
    assert [rule["name"] for rule in json.loads(typed("--rules", "--json").stdout)] == [
        rule.name for rule in RULES
    ]
    lines = typed("--rules").stdout.splitlines()
    assert lines[0] == "identical series             two different runs have exactly the same figures"
    assert max(map(len, lines)) <= 80

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmark.cli import store
from benchmark.cli.results import results
from benchmark.errors import ConfigError, LibraryMissing, StoreError
from benchmark.records import Row
from benchmark.report.display.table import print_rows
from benchmark.store.results import ResultsStore
from benchmark.store.schema import SCHEMA

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
LONG = "distilbert-base-uncased-finetuned-sst-2-english"

program = typer.Typer()
program.command()(results)
program.add_typer(store.app, name="store")


def measured(number: int, **values) -> dict[str, object]:
    times = {"started_at": START, "finished_at": START + timedelta(minutes=number)}
    identity = {"run_id": f"r{number}", "campaign": "c", "cell_id": "x", "environment_id": "e"}
    axes = {"model": "vit", "hardware": "cpu", "compiler": "eager", "fast_math": "none", "batch_size": number}
    figures = {"latency_p50_ms": 12.3456 / number, "latency_p95_ms": 20.0, "throughput_per_s": 12345.6}
    checks = {"cosine": 0.9999905, "cache_hit": True, "status": "ok", "simulated": False}
    return {**identity, **times, **axes, **figures, **checks, **values}


def failed(number: int, status: str, error: str, **values) -> dict[str, object]:
    figures = ("latency_p50_ms", "latency_p95_ms", "throughput_per_s", "cosine", "cache_hit")
    reason = {"status": status, "stage": "plan", "error": error}
    return {**measured(number), **dict.fromkeys(figures), **reason, **values}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "results"
    shelf = ResultsStore(folder)
    shelf.prepare()
    rows = [
        measured(1, latency_ns=[1, 2], framework_versions={"torch": "2.9"}, noise_flags=["a|b"]),
        measured(2, model=LONG, sequence_length=128),
        measured(3, simulated=True),
        failed(4, "unavailable", "no Neuron device [here]\nsecond line", hardware="inf2"),
        failed(5, "unavailable", "no Neuron device [here]\nother line", hardware="inf2"),
        failed(6, "unsupported_op", "aten::roll", model=LONG),
    ]
    for values in rows:
        shelf.append(Row(values=values))
    shelf.compact()
    return folder


@pytest.fixture
def typed(root):
    """Type `results`, and get what it prints."""

    def typed(*arguments: str) -> str:
        outcome = CliRunner().invoke(program, ["results", "--store", str(root), *arguments])
        if outcome.exception:
            raise outcome.exception
        return outcome.stdout

    return typed


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_the_table_fits_80_columns_and_keeps_statuses_whole(typed):
    text = typed()
    assert max(map(len, lines(text))) <= 80
    assert "unsupported_op" in text


def test_the_table_says_once_what_its_rows_share(typed):
    shown = lines(typed("hardware=inf2"))
    assert shown == [
        "2 rows, all with model=vit, hardware=inf2, compiler=eager and fast_math=none",
        "batch status",
        "    4 unavailable",
        "    5 unavailable",
        "2 x unavailable at plan: no Neuron device [here]",
    ]


def test_one_row_is_shown_with_three_significant_digits(typed):
    head, units, row, noisy, hidden = lines(typed("run_id=r1,r3"))
    assert head.split() == ["p50", "p95"]
    assert units == "model hardware compiler math batch   ms   ms per s   cosine status"
    assert noisy.startswith("noisy: other load or throttling disturbed the calls")
    assert row.split() == [
        "vit",
        "cpu",
        "eager",
        "none",
        "1",
        "12.3",
        "20.0",
        "12346",
        "0.999990",
        "noisy",
    ]
    assert hidden == "simulated rows hidden: 1 (--simulated shows them)"


@pytest.mark.parametrize("asked", [["--simulated"], ["simulated=true"], ["simulated!=false"]])
def test_simulated_rows_are_shown_when_asked_for(typed, asked):
    assert "r3" in typed(*asked, "--columns", "run_id")


def test_rows_are_sorted_and_limited(typed):
    def runs(*arguments: str) -> list[str]:
        return [row["run_id"] for row in json.loads(typed("--json", *arguments))]

    assert runs() == ["r1", "r2", "r4", "r5", "r6"]
    assert runs("--desc") == ["r6", "r5", "r4", "r2", "r1"]
    assert runs("--limit", "2") == ["r5", "r6"]
    assert runs("--sort", "latency_p50_ms") == ["r2", "r1", "r4", "r5", "r6"]
    assert runs("--sort", "batch", "--desc", "--limit", "2") == ["r6", "r5"]


def test_json_carries_every_column(typed):
    first, *_ = json.loads(typed("--json"))
    assert list(first) == SCHEMA.names
    assert first["latency_ns"] == [1, 2]
    assert first["framework_versions"] == {"torch": "2.9"}
    assert first["sequence_length"] is None
    assert first["finished_at"] == "2026-01-01T00:01:00.000000Z"
    assert json.loads(typed("--json", "model=none")) == []


def test_csv_carries_every_column_with_lists_as_json(typed):
    first, *_ = csv.DictReader(io.StringIO(typed("--csv")))
    assert list(first) == SCHEMA.names
    assert json.loads(first["latency_ns"]) == [1, 2]
    assert first["batch_size"] == "1"
    assert first["stage"] == ""


def test_markdown_escapes_what_would_end_a_cell(typed):
    assert lines(typed("batch=1", "--md", "--columns", "model,batch,noise_flags")) == [
        "| model | batch_size | noise_flags |",
        "| --- | --- | --- |",
        "| vit | 1 | a\\|b |",
    ]


def test_all_columns_stand_below_each_other(typed):
    shown = lines(typed("batch=1", "--all-columns"))
    assert "framework_versions torch=2.9" in shown
    assert "latency_ns         1, 2" in shown
    assert max(map(len, shown)) <= 80


def test_sql_asks_the_chosen_rows(typed):
    query = "select model, count(*) as n, max(finished_at) as last from results group by 1 order by 2 desc"
    assert [line.split()[-3:] for line in lines(typed("--sql", query, "batch!=6"))][:2] == [
        ["model", "n", "last"],
        ["3", "2026-01-01", "00:05:00"],
    ]
    assert json.loads(typed("--json", "--sql", "select 1 as a, 'x' as b")) == [{"a": 1, "b": "x"}]


def test_no_rows_are_said_to_be_none(typed):
    assert typed("model=none").startswith("no rows")


NOTHING = (
    "no rows: model=nothing isn't in this store; it has distilbert-base-uncased-finetuned-sst-2-english, vit"
)


@pytest.mark.parametrize("form", ["--csv", "--json", "--md", "--each"])
@pytest.mark.parametrize("more", [[], ["--all-columns"], ["--columns", "started_at,latency_ns"]])
def test_an_empty_answer_has_a_header_in_every_form(typed, form, more):
    first, *rest = typed("model=nothing", form, *more).splitlines()
    if form == "--csv":
        assert first.startswith(("schema_version,", "started_at,latency_ns"))
        assert not rest
    elif form == "--md":
        assert first.startswith("| ")
        assert len(rest) == 1
    else:
        words = {"--json": "[]", "--each": NOTHING}
        assert first == words[form]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (["model=vitt"], "no rows: model=vitt isn't in this store; did you mean 'vit'?"),
        (["model=vit", "batch>1000"], "no rows: use fewer conditions or another --store"),
    ],
)
def test_an_empty_answer_names_the_value_that_no_row_has(typed, condition, words):
    assert typed(*condition, "--each").splitlines()[0] == words


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["modle=vit"], "there is no column modle: did you mean 'model'\\?"),
        (["--sort", "latency_p95"], "did you mean 'latency_p95_ms'\\?"),
        (["--columns", "run_id,statsu"], "did you mean 'status'\\?"),
        (["--sort", "latency_ns"], "a column of lists can't be sorted by"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
        (["--sql", "select nope from results"], '--sql: Binder Error: .*"nope"'),
        (["--sql", "select 1", "--limit", "1"], "--sql excludes --sort"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(typed, arguments, complaint):
    with pytest.raises(ConfigError, match=complaint) as refusal:
        typed(*arguments)
    assert "\n" not in str(refusal.value)


def test_sql_without_duckdb_says_how_to_install_it(typed, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(LibraryMissing, match="pip install duckdb"):
        typed("--sql", "select 1")


def test_a_store_that_is_not_there_is_named(typed, tmp_path):
    with pytest.raises(StoreError, match=f"no results at {tmp_path}/none"):
        typed("--store", str(tmp_path / "none"))


def test_names_longer_than_the_terminal_are_folded_and_figures_are_not():
    names = [LONG, "vision-encoder-decoder-with-a-long-name"]
    rows = [
        measured(n, model=names[n // 3], hardware=f"inf2.{n}xlarge", compiler="onnxruntime")
        for n in range(1, 5)
    ]
    rows.append(failed(128, "unsupported_op", "x" * 200, sequence_length=512, fast_math="matmult"))
    page = io.StringIO()
    print_rows(pd.DataFrame(rows), console=Console(width=80, file=page))
    shown = lines(page.getvalue())
    assert max(map(len, shown)) <= 80
    assert sum("12346 0.999990 ok" in line for line in shown) == 4
    assert sum(line.endswith("unsupported_op") for line in shown) == 1
    assert sum(line.startswith("disti") for line in shown) == 1, "a name that is as above is not repeated"


def test_a_terminal_gets_colour_unless_it_asks_for_none(monkeypatch):
    def printed() -> str:
        page = io.StringIO()
        print_rows(pd.DataFrame([measured(1)]), console=Console(width=80, file=page, force_terminal=True))
        return page.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32mok" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in printed()


def test_store_compact_says_what_it_did(tmp_path):
    folder = tmp_path / "results"
    shelf = ResultsStore(folder)
    shelf.prepare()
    shelf.append(Row(values=measured(1)))
    shelf.append(Row(values=measured(2)))
    arguments = ["store", "compact", "--store", str(folder)]
    assert CliRunner().invoke(program, arguments).stdout == f"merged 2 files at {folder}\n"
    outcome = CliRunner().invoke(program, [*arguments, "--json"])
    assert json.loads(outcome.stdout) == {"store": str(folder), "merged_files": 0}

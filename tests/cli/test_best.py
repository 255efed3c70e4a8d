"""`best`: what it prints of stored rows, and with which exit code."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from functools import cache

import pytest
import typer
from typer.testing import CliRunner

from benchmark.cli import price_options
from benchmark.cli.best import best
from benchmark.errors import ConfigError
from benchmark.records import Row
from benchmark.store.results import ResultsStore

START = datetime(2026, 11, 24, tzinfo=timezone.utc)
HOSTILE = "<b>x</b>|\x1b[31m*y*"

program = typer.Typer()
program.command()(best)


def row(number, batch, p95, **values):
    identity = {"run_id": f"r{number}", "campaign": "c", "cell_id": f"x{number}", "environment_id": "e"}
    times = {"started_at": START, "finished_at": START + timedelta(minutes=number)}
    work = {"model": "vit", "task": "image-classification", "image_size": 224, "throughput_unit": "images"}
    setup = {"hardware": "inf2", "instance_type": "inf2.xlarge", "compiler": "neuronx", "fast_math": "none"}
    figures = {"latency_p95_ms": p95, "latency_p95_ms_lo": p95 * 0.99, "latency_p95_ms_hi": p95 * 1.01}
    figures |= {
        "throughput_per_s": 1000 * batch / p95,
        "batch_size": batch,
        "steady": True,
        "noise_flags": [],
    }
    usual = {**identity, **times, **work, **setup, **figures, "status": "ok", "simulated": False}
    return Row(values={**usual, **values})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("best") / "results"
    shelf = ResultsStore(folder)
    shelf.prepare()
    texts = {"task": "fill-mask", "image_size": None, "throughput_unit": "items"}
    shelf.append(
        *(
            row(number, batch, p95)
            for number, (batch, p95) in enumerate([(1, 4.0), (2, 5.0), (4, 7.8), (8, 15.0)])
        ),
        row(10, 16, 99.0, status="oom_device", throughput_per_s=None, latency_p95_ms=None),
        row(11, 32, 1.0, simulated=True, hardware="simulated"),
        row(12, 64, 1.0, source="published"),
        row(13, 1, 31.0, model="resnet", instance_type=None, hardware="cpu", hostname="here"),
        *(row(20 + seq, 1, seq / 8, model="bert", sequence_length=seq, **texts) for seq in (8, 128)),
        row(40, 1, 3.0, model=HOSTILE, compiler=HOSTILE),
    )
    return folder


@cache
def basis(*words):
    """Hydra needs a fifth of a second for each."""
    return price_options.basis(words)


@pytest.fixture
def typed(root, monkeypatch):
    """Type `best`, and get its exit code and what it prints."""
    monkeypatch.setattr("benchmark.cli.best.basis", lambda words: basis(*words))

    def typed(*arguments):
        outcome = CliRunner().invoke(program, ["--store", str(root), *arguments], env={"COLUMNS": "80"})
        if outcome.exception and not isinstance(outcome.exception, SystemExit):
            raise outcome.exception
        return outcome.exit_code, outcome.stdout

    return typed


def test_one_work_is_said_with_its_front_and_the_price_basis(typed):
    code, text = typed("model=vit", "--p95-ms", "8", "price.as_of=2024-09-16")
    assert code == 0
    assert "the cheapest within p95 <= 8 ms is batch 4, inf2.xlarge, neuronx: p95 7.80 ms" in text
    (line,) = (line for line in text.splitlines() if line.startswith(">"))
    assert line.split() == [">", "inf2.xlarge", "neuronx", "4", "7.80", "513", "0.411", "yes"]
    assert "on-demand, us-east-1, published by 2024-09-16, Linux; inf2.xlarge $0.7582/h (2024-08-26)." in text


def test_what_is_left_out_is_counted(typed):
    _, text = typed("model=vit")
    assert text.splitlines()[-3:] == [
        "published rows hidden: 1 (--published shows them)",
        "simulated rows hidden: 1 (--simulated shows them)",
        "left out: 1 failed cell (1 oom_device)",
    ]


@pytest.mark.parametrize(
    ("words", "origin"),
    [(["--simulated"], "simulated"), (["--published"], "published"), (["source=published"], "published")],
)
def test_rows_that_were_not_measured_are_marked_when_they_are_asked_for(typed, words, origin):
    _, text = typed("model=vit", *words)
    assert f", neuronx, {origin}: p95 1.00 ms" in text
    assert any(line.startswith(">") and line.rstrip().endswith(origin) for line in text.splitlines())


def test_no_cell_within_the_limits_is_exit_code_2(typed):
    code, text = typed("model=vit", "--p95-ms", "2")
    assert code == 2
    assert "no cell within p95 <= 2 ms" in text
    assert "! the lowest p95 is 4 ms: batch 1, inf2.xlarge, neuronx" in text


def test_no_row_is_a_mistake_as_for_other_verbs(typed):
    with pytest.raises(ConfigError, match="no rows: model=nothing isn't in this store; it has"):
        typed("model=nothing")


def test_rows_of_which_none_is_ok_are_a_mistake_that_counts_them(typed):
    with pytest.raises(ConfigError, match="no row that matches is ok: 1 oom_device"):
        typed("status=oom_device")


def test_a_work_without_an_answer_is_one_line_below_those_with_one(typed):
    _, text = typed("batch=1,2", "model=vit,bert", "--p95-ms", "6")
    assert text.startswith("bert, fill-mask, sequence length 8: the cheapest within p95 <= 6 ms is")
    assert text.index("vit, image") < text.index("bert, fill-mask, sequence length 128")
    (line,) = (line for line in text.splitlines() if "length 128" in line)
    assert line.startswith(
        "bert, fill-mask, sequence length 128: no cell within p95 <= 6 ms (the lowest p95 is 16 ms"
    )


def test_a_note_on_all_works_is_printed_once(typed):
    _, text = typed("model=vit,bert", "price.as_of=2010-01-01")
    assert text.count("> = chosen") == 3
    assert text.count("! no cell has a price, so the fastest is chosen, not the cheapest\n") == 1


def test_many_works_are_a_line_each_that_fits_80_columns(typed):
    code, text = typed("--p95-ms", "8")
    assert code == 0
    assert text.startswith(
        "5 kinds of work (model, task, size): the cheapest cell of each within p95 <= 8 ms\n"
    )
    lines = {" ".join(line.split()[:2]): line for line in text.splitlines()}
    assert lines["bert s8"].split()[2:] == ["inf2.xlarge", "neuronx", "1", "1.00", "1000", "items", "0.211"]
    assert lines["bert s128"].split()[2:] == ["none", "items"]
    assert max(len(line) for line in text.splitlines()[1:8]) <= 80
    assert "! bert, fill-mask, sequence length 128: the lowest p95 is 16 ms" in text


def test_a_limit_on_lines_keeps_the_chosen_one(typed):
    _, text = typed("model=vit", "--limit", "1", "--md")
    assert [line[:20] for line in text.splitlines() if "neuronx |" in line] == [
        "|  | inf2.xlarge | n",
        "| &gt; | inf2.xlarge",
    ]


def test_a_machine_without_a_price_is_answered_with_the_fastest(typed):
    code, text = typed("hardware=cpu", "--cheapest")
    assert code == 0
    assert "the fastest is batch 1, cpu" in text
    assert "1 row has no instance_type, so no cost (cpu on here): set hardware.instance_type=" in text


def test_a_fleet_is_said_with_its_rule(typed):
    _, text = typed("model=vit", "--requests-per-s", "1000", "--utilisation", "0.5")
    assert "4 machines for $2,214 a month" in text
    assert "a request is one item; each machine runs at 50% of its measured throughput; 730 h a month" in text


def test_json_has_all_of_it(typed):
    code, text = typed("model=vit", "--p95-ms", "8", "--requests-per-s", "100", "--json", "price=reserved")
    found = json.loads(text)
    assert code == 0
    assert found["price"] == {"kind": "reserved", "region": "us-east-1", "as_of": None}
    assert found["limits"]["p95_ms"] == 8
    assert found["left_out"] == {"published": 1, "simulated": 1}
    assert found["failed"] == {"oom_device": 1}
    (answer,) = found["answers"]
    assert answer["work"]["model"] == "vit"
    assert answer["chosen"]["run_id"] == "r0"
    assert [cell["machines"] for cell in answer["front"]] == [1]
    assert answer["front"][0]["price_region"] == "not stated"
    assert "region not stated" in found["basis"][0]


def test_names_from_outside_are_harmless(typed):
    _, plain = typed("batch=1", "image_size=224", "model!=vit,resnet")
    assert "\x1b" not in plain
    assert "<b>x</b>|*y*" in plain
    _, text = typed("batch=1", "image_size=224", "model!=vit,resnet", "--md")
    assert "\x1b" not in text
    assert "&lt;b&gt;x&lt;/b&gt;\\|\\*y\\*" in text


@pytest.mark.parametrize(
    ("words", "outcome_text"),
    [
        (["--fastest", "--cheapest"], "--fastest and --cheapest exclude each other"),
        (["--json", "--md"], "--json and --md exclude each other"),
        (["--p95-ms", "0"], "--p95-ms 0: must be above 0"),
        (["--utilisation", "1.5"], "--utilisation 1.5: must be from 0 to 1"),
        (["--accuracy-floor", "80"], "--accuracy-floor 80: must be from 0 to 1"),
        (["price=free"], "price=free: there is no such price"),
        (["modle=vit"], "there is no column modle"),
    ],
)
def test_what_can_not_be_meant_is_refused(typed, words, outcome_text):
    with pytest.raises(ConfigError) as refused:
        typed(*words)
    assert str(refused.value).startswith(outcome_text)

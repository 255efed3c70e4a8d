"""`explain`: one run in 80 columns or as JSON, found by the first characters of its identity."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timedelta, timezone

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmark.cli.explain import explain
from benchmark.errors import ConfigError, StoreError
from benchmark.records import Row
from benchmark.report.display.explanation import explain as work_out
from benchmark.report.display.explanation import print_run
from benchmark.store.results import ResultsStore
from benchmark.store.schema import SCHEMA

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
STAGES = {
    "wait": 1.0,
    "build": 0.5,
    "compile": 4.0,
    "measure": 2.0,
    "verify": 0.5,
    "measure.load": 0.25,
    "measure.warmup": 0.5,
    "measure.calls": 1.0,
}
CONFIG = {
    "batch": 1,
    "campaign": "a",
    "run": "missing",
    "output_folder": "outputs/a",
    "store": {"root": "x"},
    "cache": {"root": "y"},
    "limits": {"memory_gib": None},
    "verify": {"min_cosine": {"none": 0.999, "all": 0.95}},
}

program = typer.Typer()
program.command()(explain)


def measured(run_id: str, minute: int = 0, **values) -> dict[str, object]:
    started = START + timedelta(minutes=minute)
    times = {"started_at": started, "finished_at": started + timedelta(seconds=10), "stage_seconds": STAGES}
    identity = {"run_id": run_id, "campaign": "a", "cell_id": "x", "environment_id": "e"}
    what = {"model": "bert", "weights": "random", "parameters": 109483778, "task": "text-classification"}
    where = {
        "hardware": "cpu",
        "device_name": "Xeon",
        "cores": 4,
        "threads": 2,
        "instance_type": "c6i.2xlarge",
    }
    how = {
        "compiler": "eager",
        "fast_math": "none",
        "compiler_flags": ["a=1", "b=2"],
        "config": json.dumps(CONFIG),
    }
    axes = {"batch_size": 4, "sequence_length": 128, "scenario": "latency", "replicas": 1, "workers": 1}
    arithmetic = {"model_dtype": "fp32", "matmul_dtype": "bf16", "other_dtype": "fp32", "autocast": "none"}
    latency = {
        "latency_p50_ms": 10.0,
        "latency_p50_ms_lo": 9.5,
        "latency_p50_ms_hi": 10.5,
        "latency_p95_ms": 12.0,
    }
    counted = {"samples": 30, "warmup_calls": 5, "throughput_per_s": 400.0, "throughput_unit": "items"}
    checks = {"cosine": 0.9999905, "cache_hit": False, "compile_s": 3.5, "status": "ok", "simulated": False}
    source = {"git_commit": "0123456789abcdef", "git_dirty": False, "hostname": "here", "os": "Linux 6"}
    library = {"framework_versions": {"torch": "2.9"}, "environment_variables": {}}
    return {
        **identity,
        **times,
        **what,
        **where,
        **how,
        **axes,
        **arithmetic,
        **latency,
        **counted,
        **checks,
        **source,
        **library,
        **values,
    }


def failed(run_id: str, minute: int = 0, **values) -> dict[str, object]:
    figures = [name for name in measured("x") if name.startswith(("latency", "throughput"))]
    absent = dict.fromkeys([*figures, "samples", "warmup_calls", "cosine", "compile_s", "cache_hit"])
    reason = {
        "status": "crashed",
        "stage": "compile",
        "error": "no [red] memory\nsecond line",
        "log_path": "a/b.log",
    }
    return {**measured(run_id, minute), **absent, **reason, **values}


@pytest.fixture
def shelved(tmp_path):
    """Put rows into a store."""
    shelf = ResultsStore(tmp_path / "results")
    shelf.prepare()

    def put(*rows):
        for values in rows:
            shelf.append(Row(values=values))

    return put


@pytest.fixture
def typed(tmp_path):
    """Type `explain`, and get the lines it prints."""

    def asked(*arguments: str) -> list[str]:
        environment = {"COLUMNS": "80"}
        store = ["--store", str(tmp_path / "results")]
        outcome = CliRunner().invoke(program, [*arguments, *store], env=environment)
        if outcome.exception:
            raise outcome.exception
        return [line.rstrip() for line in outcome.stdout.splitlines()]

    return asked


def differences(before: dict[str, object], after: dict[str, object]) -> dict[str, list[tuple[object, ...]]]:
    """What `explain` finds, by section; those in which it finds nothing are left out."""
    outcome_text = work_out(Row(values=after), Row(values=before))
    found = {
        section: [(one.name, one.before, one.after, one.relative_change) for one in changed]
        for section, changed in outcome_text.differences.items()
    }
    return {section: changed for section, changed in found.items() if changed}


def test_a_run_is_said_from_what_ran_to_what_differs(typed, shelved):
    config = {**CONFIG, "batch": 2, "campaign": "b", "verify": {"min_cosine": {"none": 0.9999, "all": 0.95}}}
    shelved(
        measured("aaaa0"),
        measured(
            "aaaa1",
            1,
            campaign="b",
            framework_versions={"torch": "2.10"},
            git_dirty=True,
            config=json.dumps(config),
            latency_p50_ms=10.81,
            cache_hit=True,
        ),
    )
    assert typed("aaaa1") == [
        "run aaaa1: ok",
        "",
        "what ran",
        "  model        bert, weights random, parameters 109483778",
        "  task         text-classification",
        "  hardware     cpu",
        "  device       Xeon, cores 4, threads 2",
        "  instance     c6i.2xlarge",
        "  compiler     eager, fast_math none",
        "  flags        a=1 b=2",
        "  arithmetic   weights fp32, matmul bf16, other fp32, autocast none",
        "  input        batch 4, sequence length 128",
        "  scenario     latency, replicas 1, workers 1",
        "  campaign     b",
        "  when         2026-01-01 00:01:00 UTC, for 10.0 s",
        "  program      0123456789 with uncommitted changes",
        "",
        "results",
        "  p50          10.8 ms (9.50 … 10.5)",
        "  p95          12.0 ms",
        "  throughput   400 items/s",
        "  cosine       0.999990",
        "  samples      30 after 5 of warm-up",
        "  compiled     in 3.50 s by an earlier run, now from the cache",
        "",
        "time by stage: 10.000 s in total",
        "  wait      1.000 s  10%  ██",
        "  build     0.500 s   5%  █",
        "  compile   4.000 s  40%  ████████",
        "  measure   2.000 s  20%  ████",
        "    load    0.250 s   3%",
        "    warmup  0.500 s   5%  █",
        "    calls   1.000 s  10%  ██",
        "    rest    0.250 s   2%",
        "  verify    0.500 s   5%  █",
        "  rest      2.000 s  20%  ████",
        "",
        "what differs from the previous run of this cell",
        "  compared     aaaa0 of campaign a, 2026-01-01 00:00:00 UTC, ok",
        "  environment  framework_versions.torch: 2.9 → 2.10",
        "  program      git_dirty: no → yes",
        "  settings     batch: 1 → 2",
        "               verify.min_cosine.none: 0.999 → 0.9999",
        "  outcome      latency_p50_ms: 10.0 → 10.8 (+8.1 %)",
        "               cache_hit: no → yes",
    ]


def test_a_failed_run_says_why_where_and_in_which_log(typed, shelved):
    shelved(failed("aaaa0", stage_seconds={"plan": 1.0, "compile": 9.0}))
    shown = typed("aaaa0")
    assert shown[0] == "run aaaa0: crashed at compile"
    assert [line for line in shown if line.startswith(("  error", "  log", "  latency"))] == [
        "  error        no [red] memory",
        "  log          a/b.log",
        "  latency      none: only runs with status ok keep latencies",
    ]
    assert shown[shown.index("time by stage: 10.000 s in total") + 1 :][:3] == [
        "  plan     1.000 s  10%  ██",
        "  compile  9.000 s  90%  ██████████████████",
        "  rest     0.000 s   0%",
    ]


def test_a_cell_that_ran_once_has_nothing_to_differ_from(typed, shelved):
    shelved(measured("aaaa0"), measured("aaaa1", 1), measured("bbbb0", cell_id="y"))
    nothing = [
        "what differs from the previous run of this cell",
        "  nothing      there is no such run in the store",
    ]
    assert typed("aaaa0")[-2:] == nothing
    assert typed("bbbb0")[-2:] == nothing


def test_the_previous_run_is_the_one_of_the_cell_that_was_stored_before(typed, shelved):
    rows = [measured(f"aaaa{minute}", minute) for minute in (3, 0)]
    shelved(*rows, measured("aaaa9", 1, cell_id="y"), measured("aaaa2", 2))
    assert json.loads(typed("aaaa2", "--json")[-1])["previous"]["run_id"] == "aaaa0"
    assert json.loads(typed("aaaa3", "--json")[-1])["previous"] is None


@pytest.mark.parametrize(
    ("source", "outcome_text"),
    [
        ({}, "environment, program, settings, outcome"),
        (
            {"git_commit": None, "git_dirty": None},
            "environment, program (as far as known: there is no commit),",
        ),
        ({"git_dirty": True}, "environment, program (as far as known: both had uncommitted"),
    ],
)
def test_what_is_the_same_is_said_to_be_as_far_as_that_is_known(typed, shelved, source, outcome_text):
    shelved(measured("aaaa0", **source), measured("aaaa1", 1, **source))
    assert f"  the same     {outcome_text}" in typed("aaaa1")


def test_stages_of_any_name_are_said_and_the_rest_is_never_below_zero():
    outcome_text = work_out(
        Row(values=measured("r", stage_seconds={"measure.load": 4.0, "upload": 16.0})), None
    )
    assert [(stage.name, stage.seconds, stage.share) for stage in outcome_text.stages] == [
        ("measure.load", 4.0, 0.2),
        ("upload", 16.0, 0.8),
        ("rest", 0.0, 0.0),
    ]


def test_parts_add_up_to_their_whole_and_percents_to_100():
    stages = {"build": 13.8, "wait": 12.2, "measure": 43.0, "verify": 1 / 3, "measure.load": 3.0}
    stages |= {"measure.start": 0.7, "measure.first_call": 0.5, "measure.retries": 29.0, "measure.calls": 8.8}
    outcome_text = work_out(Row(values=measured("r", stage_seconds=stages | {"rest": 0.1})), None)
    seconds = {stage.name: stage.seconds for stage in outcome_text.stages}
    parts = {name: spent for name, spent in seconds.items() if "." in name}
    assert sum(parts.values()) == pytest.approx(seconds["measure"])
    assert parts["measure.rest"] == pytest.approx(1.0)
    total = sum(spent for name, spent in seconds.items() if name not in parts)
    assert total == pytest.approx(13.8 + 12.2 + 43.0 + 1 / 3 + 0.1)
    console = Console(width=80, file=io.StringIO())
    print_run(outcome_text, console=console)
    shown = console.file.getvalue()
    assert f"time by stage: {total:.3f} s in total" in shown
    percents = re.findall(r"^  ( *)\S+ +[\d.]+ s +(\d+)%", shown, re.MULTILINE)
    of_parts = [int(percent) for indent, percent in percents if indent]
    of_wholes = [int(percent) for indent, percent in percents if not indent]
    assert sum(of_wholes) == 100
    assert sum(of_parts) == round(100 * 43.0 / total)


def test_what_a_simulated_clock_said_is_no_share_of_the_time(typed, shelved):
    shelved(measured("aaaa0", simulated=True))
    shown = typed("aaaa0")
    assert "    calls   1.000 s" in shown
    assert not any("rest" in line for line in shown[shown.index("    load    0.250 s") :][:3])
    assert "  parts without a share: measured by the clock of the simulated device" in shown
    assert "  hardware     cpu, nothing was measured" in shown


def test_what_changed_is_said_with_its_relative_change():
    before = measured("a", environment_variables={"OMP_NUM_THREADS": "4"}, driver_version="1")
    after = measured("b", hostname="there", latency_p95_ms=9.0, status="accuracy_fail", cosine=-0.5)
    assert differences(before, after) == {
        "environment": [
            ("driver_version", "1", None, None),
            ("hostname", "here", "there", None),
            ("environment_variables.OMP_NUM_THREADS", "4", None, None),
        ],
        "outcome": [
            ("status", "ok", "accuracy_fail", None),
            ("latency_p95_ms", 12.0, 9.0, -0.25),
            ("cosine", 0.9999905, -0.5, pytest.approx(-1.5, abs=1e-4)),
        ],
    }


def test_figures_that_differ_by_rounding_alone_are_the_same():
    assert differences(measured("a", throughput_per_s=0.1 + 0.2), measured("b", throughput_per_s=0.3)) == {}


def test_settings_are_compared_by_leaf_and_places_are_none_of_them():
    places = {
        "campaign": "b",
        "run": "all",
        "output_folder": "o",
        "store": {"root": "s"},
        "cache": {"root": "c"},
    }
    then, now = {**CONFIG, "gone": {"a": [1]}}, {**CONFIG, **places, "limits": {"memory_gib": 8.5}}
    found = differences(measured("a", config=json.dumps(then)), measured("b", config=json.dumps(now)))
    assert found == {"settings": [("limits.memory_gib", None, 8.5, None), ("gone.a", [1], None, None)]}


def test_an_imported_row_has_no_settings_to_compare():
    assert differences(measured("a", config=None), measured("b", config="{}")) == {}
    assert differences(measured("a", config=None), measured("b")) == {
        "settings": [("config", "not recorded", "4 keys", None)]
    }


def test_a_run_is_found_by_its_first_characters(typed, shelved):
    shelved(measured("abcd0123"), measured("abce0123"), measured("r1"))
    assert typed("abcd")[0] == "run abcd0123: ok"
    assert typed("abce0123")[0] == "run abce0123: ok"
    assert typed("r1")[0] == "run r1: ok"


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("abc", r"^run abc: too short: give at least 4 characters$"),
        ("abce", r"^there is no run abce at .*results --simulated.* lists them, or choose another --store$"),
        ("abcd", r"^run abcd can be any of abcd0, abcd1, abcd2, abcd3, abcd4, … 6 in all: give more of its"),
        (".*..", r"^there is no run \.\*\.\. at "),
    ],
)
def test_what_names_no_run_or_several_is_refused_in_one_line(typed, shelved, asked, complaint):
    shelved(*(measured(f"abcd{number}") for number in range(6)))
    with pytest.raises(ConfigError, match=complaint) as refusal:
        typed(asked)
    assert "\n" not in str(refusal.value)


def test_a_store_that_is_not_there_is_named(typed, tmp_path):
    with pytest.raises(StoreError, match=f"no results at {tmp_path}/results"):
        typed("aaaa")


def test_json_is_one_line_with_both_rows_as_results_spells_them(typed, shelved):
    shelved(measured("aaaa0", cosine=float("nan")), measured("aaaa1", 1, latency_ns=[1, 2]))
    (line,) = typed("aaaa1", "--json")
    outcome_text = json.loads(line)
    assert list(outcome_text) == ["run", "stages", "previous", "differences"]
    assert list(outcome_text["run"]) == [name for name in SCHEMA.names if name != "latency_ns"]
    assert outcome_text["run"]["started_at"] == "2026-01-01T00:01:00.000000Z"
    assert outcome_text["run"]["framework_versions"] == {"torch": "2.9"}
    assert outcome_text["previous"]["cosine"] is None
    assert outcome_text["stages"][0] == {"name": "wait", "seconds": 1.0, "share": 0.1}
    assert outcome_text["differences"] == {
        "environment": [],
        "program": [],
        "settings": [],
        "outcome": [{"name": "cosine", "before": None, "after": 0.9999905, "relative_change": None}],
    }


def test_json_of_a_run_without_a_previous_one_has_nulls(typed, shelved):
    shelved(measured("aaaa0"))
    outcome_text = json.loads(typed("aaaa0", "--json")[-1])
    assert (outcome_text["previous"], outcome_text["differences"]) == (None, {})


def test_long_values_are_folded_at_80_columns(typed, shelved):
    many = {"compiler_flags": [f"--a-long-flag={number}" for number in range(30)], "model": "m" * 200}
    shelved(
        measured("aaaa0", os="o" * 100), measured("aaaa1", 1, **many, os="p" * 100, noise_flags=["drift"])
    )
    shown = typed("aaaa1")
    assert max(map(len, shown)) <= 80
    assert "  doubts       drift" in shown


def test_a_run_of_ones_own_can_be_explained(typed, simulated, run_cells, tmp_path):
    places = [f"store.root={tmp_path}/results"]
    (row,) = run_cells(simulated(*places))
    shown = typed(row["run_id"][:8])
    assert shown[0] == f"run {row['run_id']}: ok"
    assert "  p50          1.50 ms (1.50 … 1.50)" in shown

"""`nightly` on stores of made-up nights; suspects are measured anew on the simulated device."""

from __future__ import annotations

import json
import math
import random
import sys
from datetime import datetime, timedelta, timezone

import pytest
import typer
from typer.testing import CliRunner

from benchmark.analysis import nights as nightly_nights
from benchmark.cell import cell_of
from benchmark.cli.nightly import app
from benchmark.cli.nightly.output import _bounds
from benchmark.errors import ConfigError
from benchmark.records import Row
from benchmark.stats.regression_detector import Finding
from benchmark.store.results import ResultsStore
from tests.cli.builds import SLOWER, executable

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
BATCHES = range(1, 11)
NIGHTS = 12


@pytest.fixture
def slower(tmp_path):
    return executable(tmp_path / "python", SLOWER)


@pytest.fixture
def nights(simulated, tmp_path):
    """A store of twelve nights of ten series; on the last one batch 3 was 10 % slower."""
    spread = random.Random(0)  # noqa: S311 - no secret
    rows = []
    cells = {batch: cell_of(simulated(f"batch={batch}", "sampling=quick")) for batch in BATCHES}
    for night in range(NIGHTS):
        at = START + timedelta(days=night)
        for batch, cell in cells.items():
            last = 1.1 if (night, batch) == (NIGHTS - 1, 3) else 1.0
            rows += [
                {
                    "run_id": f"{night}-{batch}-{repeat}",
                    "campaign": f"night{night:02}",
                    "cell_id": cell.cell_id,
                    "environment_id": "e",
                    "started_at": at,
                    "finished_at": at,
                    "status": "ok",
                    "repeat": repeat,
                    "model": "bert_tiny",
                    "hardware": "simulated",
                    "compiler": "simulated",
                    "batch_size": batch,
                    "latency_p50_ms": last * (1 + 0.5 * batch) * spread.lognormvariate(0, 0.005),
                    "overrides": ["hardware=simulated", f"batch={batch}"],
                    "config": cell.experiment.resolved,
                }
                for repeat in range(3)
            ]
    store = ResultsStore(tmp_path / "outputs" / "results")
    store.prepare()
    store.append(*(Row(values=values) for values in rows))
    return store


PROGRAM = typer.Typer()
PROGRAM.add_typer(app.app, name="nightly")
FEW = ("--turns", "2", "--calls", "5")


def typed(*arguments):
    """Exit code and standard output of `nightly` with these arguments."""
    result = CliRunner().invoke(PROGRAM, ["nightly", *map(str, arguments)], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value or 0, result.stdout


@pytest.fixture
def checked(nights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: typed("check", *arguments, *FEW)


def test_a_slow_down_that_fresh_runs_confirm_is_exit_code_3(checked, nights, slower):
    code, outcome_text = checked("--accepted-python", sys.executable, "--candidate-python", slower, "--json")
    assert code == 3
    found = json.loads(outcome_text)
    assert (found["night"], found["nights"], found["series"]) == ("night11", NIGHTS, 10)
    (alarmed,) = [one for one in found["findings"] if one["confirmed"]]
    assert (alarmed["label"], alarmed["verdict"]) == ("bert_tiny simulated simulated b3", "slower")
    assert alarmed["ratio"] == pytest.approx(1.1, abs=0.01)
    assert nights.paths.nightly("night11").is_file()


def test_a_slow_night_of_an_equal_build_is_not_confirmed(checked):
    code, outcome_text = checked("--accepted-python", sys.executable, "--plot", "/dev/null/folder")
    assert code == 0
    assert "no charts: " in outcome_text  # which hides no verdict
    assert "night night11: 10 series, 11 nights before it, 10 series judged" in outcome_text
    assert "No slow-down" in outcome_text


def test_without_an_accepted_build_suspects_are_only_said(checked, nights):
    code, outcome_text = checked()
    assert code == 0
    assert "suspected" in outcome_text
    assert "no slow-down can be confirmed without --accepted-python" in outcome_text
    assert not nights.paths.nightly("night11").exists()


def test_findings_that_tell_no_bounds_are_read_again(nights):
    unbounded = Finding(
        series="x",
        night_ratio=1.1,
        p_nights=0.01,
        rounds=1,
        ratio=math.nan,
        low=0.0,
        high=math.inf,
        p=1.0,
        common=False,
        confirmed=False,
    )
    nightly_nights.keep(nights, "night00", [unbounded])
    (found,) = nightly_nights.kept(nights, "night00")
    assert (found.high, found.low, math.isnan(found.ratio)) == (math.inf, 0.0, True)


def test_bounds_that_say_nothing_are_capped():
    found = Finding(
        series="x", night_ratio=1.1, p_nights=0.01, rounds=2, ratio=1.3, low=0.5, high=60.0, p=0.5,
        common=False, confirmed=False,
    )  # fmt: skip
    assert _bounds(found) == "-50.0% … >+100%"


@pytest.mark.parametrize(
    ("night", "verdict"),
    [
        ("night00", "No verdict: the first night of these 10 series; a verdict needs 7."),
        ("night05", "No verdict: night 6 of these 10 series; a verdict needs 7."),
        ("night06", "No slow-down: 10 series, compared with 6 earlier nights."),
    ],
)
def test_a_night_without_enough_history_has_no_verdict(checked, night, verdict):
    code, outcome_text = checked("--night", night, "--md", "-")
    assert code == 0
    assert verdict in outcome_text


def test_a_campaign_of_other_cells_is_no_night(checked, nights):
    (row,) = nights.of_runs(["3-1-0"]).to_pylist()
    nights.append(Row(values={**row, "run_id": "demo-1", "campaign": "demo"}))
    code, outcome_text = checked("--night", "night06")
    assert code == 0
    assert "night night06: 10 series, 6 nights before it, 10 series judged" in outcome_text
    assert "not counted as nights: 1 campaign with fewer than half of these series" in outcome_text


def test_a_series_that_is_new_has_no_verdict(checked, nights):
    (row,) = nights.of_runs(["11-1-0"]).to_pylist()
    nights.append(Row(values={**row, "run_id": "new", "cell_id": "new", "latency_p50_ms": 9.0}))
    _, outcome_text = checked("--md", "-")
    assert "no verdict on 1 series, which has fewer than 7 nights" in outcome_text


def test_an_accepted_build_that_is_not_there_is_refused_at_the_start(checked):
    with pytest.raises(ConfigError, match="--accepted-python /no/python: no such program"):
        checked("--accepted-python", "/no/python")


def test_an_earlier_night_can_be_judged(checked):
    code, outcome_text = checked("--night", "night10")
    assert code == 0
    assert "night night10: 10 series, 10 nights before it, 10 series judged" in outcome_text


def test_a_night_that_is_not_there_is_a_mistake(checked):
    with pytest.raises(ConfigError, match="--night july: no such campaign; the last are night09, night10"):
        checked("--night", "july")
    with pytest.raises(ConfigError, match="no rows with status ok"):
        checked("model=vit")


def test_cells_of_the_night_that_failed_are_said(checked, nights, tmp_path):
    at = START + timedelta(days=NIGHTS - 1)
    lost = {"campaign": "night11", "cell_id": "x", "environment_id": "e", "started_at": at, "finished_at": at}
    axes = {"model": "<script>alert(1)</script>|`x`\n# h", "hardware": "simulated", "batch_size": 1}
    error = "\x1b[31mno <b>memory</b>\x1b[0m [link](http://evil.example) @everyone\nmore"
    what = {"status": "oom_host", "stage": "measure", "error": error}
    nights.append(Row(values={"run_id": "lost", **lost, **axes, **what}))
    code, outcome_text = checked("--md")
    assert code == 0
    assert "1 cell failed" in outcome_text.splitlines()[2]
    assert r"| oom_host at measure | 1 | &lt;script&gt;alert(1)&lt;/script&gt;\|\`x\` # h" in outcome_text
    assert (
        r"no &lt;b&gt;memory&lt;/b&gt; \[link\](http:&#8203;//evil.example) @&#8203;everyone |"
        in outcome_text
    )
    assert "\x1b" not in outcome_text


def test_published_figures_are_no_nights(checked, nights):
    at = START + timedelta(days=NIGHTS)
    row = {
        "campaign": "published",
        "cell_id": "p",
        "environment_id": "p",
        "started_at": at,
        "finished_at": at,
    }
    figures = {"status": "ok", "latency_p50_ms": 1.0, "hardware": "inf2", "source": "a page"}
    nights.append(Row(values={"run_id": "published", **row, **figures}))
    assert "night night11: 10 series" in checked()[1]
    assert "night published: 1 series" in checked("source~page")[1]


def test_simulated_rows_are_judged_only_where_asked_for_or_alone(nights):
    at = START + timedelta(days=NIGHTS)

    def judged(*arguments):
        found = json.loads(typed("check", "--store", nights.paths.root, "--json", *arguments)[1])
        return found["night"], found["simulated"]

    row = {"cell_id": "s", "environment_id": "s", "started_at": at, "finished_at": at, "status": "ok"}
    nights.append(
        Row(values={"run_id": "s", "campaign": "s", **row, "simulated": True, "latency_p50_ms": 1.0})
    )
    assert judged() == ("night11", False)
    assert judged("--simulated") == ("s", True)
    assert judged("simulated=true") == ("s", True)
    assert judged("campaign=s") == ("s", True)


def test_two_forms_do_not_share_the_standard_output(checked):
    with pytest.raises(ConfigError, match="--json and --md can't both print"):
        checked("--json", "--md", "-")

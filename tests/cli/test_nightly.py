"""`nightly check` on a store of made-up nights; suspects are measured anew on the simulated device."""

from __future__ import annotations

import json
import math
import random
import sys
from datetime import datetime, timedelta, timezone

import pytest
import typer
from typer.testing import CliRunner

from benchmark.cell import cell_of
from benchmark.cli import nightly
from benchmark.errors import ConfigError
from benchmark.nightly import Finding
from benchmark.records import Row
from benchmark.results import ResultsStore
from cli.builds import SLOWER, executable

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
    for night in range(NIGHTS):
        at = START + timedelta(days=night)
        for batch in BATCHES:
            experiment = simulated(f"batch={batch}", "sampling=quick", f"campaign=night{night:02}")
            last = 1.1 if (night, batch) == (NIGHTS - 1, 3) else 1.0
            rows += [
                {
                    "run_id": f"{night}-{batch}-{repeat}",
                    "campaign": experiment.campaign,
                    "cell_id": cell_of(experiment).cell_id,
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
                    "config": experiment.resolved,
                }
                for repeat in range(3)
            ]
    store = ResultsStore(tmp_path / "outputs" / "results")
    store.prepare()
    store.append(*(Row(values=values) for values in rows))
    return store


@pytest.fixture
def checked(nights, tmp_path, monkeypatch):
    program = typer.Typer()
    program.add_typer(nightly.app, name="nightly")
    monkeypatch.chdir(tmp_path)

    def ran(*arguments):
        typed = ["nightly", "check", *arguments, "--turns", "2", "--calls", "5"]
        result = CliRunner().invoke(program, typed, standalone_mode=False)
        if result.exception:
            raise result.exception
        return result.return_value, result.stdout

    return ran


def test_a_slow_down_that_fresh_runs_confirm_is_exit_code_3(checked, nights, slower):
    code, told = checked("--accepted-python", sys.executable, "--candidate-python", slower, "--json")
    assert code == 3
    found = json.loads(told)
    assert (found["night"], found["nights"], found["series"]) == ("night11", NIGHTS, 10)
    (alarmed,) = [one for one in found["findings"] if one["confirmed"]]
    assert "bert_tiny simulated simulated 3" in alarmed["series"] or alarmed["verdict"] == "slower"
    assert alarmed["ratio"] == pytest.approx(1.1, abs=0.01)
    assert nights.paths.nightly("night11").is_file()


def test_a_slow_night_of_an_equal_build_is_not_confirmed(checked):
    code, told = checked("--accepted-python", sys.executable)
    assert code == 0
    assert "night night11: 10 series, 11 nights before it" in told
    assert "0 confirmed slower" in told


def test_without_an_accepted_build_suspects_are_only_told(checked, nights):
    code, told = checked()
    assert code == 0
    assert "suspected" in told
    assert "nothing is confirmed without --accepted-python" in told
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
    nightly._keep(nights, "night00", [unbounded])
    (found,) = nightly._kept(nights, "night00")
    assert (found.high, found.low, math.isnan(found.ratio)) == (math.inf, 0.0, True)


def test_an_earlier_night_can_be_judged(checked):
    code, told = checked("--night", "night10")
    assert code == 0
    assert "night night10: 10 series, 10 nights before it" in told


def test_a_night_that_is_not_there_is_a_mistake(checked):
    with pytest.raises(ConfigError, match="--night july: no such campaign; the last are night09, night10"):
        checked("--night", "july")
    with pytest.raises(ConfigError, match="no rows that are ok"):
        checked("model=vit")

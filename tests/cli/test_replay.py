"""`replay`: the configuration of a stored run is run again, in a campaign of its own, and compared."""

from __future__ import annotations

import json
import re
import sys

import pytest

from benchmark.__main__ import run_verb
from benchmark.cell import cell_of
from benchmark.cli import replay as verb
from benchmark.config.sweep import grid
from benchmark.errors import ConfigError
from benchmark.records import Row
from benchmark.store.results import ResultsStore


@pytest.fixture(scope="module")
def today():
    """Today's defaults, composed once for all tests: Hydra needs half a second for that."""
    return grid([])


@pytest.fixture(autouse=True)
def _composed_once(today, monkeypatch):
    monkeypatch.setattr(verb, "grid", lambda _: today)


@pytest.fixture
def store(tmp_path):
    return ResultsStore(tmp_path / "outputs" / "results")


@pytest.fixture
def replay(tmp_path, monkeypatch, capsys):
    """Type `replay` in tmp_path, where the default places are; return its exit code and its lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark", "replay", *arguments])
        with pytest.raises(SystemExit) as stopped:
            run_verb()
        return stopped.value.code, [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return typed


@pytest.fixture
def stored(simulated, run_cells):
    """Run a simulated cell; return its row."""

    def ran(*overrides):
        (row,) = run_cells(simulated(*overrides))
        return row

    return ran


def rows_of(store, campaign):
    return [row for row in store.table().to_pylist() if row["campaign"] == campaign]


def configured(old, campaign="", cache=""):
    return verb.configured_as(Row(values=old), campaign, "s", cache)


def test_the_variables_of_a_run_are_set_again(replay, stored, store, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    old = stored()
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    code, shown = replay(old["run_id"])
    (new,) = (row for row in store.table().to_pylist() if row["run_id"] != old["run_id"])
    assert (code, shown[0]) == (0, "OMP_WAIT_POLICY=ACTIVE, as in the run")
    assert new["environment_variables"] == old["environment_variables"]
    assert new["environment_id"] == old["environment_id"]


def test_a_run_is_run_again_in_a_campaign_of_its_own_and_compared(replay, stored, store, tmp_path):
    old = stored("batch=3", "compiler.call_ms=2.0")
    code, shown = replay(old["run_id"][:6])
    (new,) = (row for row in store.table().to_pylist() if row["run_id"] != old["run_id"])
    assert code == 0
    assert re.fullmatch(rf"replay-{old['run_id'][:8]}-\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\d", new["campaign"])
    assert (new["cell_id"], new["latency_p50_ms"]) == (old["cell_id"], 3.5)
    assert new["overrides"] == [*old["overrides"], f"campaign={new['campaign']}"]
    assert (tmp_path / "outputs" / new["campaign"]).is_dir()
    heading = shown.index("what differs from the run that was replayed")
    assert shown[heading + 1].startswith(f"  compared     {old['run_id']} of campaign test, ")


def test_json_comes_last_with_the_replayed_run_as_the_previous_one(replay, stored):
    old = stored()
    code, shown = replay(old["run_id"], "--campaign", "mine", "--json")
    outcome_text = json.loads(shown[-1])
    assert code == 0
    assert (outcome_text["run"]["campaign"], outcome_text["previous"]["run_id"]) == ("mine", old["run_id"])
    assert outcome_text["differences"]["settings"] == []
    assert "what differs from the run that was replayed" not in shown


def test_a_replay_that_fails_is_exit_code_2_and_compared_all_the_same(replay, stored):
    code, shown = replay(stored("compiler.fault=raise")["run_id"], "--json")
    outcome_text = json.loads(shown[-1])
    assert code == 2
    assert outcome_text["run"]["status"] == "crashed"
    assert [one["name"] for one in outcome_text["differences"]["outcome"]] == ["cache_hit"]


def test_a_replay_in_the_same_campaign_measures_again(replay, stored, store):
    old = stored()
    replay(old["run_id"], "--campaign", "mine")
    (first,) = rows_of(store, "mine")
    replay(old["run_id"], "--campaign", "mine")
    (second,) = rows_of(store, "mine")
    assert second["run_id"] == first["run_id"]
    assert second["started_at"] > first["started_at"]


def test_the_new_row_goes_to_the_store_of_the_old_and_artefacts_where_asked(
    replay, simulated, run_cells, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    (old,) = run_cells(simulated(f"store.root={elsewhere}"))
    replay(old["run_id"], "--store", str(elsewhere), "--cache", str(tmp_path / "kept"))
    assert len(ResultsStore(elsewhere).statuses()) == 2
    assert not (tmp_path / "outputs" / "results").exists()
    assert [path for path in (tmp_path / "kept").iterdir() if path.is_dir()]


def test_a_program_that_has_changed_since_is_said(replay, stored, store):
    store.append(Row(values={**stored(), "run_id": "old", "cell_id": "another"}))
    _, shown = replay("old")
    assert shown[0] == "the program has changed since: the same configuration is another cell now"
    assert "what differs from the run that was replayed" in shown


def test_sections_and_keys_that_an_older_row_lacks_are_todays_defaults(stored):
    row = stored("limits.build_timeout_s=7.0", "sampling.min_calls=3")
    then = json.loads(row["config"])
    del then["verify"], then["seed"], then["limits"]["compile_timeout_s"], then["sampling"]["max_s"]
    experiment = configured({**row, "config": json.dumps(then)})
    assert cell_of(experiment).cell_id == row["cell_id"]
    assert experiment.limits.build_timeout_s == 7.0
    assert experiment.limits.compile_timeout_s == 3600
    assert experiment.sampling.min_calls == 3
    assert experiment.sampling.max_s == 5.0
    assert experiment.verify.min_cosine["none"] == 0.9999


def test_a_model_or_plugin_takes_no_keys_of_todays_default_one(stored):
    row = stored("model=vit_tiny", "compiler.call_ms=2.0")
    then = json.loads(row["config"])
    del then["compiler"]["item_ms"]
    experiment = configured({**row, "config": json.dumps(then)})
    assert experiment.model.architecture == then["model"]["architecture"]
    assert (experiment.compiler.call_ms, experiment.compiler.item_ms) == (2.0, 0.5)


def test_a_replay_keeps_the_places_it_is_not_said_to_change(stored):
    row = stored()
    experiment = configured(row, campaign="mine")
    assert (experiment.store_root, experiment.cache_root) == ("s", "compile_cache")
    assert (experiment.campaign, experiment.output_folder, experiment.run) == ("mine", "outputs/mine", "all")
    assert configured(row, cache="c").cache_root == "c"


def test_a_configuration_that_no_longer_fits_says_what_to_do(stored):
    row = stored("batch=2")
    then = {**json.loads(row["config"]), "bach": 1}
    with pytest.raises(ConfigError) as refused:
        configured({**row, "config": json.dumps(then)})
    first, second = str(refused.value).splitlines()
    assert first.startswith(f"run {row['run_id']} was configured for another version of this program: ")
    assert first.endswith("run it by overrides instead, hardware=simulated batch=2, and correct these")
    assert second == "bach: unknown key; did you mean 'batch'?"


@pytest.mark.parametrize("config", [None, "", "{}"])
def test_an_imported_row_cannot_be_replayed(stored, config):
    row = stored()
    with pytest.raises(ConfigError, match=r"^run \w+ has no configuration \(imported rows have none\): "):
        configured({**row, "config": config})


@pytest.mark.parametrize(
    ("campaign", "complaint"),
    [
        ("test", r"^--campaign test is that of run \w+ itself: choose another to keep both rows$"),
        ("a/b", r"^campaign=a/b: should match pattern"),
    ],
)
def test_a_campaign_that_cannot_be_is_refused(stored, campaign, complaint):
    with pytest.raises(ConfigError, match=complaint):
        configured(stored(), campaign=campaign)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {}, "one process against one. "),
        ({"noise_flags": ["contended"]}, {}, "one process against one, and the old one was noisy. "),
        ({}, {"steady": False}, "one process against one, and the new one was noisy. "),
        ({"steady": False}, {"noise_flags": ["stolen"]}, "one process against one, and both were noisy. "),
    ],
)
def test_the_difference_of_two_runs_is_no_verdict(old, new, words):
    usual = {"run_id": "x", "status": "ok", "steady": True, "noise_flags": []}
    text = verb._caution(Row(values=usual | old), Row(values=usual | new))
    assert text == f"Not a verdict: {words}`compare --run` measures in turns, with an interval."

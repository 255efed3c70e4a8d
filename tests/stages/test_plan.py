"""The fate of every cell is decided before anything starts."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata

import pytest

from benchmark import host
from benchmark.devices import neuron
from benchmark.stages.plan import plan

EVERYTHING = {
    "torch-neuronx": "2.9",
    "neuronx-cc": "2.21",
    "torch": "2.9",
    "transformers": "4.57",
    "safetensors": "0.6",
}
"""What a cell on a Neuron device stands on."""


def nothing_done(campaign):
    return {}


@pytest.fixture
def fates():
    """Fate and reason of every run of a grid."""
    return lambda *experiments: [(run.fate, run.reason) for run in plan(experiments, nothing_done).runs]


@pytest.fixture
def installed(monkeypatch):
    """Make this host one where exactly these distributions are installed."""

    def only(**versions):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, "version", version)

    return only


@pytest.fixture
def neuron_driver(tmp_path, monkeypatch):
    """Make this host one with the driver of Neuron devices."""
    devices = tmp_path / "devices"
    devices.write_text("Character devices:\n  1 mem\n239 neuron\n")
    monkeypatch.setattr(neuron, "_DEVICES", devices)


def test_what_can_work_is_to_be_run(simulated, fates):
    assert fates(simulated()) == [("run", "")]


def test_the_grid_keeps_its_order(simulated):
    batches = [4, 1, 2]
    planned = plan([replace(simulated(), batch=batch) for batch in batches], nothing_done)
    assert [run.cell.experiment.batch for run in planned.runs] == batches
    assert planned.queue == planned.runs


def test_a_cell_that_equals_another_is_left_out_and_counted(simulated):
    vision = simulated("model=vit_tiny")
    grid = [replace(vision, seq_len=length) for length in (8, 32, 128)] + [replace(vision, batch=2)]
    planned = plan(grid, nothing_done)
    assert (len(planned.runs), planned.duplicates) == (2, 2)


@pytest.mark.parametrize(
    ("policy", "status", "fate"),
    [
        ("missing", None, "run"),
        ("missing", "ok", "done"),
        ("missing", "crashed", "done"),
        ("missing", "interrupted", "run"),
        ("failed", None, "run"),
        ("failed", "ok", "done"),
        ("failed", "crashed", "run"),
        ("failed", "unavailable", "run"),
        ("failed", "interrupted", "run"),
        ("all", None, "run"),
        ("all", "ok", "run"),
        ("all", "crashed", "run"),
    ],
)
def test_the_policy_decides_which_rows_are_enough(simulated, policy, status, fate):
    experiment = replace(simulated(), run=policy)
    (run_id,) = [run.run_id for run in plan([experiment], nothing_done).runs]
    (run,) = plan([experiment], lambda _: {run_id: status} if status else {}).runs
    assert (run.fate, run.run_id) == (fate, run_id)
    assert run.reason == (f"has a row: {status}" if fate == "done" else "")


def test_rows_are_asked_for_once_a_campaign(simulated):
    asked = []
    grid = [replace(simulated(), batch=batch, campaign=name) for name in ("a", "b") for batch in (1, 2)]

    def statuses(campaign):
        asked.append(campaign)
        return {}

    assert len(plan(grid, statuses).runs) == 4
    assert asked == ["a", "b"]


def test_a_row_of_another_campaign_is_no_row_of_this_one(simulated):
    old, new = replace(simulated(), campaign="old"), replace(simulated(), campaign="new")
    rows = {run.run_id: "ok" for run in plan([old], nothing_done).runs}
    fates = [run.fate for run in plan([old, new], lambda _: rows).runs]
    assert fates == ["done", "run"]


def test_what_is_done_is_not_pending(simulated):
    grid = [replace(simulated(), batch=batch) for batch in (1, 2)]
    first, second = plan(grid, nothing_done).runs
    planned = plan(grid, lambda _: {first.run_id: "ok"})
    assert [run.run_id for run in planned.queue] == [second.run_id]


def test_a_compiler_that_cannot_target_the_hardware_is_incompatible(compose, fates):
    ((fate, reason),) = fates(compose("compiler=neuronx"))
    assert fate == "incompatible"
    assert "compiler=neuronx runs on neuroncore-v2 or neuroncore-v3" in reason
    assert "hardware=cpu" in reason
    assert "choose another compiler, or another hardware" in reason


def test_a_sequence_longer_than_the_model_is_incompatible(simulated, fates):
    grid = [simulated(f"seq_len={length}") for length in (512, 513)]
    assert fates(*grid) == [
        ("run", ""),
        ("incompatible", "model=bert_tiny: seq_len=513 is above its maximum of 512"),
    ]


def test_a_vision_model_takes_any_sequence_length(simulated, fates):
    assert fates(simulated("model=vit_tiny", "seq_len=1000000")) == [("run", "")]


def test_options_that_a_compiler_does_not_have_are_incompatible(compose, fates):
    ((fate, reason),) = fates(compose("compiler=onnxruntime", "compiler.fast_math=all"))
    assert fate == "incompatible"
    assert reason.startswith("compiler=onnxruntime: fast_math=all can't be had")
    assert reason.endswith("use none")


def test_pretrained_weights_need_a_hub_id(simulated, fates):
    ((fate, reason),) = fates(simulated("weights=pretrained"))
    assert fate == "incompatible"
    assert reason.startswith("weights=pretrained: conf/model/bert_tiny.yaml names no hub_id")
    experiment = simulated("weights=pretrained")
    published = replace(experiment.model, hub_id="google-bert/bert-base-uncased")
    assert fates(replace(experiment, model=published)) == [("run", "")]


def test_a_missing_library_makes_a_cell_unavailable_and_tells_the_command(
    compose, fates, installed, neuron_driver
):
    installed()
    ((fate, reason),) = fates(compose("hardware=inf2"))
    assert fate == "unavailable"
    assert reason.startswith("torch-neuronx is not installed: pip install torch-neuronx neuronx-cc ")


def test_a_stub_of_a_library_counts_as_missing(compose, fates, installed, neuron_driver):
    installed(**{"torch-neuronx": "1.0.0", "neuronx-cc": "2.21"})
    ((fate, reason),) = fates(compose("hardware=inf2"))
    assert fate == "unavailable"
    assert reason.startswith("torch-neuronx here is PyPI's stub: pip install ")


def test_a_missing_device_makes_a_cell_unavailable_and_says_where_to_go(
    compose, fates, installed, tmp_path, monkeypatch
):
    installed(**EVERYTHING)
    monkeypatch.setattr(neuron, "_DEVICES", tmp_path / "absent")
    ((fate, reason),) = fates(compose("hardware=inf2"))
    assert fate == "unavailable"
    assert "no Neuron device" in reason
    assert "run on inf2.xlarge" in reason


def test_everything_that_is_missing_is_told_at_once(compose, fates, installed, tmp_path, monkeypatch):
    installed()
    monkeypatch.setattr(neuron, "_DEVICES", tmp_path / "absent")
    ((_, reason),) = fates(compose("hardware=inf2"))
    assert "no Neuron device" in reason
    assert "; torch-neuronx is not installed: pip install" in reason


def test_a_host_that_has_everything_runs_the_cell(compose, fates, installed, neuron_driver):
    installed(**EVERYTHING)
    assert fates(compose("hardware=inf2")) == [("run", "")]


def test_what_can_never_work_is_told_before_what_is_missing_here(compose, fates, installed):
    installed()
    ((fate, _),) = fates(compose("hardware=inf2", "seq_len=1000000"))
    assert fate == "incompatible"


def test_other_versions_are_another_environment_and_need_their_own_row(compose, installed, neuron_driver):
    run_ids = []
    for version in ("2.20", "2.21"):
        installed(**{**EVERYTHING, "neuronx-cc": version})
        (run,) = plan([compose("hardware=inf2")], nothing_done).runs
        run_ids.append(run.run_id)
        assert run.environment.versions["neuronx-cc"] == version
    assert run_ids[0] != run_ids[1]


def test_the_instance_that_the_firmware_tells_is_part_of_the_environment(simulated):
    (run,) = plan([simulated("hardware.instance_type=c7i.large")], nothing_done).runs
    assert run.environment.facts.instance_type == "c7i.large"
    assert run.environment.settings == host.speed_settings()

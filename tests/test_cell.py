"""Identities: what makes two cells, two environments, two runs the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.cell import PlannedRun, cell_of, environment_of, run_id
from benchmark.errors import Incompatible, Unavailable
from benchmark.records import DeviceFacts

FACTS = DeviceFacts(device_name="core", cores=2, instance_type="c7i.large", driver_version="1", isa="avx2")


@pytest.fixture
def cell_id():
    return lambda experiment: cell_of(experiment).cell_id


@pytest.mark.parametrize(
    "effort_or_place",
    [
        {"campaign": "another"},
        {"run": "all"},
        {"store_root": "elsewhere"},
        {"cache_root": "elsewhere"},
        {"output_folder": "elsewhere"},
        {"overrides": ("batch=1",)},
        {"composed": {}},
    ],
)
def test_effort_and_places_do_not_change_a_cell(simulated, cell_id, effort_or_place):
    experiment = simulated()
    assert cell_id(replace(experiment, **effort_or_place)) == cell_id(experiment)


def test_sampling_limits_and_thresholds_do_not_change_a_cell(simulated, cell_id):
    experiment = simulated()
    for name, change in [
        ("sampling", {"min_calls": 1}),
        ("limits", {"memory_gib": 1.0}),
        ("verify", {"min_cosine": dict.fromkeys(("none", "matmult", "all", "int8", "int4"), 0.0)}),
        ("verify", {"max_relative_error": dict.fromkeys(("none", "matmult", "all", "int8"), 9.0)}),
    ]:
        changed = replace(experiment, **{name: replace(getattr(experiment, name), **change)})
        assert cell_id(changed) == cell_id(experiment)


@pytest.mark.parametrize(
    "change",
    [{"batch": 2}, {"seq_len": 64}, {"weights": "pretrained"}, {"weights": "/a/folder"}, {"seed": 1}],
)
def test_an_axis_changes_the_cell(simulated, cell_id, change):
    experiment = simulated()
    assert cell_id(replace(experiment, **change)) != cell_id(experiment)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("model", {"architecture": {"model_type": "bert", "hidden_size": 64}}),
        ("model", {"revision": "0123456"}),
        ("model", {"max_sequence_length": 256}),
        ("hardware", {"isolated": True}),
        ("compiler", {"fast_math": "all"}),
        ("compiler", {"call_ms": 2.0}),
    ],
)
def test_a_part_of_the_configuration_changes_the_cell(simulated, cell_id, part, change):
    experiment = simulated()
    changed = replace(experiment, **{part: replace(getattr(experiment, part), **change)})
    assert cell_id(changed) != cell_id(experiment)


def test_a_plug_in_of_the_same_options_but_another_class_changes_the_cell(compose, cell_id):
    eager, neuronx = compose("compiler=eager"), compose("compiler=neuronx")
    assert cell_id(eager) != cell_id(replace(eager, compiler=neuronx.compiler))


def test_equal_configurations_make_equal_cells_however_they_were_reached(simulated, cell_id):
    assert cell_id(simulated("batch=4")) == cell_id(replace(simulated(), batch=4))


def test_a_vision_model_has_no_sequence_length_to_differ_in(simulated, cell_id):
    short, long = simulated("model=vit_tiny", "seq_len=8"), simulated("model=vit_tiny", "seq_len=128")
    assert cell_id(short) == cell_id(long)
    assert cell_of(short).sequence_length is None
    assert cell_id(short) != cell_id(replace(long, batch=2))


def test_a_cell_is_labelled_by_its_axes(simulated):
    assert cell_of(simulated("batch=4")).label == "bert_tiny simulated simulated none b4 s128"
    assert cell_of(simulated("model=vit_tiny")).label == "vit_tiny simulated simulated none b1 px32"


@pytest.mark.parametrize(
    ("facts", "versions", "settings"),
    [
        ({"device_name": "another"}, {}, {}),
        ({"instance_type": None}, {}, {}),
        ({"cores": 4}, {}, {}),
        ({"driver_version": "2"}, {}, {}),
        ({"isa": "avx512f"}, {}, {}),
        ({}, {"torch": "2.9"}, {}),
        ({}, {}, {"OMP_NUM_THREADS": "1"}),
    ],
)
def test_hardware_versions_and_settings_change_the_environment_and_so_the_run(
    simulated, facts, versions, settings
):
    before = environment_of(FACTS, {"torch": "2.8"}, {})
    after = environment_of(replace(FACTS, **facts), {"torch": "2.8", **versions}, settings)
    assert before.environment_id != after.environment_id
    cell = cell_of(simulated())
    assert run_id("nightly", cell, before) != run_id("nightly", cell, after)


def test_the_order_in_which_versions_are_said_does_not_matter():
    one = environment_of(FACTS, {"a": "1", "b": "2"}, {})
    other = environment_of(FACTS, {"b": "2", "a": "1"}, {})
    assert one.environment_id == other.environment_id


def test_campaign_cell_and_repeat_change_the_run_and_nothing_else_does(simulated):
    experiment, environment = simulated(), environment_of(FACTS, {}, {})
    cell = cell_of(experiment)
    same = cell_of(replace(experiment, overrides=("x=1",)))
    first = run_id("nightly", cell, environment)
    assert run_id("nightly", same, environment) == first
    others = {
        run_id("weekly", cell, environment),
        run_id("nightly", cell_of(replace(experiment, batch=2)), environment),
        run_id("nightly", cell, environment, repeat=1),
    }
    assert len(others - {first}) == 3


@pytest.mark.parametrize(("fate", "kind"), [("incompatible", Incompatible), ("unavailable", Unavailable)])
def test_a_cell_that_cannot_be_measured_tells_the_failure_of_its_row(simulated, fate, kind):
    parts = {"cell": cell_of(simulated()), "environment": environment_of(FACTS, {}, {}), "run_id": "x"}
    refusal = PlannedRun(**parts, fate=fate, reason="no device").refusal
    assert (type(refusal), str(refusal), refusal.status) == (kind, "no device", fate)
    assert PlannedRun(**parts, fate="run").refusal is None
    assert PlannedRun(**parts, fate="done", reason="has a row: ok").refusal is None


def test_where_an_interpreter_lies_does_not_change_a_cell(compose, cell_id):
    """What it has is in the versions of the environment: a virtual environment may move."""
    here, there = (compose("compiler=eager", f"compiler.python=/{folder}/bin/python") for folder in "ab")
    assert cell_id(here) == cell_id(there) == cell_id(compose("compiler=eager"))


def test_the_module_of_a_plug_in_does_not_change_a_cell(simulated, cell_id):
    experiment = simulated()
    kind = type(experiment.compiler)
    moved = type(kind.__name__, (kind,), {"__module__": "elsewhere.compilers.simulated"})
    assert cell_id(replace(experiment, compiler=moved())) == cell_id(experiment)


@pytest.fixture
def saved(tmp_path):
    """Write a folder as `save_pretrained` does; return its path."""

    def written(name, weights=b"weights"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
        return str(folder)

    return written


def test_a_folder_of_weights_counts_by_what_it_holds(simulated, cell_id, saved):
    first, copy = simulated(f"weights={saved('first')}"), simulated(f"weights={saved('copy')}")
    retrained = simulated(f"weights={saved('retrained', b'WEIGHTS')}")
    assert cell_id(first) == cell_id(copy)
    assert cell_id(retrained) != cell_id(first)


def test_weights_that_change_in_their_folder_are_another_cell(simulated, cell_id, saved):
    folder = saved("model")
    before = cell_id(simulated(f"weights={folder}"))
    Path(folder, "model.safetensors").write_bytes(b"retrained")
    assert cell_id(simulated(f"weights={folder}")) != before


def test_folders_in_settings_do_not_change_the_environment():
    libraries = ("/opt/a/lib/libjemalloc.so", "/home/me/b/libjemalloc.so", "/opt/a/lib/libtcmalloc.so")
    one, moved, other = (environment_of(FACTS, {}, {"LD_PRELOAD": name}) for name in libraries)
    assert one.environment_id == moved.environment_id != other.environment_id
    assert moved.settings == {"LD_PRELOAD": libraries[1]}

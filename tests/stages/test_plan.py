"""The fate of every cell is decided before anything starts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import metadata

import pytest

from benchmark.cell import cell_of
from benchmark.config.grid import Excluded
from benchmark.devices import neuron
from benchmark.host import libraries, machine
from benchmark.records import Exhausted
from benchmark.stages.plan import plan, refuse

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
        monkeypatch.setattr(libraries, "imports", lambda *_, **__: None)  # by name only they can't be

    return only


@pytest.fixture
def neuron_driver(tmp_path, monkeypatch):
    """Make this host one with the driver of Neuron devices."""
    devices = tmp_path / "devices"
    devices.write_text("Character devices:\n  1 mem\n239 neuron\n")
    monkeypatch.setattr(neuron, "DEVICES", devices)


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
        ("incompatible", "model=bert_tiny: seq_len=513 is above its max_position_embeddings 512"),
    ]


def test_a_vision_model_takes_any_sequence_length(simulated, fates):
    assert fates(simulated("model=vit_tiny", "seq_len=1000000")) == [("run", "")]


def test_options_that_a_compiler_does_not_have_are_incompatible(compose, fates):
    ((fate, reason),) = fates(compose("compiler=onnxruntime", "compiler.fast_math=all"))
    assert fate == "incompatible"
    assert reason.startswith("compiler=onnxruntime: fast_math=all doesn't work here")
    assert "use fast_math=none" in reason


def test_pretrained_weights_need_a_hub_id(simulated, fates):
    ((fate, reason),) = fates(simulated("weights=pretrained"))
    assert fate == "incompatible"
    assert reason.endswith("conf/model/bert_tiny.yaml names no hub_id; use random or a folder")
    experiment = simulated("weights=pretrained")
    published = replace(experiment.model, hub_id="google-bert/bert-base-uncased")
    assert fates(replace(experiment, model=published)) == [("run", "")]


def folder_of(tmp_path, name, model_type):
    """A folder of weights, as far as the plan looks."""
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_local_folder_is_refused_unless_it_holds_weights_of_this_architecture(simulated, fates, tmp_path):
    bert, distilbert = (folder_of(tmp_path, f"{name}/0_Transformer", name) for name in ("bert", "distilbert"))
    folders = [bert, distilbert, bert.parent, tmp_path / "nothing"]
    taken, other, above, absent = fates(*(simulated(f"weights={folder}") for folder in folders))
    assert taken == ("run", "")
    assert "a distilbert is no bert, the architecture of model=bert_tiny" in other[1]
    assert above[1].endswith(
        f"no config.json with *.safetensors or pytorch_model.bin there; use weights={bert}"
    )
    assert "there is no such folder" in absent[1]


def test_a_model_that_transformers_lacks_is_refused_before_a_child_starts(simulated, fates):
    experiment = simulated()
    model = replace(experiment.model, architecture={"model_type": "bertt"})
    ((fate, reason),) = fates(replace(experiment, model=model))
    assert fate == "incompatible"
    assert "did you mean 'bert'?" in reason


def test_a_missing_library_makes_a_cell_unavailable_and_tells_the_command(
    compose, fates, installed, neuron_driver
):
    installed()
    ((fate, reason),) = fates(compose("hardware=inf2"))
    assert fate == "unavailable"
    assert reason.startswith("torch-neuronx is not installed: pip install torch-neuronx neuronx-cc ")


def test_a_stub_of_a_library_counts_as_missing(compose, fates, installed, neuron_driver):
    installed(**{"torch-neuronx": "1.0", "neuronx-cc": "2.21"})
    ((fate, reason),) = fates(compose("hardware=inf2"))
    assert fate == "unavailable"
    assert reason.startswith("torch-neuronx 1.0 here is PyPI's stub: pip install ")


def test_a_missing_device_makes_a_cell_unavailable_and_says_where_to_go(
    compose, fates, installed, tmp_path, monkeypatch
):
    installed(**EVERYTHING)
    monkeypatch.setattr(neuron, "DEVICES", tmp_path / "absent")
    ((fate, reason),) = fates(compose("hardware=inf2"))
    assert fate == "unavailable"
    assert "no Neuron device" in reason
    assert "run on inf2.xlarge" in reason


def test_everything_that_is_missing_is_said_at_once(compose, fates, installed, tmp_path, monkeypatch):
    installed()
    monkeypatch.setattr(neuron, "DEVICES", tmp_path / "absent")
    ((_, reason),) = fates(compose("hardware=inf2"))
    assert "no Neuron device" in reason
    assert "; torch-neuronx is not installed: pip install" in reason


def test_a_host_that_has_everything_runs_the_cell(compose, fates, installed, neuron_driver):
    installed(**EVERYTHING)
    assert fates(compose("hardware=inf2")) == [("run", "")]


def test_what_can_never_work_is_said_before_what_is_missing_here(compose, fates, installed):
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
    assert run.environment.settings == machine.speed_settings()


def fresh_rows(*experiments, status="ok"):
    """What the store would answer: every cell has a row of another campaign in this environment."""
    runs = plan(experiments, nothing_done).runs
    return {
        (r.cell.cell_id, r.environment.environment_id, r.repeat): (f"old-{r.run_id}", status) for r in runs
    }


def test_stale_keeps_what_any_campaign_measured_in_this_environment(simulated):
    known, new = simulated("run=stale"), simulated("run=stale", "batch=2")
    rows = fresh_rows(known)
    first, second = plan([known, new], nothing_done, fresh=lambda _: rows).runs
    assert (first.fate, first.row_id) == ("done", f"old-{first.run_id}")
    assert second.fate == "run"


def test_repeats_are_runs_of_their_own_round_after_round(simulated):
    cells = [simulated("sampling.repeats=3", f"batch={batch}") for batch in (1, 2)]
    planned = plan(cells, nothing_done)
    assert [(r.repeat, r.cell.experiment.batch) for r in planned.queue] == [
        *[(0, 1), (0, 2)],
        *[(1, 1), (1, 2)],
        *[(2, 1), (2, 2)],
    ]
    assert len({run.run_id for run in planned.runs}) == 6
    assert planned.duplicates == 0


def test_a_random_order_shuffles_within_each_round(simulated):
    cells = [
        simulated("sampling.repeats=2", "sampling.order=random", f"batch={batch}") for batch in range(1, 9)
    ]
    queue = plan(cells, nothing_done).queue
    rounds = [[r.cell.experiment.batch for r in queue if r.repeat == number] for number in (0, 1)]
    assert [r.repeat for r in queue] == [0] * 8 + [1] * 8
    assert sorted(rounds[0]) == sorted(rounds[1]) == list(range(1, 9))
    assert rounds[0] != rounds[1]


def test_a_longer_series_of_repeats_runs_only_those_that_are_new(simulated):
    done = {run.run_id: "ok" for run in plan([simulated("sampling.repeats=2")], nothing_done).runs}
    runs = plan([simulated("sampling.repeats=4")], lambda _: done).runs
    assert [(run.repeat, run.fate) for run in runs] == [(0, "done"), (1, "done"), (2, "run"), (3, "run")]


SEVERAL = ("sampling.repeats=5", "sampling.min_repeats=3", "sampling.repeat_precision=0.05")


@pytest.mark.parametrize(
    ("p50s", "statuses", "reason"),
    [
        ([10.0, 10.1, 9.9], ["ok"] * 3, "p50 of its cell is known to 2.5% by 3 processes"),
        ([10.0, 12.0, 9.0], ["ok"] * 3, ""),
        ([10.0, 10.0], ["ok"] * 2, ""),
        ([None], ["crashed"], "another process of its cell has a row: crashed"),
    ],
)
def test_a_cell_needs_no_further_process_once_its_median_is_known_or_one_failed(
    simulated, p50s, statuses, reason
):
    first = plan([simulated(*SEVERAL)], nothing_done).runs
    done = dict(zip((run.run_id for run in first), statuses, strict=False))
    known = dict(zip(done, p50s, strict=True))
    planned = plan([simulated(*SEVERAL)], lambda _: done, p50s=lambda ids: {one: known[one] for one in ids})
    rest = planned.runs[len(done) :]
    assert [run.reason for run in rest] == [reason] * (5 - len(done))
    assert {run.fate for run in rest} == {"done" if reason else "run"}
    assert [run.repeat for run in planned.of_cells] == [0 if reason else len(done)]


def test_a_compilation_needs_one_process(simulated):
    assert len(plan([simulated("sampling.repeats=5", "stage=compile")], nothing_done).runs) == 1


def test_what_can_not_be_measured_is_said_once_whatever_the_repeats(simulated):
    (run,) = plan([simulated("compiler=eager", "sampling.repeats=5")], nothing_done).runs
    assert run.fate == "incompatible"


def test_other_policies_do_not_look_at_other_campaigns(simulated):
    def never(_):
        raise AssertionError

    assert [run.fate for run in plan([simulated()], nothing_done, fresh=never).runs] == ["run"]


def limit(experiment, **changes):
    """An out-of-memory row of this cell, as history tells it."""
    (run,) = plan([experiment], nothing_done).runs
    known = {
        "family_id": run.cell.family_id,
        "environment_id": run.environment.environment_id,
        "batch_size": experiment.batch,
        "sequence_length": run.cell.sequence_length,
        "memory_gib": experiment.limits.memory_gib,
        "run_id": "old",
    }
    return Exhausted(**{**known, **changes})


@pytest.mark.parametrize(
    ("overrides", "fate"),
    [
        (["batch=16"], "dominated"),
        (["batch=8", "seq_len=256"], "dominated"),
        (["batch=16", "seq_len=256"], "dominated"),
        (["batch=8"], "run"),
        (["batch=4"], "run"),
        (["batch=16", "seq_len=64"], "run"),
        (["batch=16", "compiler.fast_math=all"], "run"),
        (["batch=16", "model=distilbert_tiny"], "run"),
        (["batch=16", "limits.memory_gib=1"], "dominated"),
        (["batch=16", "run=all"], "run"),
    ],
)
def test_a_cell_above_a_known_out_of_memory_is_dominated(simulated, overrides, fate):
    known = (limit(simulated("batch=8")),)
    (run,) = plan([simulated(*overrides)], nothing_done, exhausted=lambda _: known).runs
    assert run.fate == fate
    if fate == "dominated":
        assert run.reason.startswith("batch 8, length 128 of this cell ran out of memory (run old); run=all ")
        assert run.refusal.status == "dominated"


@pytest.mark.parametrize(
    ("granted", "fate"), [("0.5", "dominated"), ("2", "dominated"), ("4", "run"), ("null", "run")]
)
def test_more_memory_than_ran_out_is_worth_a_try(simulated, granted, fate):
    known = (limit(simulated("batch=8", "limits.memory_gib=2")),)
    (run,) = plan(
        [simulated("batch=16", f"limits.memory_gib={granted}")], nothing_done, exhausted=lambda _: known
    ).runs
    assert run.fate == fate


def test_another_environment_sets_no_limit(simulated):
    known = (limit(simulated("batch=8"), environment_id="elsewhere"),)
    (run,) = plan([simulated("batch=16")], nothing_done, exhausted=lambda _: known).runs
    assert run.fate == "run"


def test_a_limit_that_is_run_anew_is_none_yet(simulated):
    small, large = simulated("batch=8", "run=failed"), simulated("batch=16", "run=failed")
    (run,) = plan([small], nothing_done).runs
    known = (limit(small, run_id=run.run_id),)
    fates = [
        r.fate
        for r in plan([small, large], lambda _: {run.run_id: "oom_host"}, exhausted=lambda _: known).runs
    ]
    assert fates == ["run", "run"]


def test_cells_that_share_an_artefact_stand_together_and_refusals_first(simulated):
    grid = [
        replace(simulated(f"batch={batch}", *more), campaign=campaign)
        for campaign in ("a", "b")
        for batch, more in ((1, ()), (2, ()), (3, ("seq_len=1000",)))
    ]
    queue = plan(grid, nothing_done).queue
    assert [(run.cell.experiment.batch, run.cell.experiment.campaign) for run in queue] == [
        (3, "a"),
        (3, "b"),
        (1, "a"),
        (1, "b"),
        (2, "a"),
        (2, "b"),
    ]


def test_a_random_order_is_that_of_its_seed(simulated):
    def batches(seed):
        grid = [
            simulated(f"batch={n}", "sampling.order=random", f"sampling.order_seed={seed}")
            for n in range(1, 9)
        ]
        return [run.cell.experiment.batch for run in plan(grid, nothing_done).queue]

    assert batches(1) == batches(1)
    assert batches(1) != batches(2)
    assert sorted(batches(1)) == list(range(1, 9))


def test_what_is_excluded_is_no_run_but_is_said(simulated):
    left_out = (Excluded(overrides=("batch=2",), reason="too slow"),)
    planned = plan([simulated()], nothing_done, excluded=left_out)
    assert (len(planned.runs), planned.excluded) == (1, left_out)


def test_a_compiler_that_knows_some_models_only_says_so_before_anything_starts(compose):
    cell = cell_of(compose("model=detr", "hardware=inf2", "compiler=optimum_neuron"))
    assert re.match(r"compiler=optimum_neuron: .*object-detection", refuse(cell))
    assert refuse(cell_of(compose("model=bert", "hardware=inf2", "compiler=optimum_neuron"))) is None


def test_a_model_cut_over_more_cores_than_there_are_is_refused(compose):
    words = ("model=bert", "hardware=inf1", "compiler.pipeline_cores=4")
    message = "compiler.pipeline_cores=4 needs hardware.cores=4, not 1"
    assert refuse(cell_of(compose(*words))) == message
    assert refuse(cell_of(compose(*words, "hardware.cores=4"))) is None


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=bert_tiny"], "scenario=accuracy needs labelled data: choose dataset="),
        (
            ["model=vit_tiny", "dataset=bbc"],
            "dataset=bbc holds a text an item, image-classification answers a image",
        ),
        (
            ["model=bert_tiny", "task=fill_mask", "dataset=bbc"],
            "can't ask a model for fill-mask: choose task=",
        ),
        (["model=bert_tiny", "task=feature_extraction", "dataset=bbc"], "features are no answers: set head="),
        (
            ["model=bert_tiny", "dataset=bbc", "head=linear_probe"],
            "text-classification has a head of its own",
        ),
        (["model=bert_tiny", "dataset=bbc", "hardware=simulated"], "hardware=simulated computes no answers"),
    ],
)
def test_a_labelled_scenario_refuses_what_it_cannot_ask(compose, overrides, said):
    assert said in str(refuse(cell_of(compose("scenario=accuracy", *overrides))))


def test_a_data_set_that_is_not_here_is_unavailable_before_anything_starts(compose, fates):
    e = compose("scenario=accuracy", "model=bert_tiny", "dataset=text_table", "dataset.path=/no/items.csv")
    assert fates(e) == [
        ("unavailable", "dataset=text_table: /no/items.csv is not on this host: give another path")
    ]


def test_items_are_answered_in_one_process_and_calls_timed_in_several(compose, tmp_path):
    (tmp_path / "items.csv").write_text("text,label\na,b\nc,d\n")
    data = ["dataset=text_table", f"dataset.path={tmp_path / 'items.csv'}", "sampling.repeats=3"]
    both = [compose(f"scenario={name}", "model=bert_tiny", *data) for name in ("latency", "accuracy")]
    planned = plan(both, nothing_done).runs
    assert [run.cell.experiment.scenario.name for run in planned] == ["latency"] * 3 + ["accuracy"]
    assert len({run.artifact_group[3:] for run in planned}) == 1


def test_a_data_set_changes_cells_that_answer_it_and_no_others(compose, tmp_path):
    (tmp_path / "items.csv").write_text("text,label\na,b\nc,d\n")
    data = ["model=bert_tiny", "dataset=text_table", f"dataset.path={tmp_path / 'items.csv'}"]

    def ids(*overrides):
        return [cell_of(compose(f"scenario={name}", *overrides)).cell_id for name in ("latency", "accuracy")]

    first = ids(*data)
    assert ids(*data, "dataset.metric=f1")[0] == first[0] == ids("model=bert_tiny")[0]
    assert ids(*data, "dataset.metric=f1")[1] != first[1]
    (tmp_path / "items.csv").write_text("text,label\na,b\nc,e,\n")
    assert ids(*data)[1] != first[1]

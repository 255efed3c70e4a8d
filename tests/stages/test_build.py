"""Weights are made once per architecture, references once per shape; a child does the heavy part."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import cell_of, environment_of, versions_of_reference
from benchmark.errors import Crashed, Incompatible, Unavailable
from benchmark.stages.build import build
from benchmark.stages.plan import plan


class Child:
    """Stands for the child process: notes what it was asked for and leaves what it would have left."""

    def __init__(self):
        self.asked = []

    def __call__(self, function, *arguments):
        self.asked.append(function.__name__)
        *given, folder = arguments
        if function.__name__ == "_make_weights":
            (folder / "model.safetensors").write_bytes(repr(given).encode())
            return {"label": "weights", "parameters": 4_386_178}
        (folder / "outputs.safetensors").write_bytes(repr(given).encode())
        return {
            "label": "reference",
            "name": "model",
            "calls": 1,
            "parameters": 4_386_178,
            "input_names": ["input_ids", "attention_mask"],
            "input_shapes": {"input_ids": [2, 128], "attention_mask": [2, 128]},
            "input_dtypes": {"input_ids": "int64", "attention_mask": "int64"},
            "flops_per_call": 22_348,
            "weight_bytes": 440,
        }


@pytest.fixture
def child():
    return Child()


@pytest.fixture
def cache(tmp_path):
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    return opened


@pytest.fixture
def on_cpu(compose, monkeypatch):
    """An experiment on the CPU, on a host that need not have torch."""
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    return compose("batch=2")


@pytest.fixture
def built(child, cache):
    def made(experiment):
        (run,) = plan([experiment], lambda _: {}).runs
        return build(run.cell, run.environment, cache, child)

    return made


def test_a_workload_tells_what_the_child_found(on_cpu, built):
    workload = built(on_cpu)
    assert workload.input_names == ("input_ids", "attention_mask")
    assert workload.input_shapes == {"input_ids": (2, 128), "attention_mask": (2, 128)}
    assert workload.input_dtypes["input_ids"] == "int64"
    assert (workload.shape.label, workload.parameters) == ("b2 s128", 4_386_178)
    assert (workload.reference / "outputs.safetensors").is_file()
    assert workload.threads == on_cpu.hardware.facts().threads
    assert workload.torch_device == "cpu"
    assert (workload.flops_per_call, workload.weight_bytes) == (22_348, 440)


def test_the_same_cell_is_built_once(on_cpu, built, child):
    first, second = built(on_cpu), built(on_cpu)
    assert child.asked == ["_make_weights", "_make_reference"]
    assert first.reference == second.reference


def test_another_shape_shares_the_weights_but_has_its_own_reference(on_cpu, built, child):
    first = built(on_cpu)
    for change in ({"batch": 4}, {"seq_len": 64}):
        other = built(replace(on_cpu, **change))
        assert other.weights_digest == first.weights_digest
        assert other.reference != first.reference
    assert child.asked == ["_make_weights", *["_make_reference"] * 3]


def test_another_compiler_shares_weights_and_reference(on_cpu, built, compose):
    first = built(on_cpu)
    other = built(replace(on_cpu, compiler=compose("compiler=onnxruntime").compiler))
    assert (other.reference, other.weights_digest) == (first.reference, first.weights_digest)


def test_the_compiler_s_version_does_not_count_for_the_reference_and_its_answers(on_cpu):
    libraries = dict.fromkeys(on_cpu.task.libraries, "1.0")
    environment = environment_of(on_cpu.hardware.facts(), {**libraries, "onnxruntime": "2.0"}, {})
    assert versions_of_reference(cell_of(on_cpu), environment) == libraries


@pytest.mark.parametrize("change", ["seed", "architecture"])
def test_another_seed_or_architecture_has_its_own_weights(on_cpu, built, child, change):
    first = built(on_cpu)
    changed = (
        replace(on_cpu, seed=1)
        if change == "seed"
        else replace(on_cpu, model=replace(on_cpu.model, architecture={"model_type": "bert"}))
    )
    assert built(changed).weights_digest != first.weights_digest
    assert child.asked.count("_make_weights") == 2


def test_other_versions_of_the_libraries_make_their_own_weights_and_reference(
    on_cpu, built, child, monkeypatch
):
    built(on_cpu)
    monkeypatch.setattr(metadata, "version", lambda _: "2.0")
    built(on_cpu)
    assert child.asked == ["_make_weights", "_make_reference"] * 2


def test_published_weights_are_kept_by_their_revision(on_cpu, built, child):
    model = replace(on_cpu.model, hub_id="google-bert/bert-base-uncased")
    published = replace(on_cpu, weights="pretrained", model=model)
    built(published)
    built(replace(published, seed=1, batch=2))
    assert child.asked.count("_make_weights") == 1
    built(replace(published, model=replace(model, revision="0123456")))
    assert child.asked.count("_make_weights") == 2


def test_local_weights_are_used_where_they_lie_and_known_by_their_content(on_cpu, built, child, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    experiment = replace(on_cpu, weights=str(folder))
    first = built(experiment)
    assert child.asked == ["_make_weights", "_make_reference"]  # the first checks the folder
    assert built(experiment).weights_digest == first.weights_digest
    assert len(child.asked) == 2
    assert first.load_module.args == (folder, first.shape)
    (folder / "model.safetensors").write_bytes(b"others")
    second = built(experiment)
    assert second.weights_digest != first.weights_digest
    assert second.reference != first.reference


@pytest.mark.parametrize("present", [(), ("config.json",), ("model.safetensors",)])
def test_a_folder_without_weights_is_unavailable_and_says_what_belongs_there(
    on_cpu, built, child, tmp_path, present
):
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(
        Unavailable, match=r"no config\.json with \*\.safetensors or pytorch_model\.bin there; use random"
    ):
        built(replace(on_cpu, weights=str(tmp_path)))
    assert child.asked == []


def test_a_child_that_fails_leaves_nothing_in_the_cache(on_cpu, cache):
    def failing(function, *arguments):
        (arguments[-1] / "half").write_bytes(b"written")
        raise Crashed("ended by SIGKILL")

    (run,) = plan([on_cpu], lambda _: {}).runs
    with pytest.raises(Crashed):
        build(run.cell, run.environment, cache, failing)
    assert cache.entries() == []


def test_a_simulated_workload_needs_no_child_and_no_library(simulated, built, child, cache):
    workload = built(simulated("batch=4", "seq_len=64"))
    assert (workload.shape.label, workload.reference) == ("b4 s64", None)
    assert workload.parameters == 4_386_178
    assert child.asked == []
    assert cache.entries() == []


def test_a_refused_reference_is_remembered(on_cpu, cache):
    class Refusing(Child):
        def __call__(self, function, *arguments):
            facts = super().__call__(function, *arguments)
            return {**facts, "refused": "other logits"} if function.__name__ == "_make_reference" else facts

    refusing = Refusing()
    (run,) = plan([on_cpu], lambda _: {}).runs
    for _ in range(2):
        with pytest.raises(Incompatible, match="other logits"):
            build(run.cell, run.environment, cache, refusing)
    assert refusing.asked == ["_make_weights", "_make_reference"]

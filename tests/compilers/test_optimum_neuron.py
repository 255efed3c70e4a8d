"""optimum-neuron: what its exporter is given, what is refused, and its rows with a stand-in for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from benchmark.compilers.optimum_neuron import OptimumNeuron, sizes
from benchmark.devices import neuron
from benchmark.errors import CompileFailed, LibraryMissing, UnsupportedOperator
from benchmark.execution import preload
from benchmark.neuron import optimum_registry
from benchmark.records import Model, Shape, Workload

FAKES = Path(__file__).parents[1] / "fakes"
KINDS = ("neuroncore-v2", "neuroncore-v3")


def workload(folder, task="text-classification", **fields):
    (folder / "config.json").write_text(json.dumps(fields.pop("config", {"model_type": "bert"})))
    shapes = {"input_ids": (4, 128), "attention_mask": (4, 128)}
    return replace(
        Workload(
            load_module=dict,
            input_names=tuple(shapes),
            input_shapes=shapes,
            input_dtypes=dict.fromkeys(shapes, "int64"),
            reference=folder,
            weights_digest="0",
            parameters=1,
            flops_per_call=None,
            weight_bytes=None,
            padding_share=None,
            shape=Shape(batch_size=4),
            threads=None,
            torch_device="cpu",
            target="inf2",
            task=task,
            weights=folder,
        ),
        **fields,
    )


@pytest.mark.parametrize(
    ("options", "cast"),
    [
        ({}, {"auto_cast": None, "auto_cast_type": None}),
        ({"fast_math": "matmult"}, {"auto_cast": "matmul", "auto_cast_type": "bf16"}),
        ({"fast_math": "all", "auto_cast_type": "tf32"}, {"auto_cast": "all", "auto_cast_type": "tf32"}),
    ],
)
def test_the_cast_is_always_given_as_the_exporter_spells_it(options, cast):
    asked = OptimumNeuron(**options).arguments("trn1")
    assert asked["compiler_kwargs"] == {**cast, "instance_type": "trn1"}
    assert OptimumNeuron(**options).tolerance == options.get("fast_math", "none")


def test_every_option_reaches_the_exporter_and_its_own_cache_is_off():
    asked = OptimumNeuron(optlevel=3, inline_weights=False).arguments(None)
    assert {name: value for name, value in asked.items() if name != "compiler_kwargs"} == {
        "optlevel": "3",
        "inline_weights_to_neff": False,
        "dynamic_batch_size": False,
        "disable_neuron_cache": True,
    }
    assert OptimumNeuron(dynamic_batch=True).arguments(None)["dynamic_batch_size"] is True


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (
            {"inline_weights": False, "dynamic_batch": True},
            "use inline_weights=true, or dynamic_batch=false",
        ),
        ({"auto_cast_type": "fp16"}, "use fast_math=matmult or all, or auto_cast_type=bf16"),
    ],
)
def test_options_without_effect_are_refused(options, advice):
    for kind in KINDS:
        assert OptimumNeuron(**options).refuse(kind).endswith(advice)
        assert OptimumNeuron().refuse(kind) is None


def test_sizes_are_given_by_the_names_that_the_registry_asks_for(tmp_path):
    text = optimum_registry.exported("bert", "text-classification")
    assert sizes(workload(tmp_path), text.axes) == {"batch_size": 4, "sequence_length": 128}
    both = replace(
        workload(tmp_path),
        input_names=("input_ids", "pixel_values"),
        input_shapes={"input_ids": (2, 77), "pixel_values": (3, 1, 32, 48)},
    )
    clip = optimum_registry.exported("clip", "zero-shot-image-classification")
    assert sizes(both, clip.axes) == {
        "text_batch_size": 2,
        "image_batch_size": 3,
        "sequence_length": 77,
        "num_channels": 1,
        "height": 32,
        "width": 48,
    }


@pytest.mark.parametrize(
    ("architecture", "task", "asked"),
    [
        ({"model_type": "detr"}, "object-detection", "no detr as one network for object-detection .*: yolos"),
        ({"model_type": "resnet"}, "image-classification", "no resnet .*: beit, clip, convnext, .*, vit"),
        ({"model_type": "timesformer"}, "video-classification", r"no timesformer .*: none\)"),
        ({"model_type": "t5"}, "text2text-generation", "no t5 as one network"),
        ({"model_type": None}, "text-to-image", "no pipeline as one network"),
        ({"model_type": "xlm"}, "feature-extraction", "token_type_ids, which it adds as words"),
        ({"model_type": "yolos", "image_size": [512, 864]}, "object-detection", "512 x 864 only"),
    ],
)
def test_a_model_that_it_cannot_have_is_refused_with_those_it_can(tmp_path, architecture, task, asked):
    architecture = {name: value for name, value in architecture.items() if value is not None}
    model = Model(name="m", architecture=architecture, parameters={})
    refusal = OptimumNeuron().refuse_model(model, task)
    assert refusal.endswith("use compiler=neuronx")
    with pytest.raises(CompileFailed, match=asked):
        OptimumNeuron().compile(workload(tmp_path, task, config=architecture), tmp_path)
    with pytest.raises(CompileFailed, match=asked):
        raise CompileFailed(refusal)


def test_a_model_that_it_has_is_not_refused():
    for model_type, task in (("bert", "fill-mask"), ("vit", "image-classification")):
        model = Model(name="m", architecture={"model_type": model_type, "image_size": 224}, parameters={})
        assert OptimumNeuron().refuse_model(model, task) is None


def test_a_part_of_a_model_is_refused(tmp_path):
    with pytest.raises(CompileFailed, match=r"takes models of one network.*use compiler=neuronx"):
        OptimumNeuron().compile(workload(tmp_path, name="decode"), tmp_path)


def test_a_target_that_it_lacks_is_refused(tmp_path):
    with pytest.raises(CompileFailed, match="no target trn3, only trn1, trn1n, inf2, trn2"):
        OptimumNeuron().compile(workload(tmp_path, target="trn3"), tmp_path)


@pytest.fixture
def exporter(monkeypatch):
    """Put a function in the exporter's place; the process gets its environment back."""
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "elsewhere")

    def put(main_export):
        for name in ("optimum", "optimum.exporters", "optimum.exporters.neuron"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["optimum.exporters.neuron"].main_export = main_export

    return put


@pytest.mark.parametrize(
    ("target", "asked"), [("inf2", "trn1"), ("trn1n", "trn1"), ("trn2", "trn2"), (None, None)]
)
def test_the_target_is_given_to_the_exporter_and_to_its_libraries(tmp_path, exporter, target, asked):
    seen = {}

    def main_export(name, output, compiler_workdir, **named):
        # Its flags depend on words in the path of the weights, so that has to tell nothing.
        seen.update(named, name=name, files=sorted(path.name for path in Path(name).iterdir()))
        seen["override"] = os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"]
        assert output == folder
        (compiler_workdir / "graph.neff").write_bytes(b"12345")

    exporter(main_export)
    folder, before = tmp_path / "unet" / "artefact", Path.cwd()
    folder.mkdir(parents=True)
    report = OptimumNeuron().compile(workload(folder, target=target), folder)
    assert seen["override"] == (asked or "elsewhere")
    assert seen["compiler_kwargs"]["instance_type"] == asked
    assert (seen["name"], seen["files"]) == ("weights", ["config.json"])
    assert (seen["task"], seen["do_validation"]) == ("text-classification", False)
    assert {"optlevel=2", "batch_size=4", "sequence_length=128"} <= set(report.flags)
    assert report.neff_bytes == 5
    assert Path.cwd() == before


def test_an_operator_that_the_compiler_lacks_is_named(tmp_path, exporter):
    def main_export(*_, **__):
        raise RuntimeError("[ERROR] [NCC_EVRF001] Operator topk is not supported. Locate the operator")

    exporter(main_export)
    with pytest.raises(UnsupportedOperator) as raised:
        OptimumNeuron().compile(workload(tmp_path), tmp_path)
    assert raised.value.operators == ("topk",)


def test_the_stubs_of_pypi_are_no_installation(monkeypatch):
    installed = {
        "optimum-neuron": "0.4.5",
        "torch-neuronx": "1.0",
        "neuronx-cc": "1.0.post1",
        "neuronx-distributed": "0.1",
        "transformers": "4.57.6",
        "torch": "2.8.0",
    }
    monkeypatch.setattr(metadata, "version", installed.__getitem__)
    with pytest.raises(
        LibraryMissing,
        match=r"^torch-neuronx 1\.0 and neuronx-cc 1\.0\.post1 and .* 0\.1 here are PyPI's.*pip",
    ):
        OptimumNeuron().versions()
    installed |= {"torch-neuronx": "2.8.0", "neuronx-cc": "2.21", "neuronx-distributed": "0.15.22404"}
    with pytest.raises(
        LibraryMissing, match=r"^optimum\.neuron can't be imported \(No module named 'optimum'"
    ):
        OptimumNeuron().versions()


def test_an_installation_that_can_be_imported_is_one(standing_in):
    assert OptimumNeuron().versions()["optimum-neuron"].startswith("0.4.5")


@pytest.fixture
def standing_in(monkeypatch, tmp_path):
    """A host on which optimum-neuron seems installed, and a Neuron device present."""
    for folder in ("optimum_device_libraries", "optimum"):
        monkeypatch.syspath_prepend(FAKES / folder)
    monkeypatch.setenv("PATH", f"{FAKES / 'environment_bin'}{os.pathsep}{os.environ['PATH']}")
    devices = tmp_path / "devices"
    devices.write_text("Character devices:\n246 neuron\n")
    monkeypatch.setattr(neuron, "DEVICES", devices)


@pytest.fixture
def cells(standing_in, compose):
    look = ("sampling=quick", "sampling.repeats=1", "sampling.max_s=1", "seq_len=32", "batch=2")
    return [
        compose("hardware=inf2", "compiler=optimum_neuron", *look, *words)
        for words in (
            ("model=bert_tiny", "compiler.fast_math=matmult"),
            ("model=vit_tiny", "scenario=throughput", "scenario.replicas=2"),
        )
    ]


@pytest.fixture
def interpreters(cells):
    """Instead of those for simulated cells."""
    opened = preload.interpreters(cells)
    opened.close()  # the server of simulated cells runs already, without torch
    with opened:
        yield opened


@pytest.mark.real
def test_its_rows_are_right_and_simulated_and_the_target_stays_in_the_child(
    cells, run_cells, monkeypatch, tmp_path
):
    monkeypatch.setenv("FAKE_NEURON_CALLS", str(tmp_path / "calls"))
    before = dict(os.environ)
    rows = run_cells(*cells)
    assert dict(os.environ) == before
    for cell, row in zip(cells, rows, strict=True):
        assert row["status"] == "ok", row["error"]
        assert row["simulated"]
        assert row["cosine"] > cell.verify.min_cosine[cell.compiler.fast_math]
        assert row["compiler"] == "optimum_neuron"
    assert dict(rows[1]["placement"]) == {"0/model": "0", "1/model": "1"}
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    processes = {(call["core"], call["pid"]) for call in calls}
    assert sorted(core for core, _ in processes) == [0, 0, 1]  # of the first cell's, and of two replicas
    assert not any(call["recorded"] for call in calls)  # gradients, in no thread of callers
    asked = sorted(_arguments(cells[0].cache_root), key=lambda one: one["compiler_args"])
    assert [one["compiler_args"] for one in asked] == [
        "--auto-cast matmult --auto-cast-type bf16 --optlevel 2 --target trn1 --model-type transformer",
        "--auto-cast none --optlevel 2 --target trn1 --model-type transformer",
    ]
    for one in asked:
        assert one["name"] == "weights"
        assert one["disable_neuron_cache"]
        assert one["has_compiler_workdir"]
        assert not one["do_validation"]


def _arguments(root):
    """What the stand-in's exporter left in the artefacts."""
    files = Path(root).rglob("model.neuron")
    return [json.loads((file.parent / "config.json").read_text())["neuron"] for file in files]


def test_choosing_it_imports_nothing_of_it():
    code = (
        "import os, sys; before = dict(os.environ);"
        "from benchmark.compilers.optimum_neuron import OptimumNeuron as O; O().versions();"
        "print([m for m in sys.modules if m.partition('.')[0] in ('optimum', 'torch', 'transformers')],"
        "dict(os.environ) == before)"
    )
    path = os.pathsep.join(str(FAKES / folder) for folder in ("optimum", "optimum_device_libraries"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[] True"


@pytest.mark.parametrize(
    ("kind", "options", "target", "line"),
    [
        (
            "bert",
            {"fast_math": "matmult"},
            "inf2",
            "--auto-cast matmult --auto-cast-type bf16 --optlevel 2 --target trn1 --model-type transformer",
        ),
        ("mobilenet_v2", {"optlevel": 3}, "trn2", "--auto-cast none --optlevel 3 --target trn2"),
    ],
)
def test_the_command_line_is_the_one_that_the_library_makes(kind, options, target, line):
    model = Model(name="a", architecture={"model_type": kind})
    lines = OptimumNeuron(**options).commands(model, ("model",), target, {})
    assert lines == {"model": f"neuronx-cc compile {line}"}


def test_an_unknown_target_has_no_command_line():
    model = Model(name="a", architecture={"model_type": "bert"})
    assert OptimumNeuron().commands(model, ("model",), "inf1", {}) == {}

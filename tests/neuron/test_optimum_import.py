"""optimum-neuron 0.4.5 itself, in an interpreter that has it: what its import does, and what it takes.

BENCHMARK_OPTIMUM_PYTHON names that interpreter: Python 3.10 or 3.11 with optimum-neuron==0.4.5 (--no-deps),
optimum==2.0.0, transformers==4.57.6, huggingface_hub<1, torch for the CPU, and what this program stands on.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from benchmark.neuron import optimum_registry

VARIABLE = "BENCHMARK_OPTIMUM_PYTHON"
HERE = Path(__file__).parent
CONF = HERE.parents[1] / "conf"
NOT_CALLED = {"t5-encoder", "t5-decoder", "whisper-encoder", "whisper-decoder"}
"""Halves of models."""


def ask(script, *words):
    python = os.environ.get(VARIABLE)
    if python is None:
        pytest.skip(f"{VARIABLE} names no interpreter that has optimum-neuron {optimum_registry.VERSION}")
    done = subprocess.run(
        [python, str(HERE / script), *words],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def message():
    (answer,) = ask("optimum_registry.py")
    return answer


def test_importing_it_changes_the_environment_so_it_is_imported_in_children_alone(message):
    assert message["version"] == optimum_registry.VERSION
    assert message["changed"] == {"NEURON_PLATFORM_TARGET_OVERRIDE": "trn1"}
    assert any("we override the platform target to trn1" in warning for warning in message["warned"])


def test_our_table_is_its_registry(message):
    registry = {tuple(key.split()): tuple(axes) for key, axes in message["registry"].items()}
    table = {key: entry.axes for key, entry in optimum_registry.table().items()}
    assert table.items() <= registry.items()
    left_out = registry.keys() - table.keys()
    assert {model_type for model_type, _ in left_out} >= NOT_CALLED
    for model_type, task in left_out:
        assert model_type in NOT_CALLED or task in {"feature-extraction", "image-segmentation"}


def test_it_takes_of_our_models_those_that_our_table_has_with_the_same_inputs(message):
    for key, inputs in message["ours"].items():
        model, task = key.split()
        written = yaml.safe_load((CONF / "model" / f"{model}.yaml").read_text(encoding="utf-8"))
        entry = optimum_registry.exported(written["architecture"].get("model_type"), task.replace("_", "-"))
        assert inputs == (list(entry.inputs) if entry else None), key


@pytest.mark.real
def test_its_exporter_and_its_classes_work_under_ours(tmp_path):
    cells = (
        "model=bert_tiny batch=2",
        "model=bert_tiny task=question_answering compiler.fast_math=matmult compiler.auto_cast_type=fp16",
        "model=vit_tiny compiler.fast_math=all compiler.optlevel=1 compiler.inline_weights=false",
        "model=clip_tiny batch=2",
    )
    words = " -- ".join(f"hardware=inf2 seq_len=32 {cell}" for cell in cells).split()
    rows = ask("optimum_export.py", str(tmp_path / "cache"), *words)
    assert [row["status"] for row in rows] == ["ok"] * len(cells), rows
    assert min(row["cosine"] for row in rows) > 0.9999
    assert all(row["stands_in"] for row in rows)
    assert [row["traced"][0]["compiler_args"] for row in rows] == [
        "--auto-cast none --optlevel 2 --target trn1 --model-type transformer",
        "--auto-cast matmult --auto-cast-type fp16 --optlevel 2 --target trn1 --model-type transformer",
        "--auto-cast all --auto-cast-type bf16 --optlevel 1 --target trn1 --model-type transformer",
        "--auto-cast none --optlevel 2 --target trn1 --model-type transformer",
    ]
    assert [row["traced"][0]["inline_weights_to_neff"] for row in rows] == [True, True, False, True]

"""What a training refuses before anything runs, each with what to do."""

from __future__ import annotations

import pytest

from benchmark.cell import cell_of
from benchmark.stages.plan import refuse

USUAL = ("scenario=training", "compiler=eager", "batch=4")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ("compiler=onnxruntime",),
            "compiler=onnxruntime: what it makes can't be trained: use compiler=eager",
        ),
        (("compiler=eager", "compiler.dtype=bf16"), "use dtype=fp32 with fast_math=all"),
        (
            ("compiler=eager", "compiler.matmul_precision=fastest"),
            "matmul_precision=fastest is timed on calls",
        ),
        (
            ("compiler=eager", "compiler.fast_math=all", "compiler.autocast_dtype=fp16"),
            "autocast_dtype=fp16 is for GPUs",
        ),
        (("task=feature_extraction",), "task=feature_extraction has no labels to train with"),
        (("scenario.ranks=1000",), "scenario.ranks=1000: hardware=cpu has"),
        (("scenario.epochs=2",), "scenario.steps=50 and scenario.epochs=2: give one of them"),
        (("scenario.steps=null",), "scenario.steps=null and scenario.epochs=null: give one of them"),
        (("scenario.momentum=0.9",), "scenario.momentum=0.9 has no effect with optimizer=adamw"),
        (
            ("scenario.scaling=strong", "scenario.accumulation=3"),
            "batch=4 can't be split into 3 equal parts, ranks x accumulation",
        ),
        (("batch=300",), "one step takes 300 items, and there are scenario.items=256"),
        (("scenario.steps=6",), "6 steps leave fewer than 2 to time after scenario.warmup_steps=5"),
        (("hardware=simulated", "compiler=simulated"), "compiler=simulated: what it makes can't be trained"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_runs(compose, overrides, reason):
    refusal = refuse(cell_of(compose(*USUAL, *overrides)))
    assert refusal is not None
    assert reason in refusal


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model=vit_tiny",),
        ("compiler=inductor", "compiler.fast_math=all"),
        ("task=fill_mask",),
        ("scenario.optimizer=sgd", "scenario.momentum=0.9"),
        ("scenario.epochs=2", "scenario.steps=null"),
    ],
)
def test_what_can_be_trained_is_not_refused(compose, overrides):
    assert refuse(cell_of(compose(*USUAL, *overrides))) is None


def test_a_scenario_chooses_its_compiler_and_a_command_line_wins(compose):
    assert compose("scenario=training").compiler.name == "eager"
    assert compose("scenario=training", "compiler=inductor").compiler.name == "inductor"

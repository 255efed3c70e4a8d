"""The lines of progress name what tells the cells of a grid apart."""

from __future__ import annotations

from benchmark.cli.progress import labels
from benchmark.config.sweep import grid
from benchmark.stages.plan import plan


def named(*overrides):
    return [*labels(plan(grid(["hardware=simulated", *overrides]), lambda _: {}).runs).values()]


def test_a_line_names_each_option_that_differs_in_the_grid():
    assert named("batch=1,2", "seed=3,4", "compiler.call_ms=0.5") == [
        "bert_tiny simulated simulated none b1 s128 seed=3",
        "bert_tiny simulated simulated none b1 s128 seed=4",
        "bert_tiny simulated simulated none b2 s128 seed=3",
        "bert_tiny simulated simulated none b2 s128 seed=4",
    ]


def test_a_line_names_quantisation_once():
    assert named("compiler=onnxruntime", "compiler.quantization=none,int8", "seed=7") == [
        "bert_tiny simulated onnxruntime none b1 s128",
        "bert_tiny simulated onnxruntime none int8 b1 s128",
    ]
    assert named("compiler=onnxruntime", "compiler.quantization=int8") == [
        "bert_tiny simulated onnxruntime none int8 b1 s128"
    ]


def test_what_follows_from_a_name_is_in_no_line():
    assert named("model=bert_tiny,vit_tiny") == [
        "bert_tiny simulated simulated none b1 s128",
        "vit_tiny simulated simulated none b1 px32",
    ]

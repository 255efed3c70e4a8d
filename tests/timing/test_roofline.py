"""The fraction of a machine's best is exact arithmetic; what a call takes is counted as theory has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmark.timing.roofline import Peak, fraction

PEAK = Peak(
    flops_per_s={"fp32": 100e9, "bf16": 400e9},
    copy_bytes_per_s=((1 << 20, 40e9), (4 << 20, 50e9), (16 << 20, 20e9), (64 << 20, 10e9)),
)
SLOW_BF16 = Peak(flops_per_s={"fp32": 100e9, "bf16": 5e9}, copy_bytes_per_s=((1 << 20, 40e9),))


def test_a_call_bound_by_arithmetic_is_judged_by_the_peak_of_its_type():
    assert fraction(10**9, 1000, 0.02, "fp32", PEAK) == 0.5
    assert fraction(10**9, 1000, 0.02, "bf16", PEAK) == 0.125


def test_a_call_bound_by_its_weights_is_judged_by_the_bandwidth():
    assert fraction(10**6, 200_000_000, 0.04, "fp32", PEAK) == 0.5


def test_the_longer_of_arithmetic_and_weights_counts_not_their_sum():
    weights = 20_000_000  # 1 ms at 20e9
    assert fraction(99 * 10**6, weights, 0.001, "fp32", PEAK) == 1.0
    assert fraction(101 * 10**6, weights, 0.001, "fp32", PEAK) == 1.01


@pytest.mark.parametrize(
    ("dtype", "seconds"), [("fp32", 0.04), ("tf32", 0.04), ("bf16", 0.02), ("fp16", 0.02)]
)
def test_weights_are_read_in_the_type_of_the_products(dtype, seconds):
    assert fraction(0, 400_000_000, 1.0, dtype, PEAK) == seconds


def test_a_type_that_was_not_measured_is_judged_by_the_highest_peak_and_the_least_traffic():
    assert PEAK.flops_at("fp8_e4m3") == 400e9
    assert fraction(10**9, 0, 0.01, "fp8_e4m3", PEAK) == 0.25
    assert fraction(0, 400_000_000, 1.0, "fp8_e4m3", PEAK) == 0.01


def test_no_type_is_judged_by_less_than_fp32_reaches():
    assert SLOW_BF16.flops_at("bf16") == 100e9
    assert PEAK.flops_at("bf16") == 400e9


@pytest.mark.parametrize(
    ("touched", "rate"),
    [
        (0, 50e9),
        (1 << 20, 50e9),
        ((4 << 20) - 1, 50e9),
        (4 << 20, 50e9),
        ((16 << 20) - 1, 50e9),
        (16 << 20, 20e9),
        (64 << 20, 10e9),
        (1 << 40, 10e9),
    ],
)
def test_bandwidth_is_the_best_from_the_next_smaller_size_on(touched, rate):
    assert PEAK.bandwidth(touched) == rate


@pytest.mark.parametrize(
    "unknown",
    [(None, 1000, 0.01, "fp32", PEAK), (10**9, None, 0.01, "fp32", PEAK), (1, 1, 1.0, "fp32", None)],
)
def test_what_is_unknown_has_no_fraction(unknown):
    assert fraction(*unknown) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"flops_per_s": {"fp32": 0.0}, "copy_bytes_per_s": ((1, 1.0),)},
        {"flops_per_s": {"fp32": 1.0}, "copy_bytes_per_s": ()},
        {"flops_per_s": {"fp32": 1.0}, "copy_bytes_per_s": ((1, -1.0),)},
    ],
)
def test_a_peak_of_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Peak(**wrong)


COUNT = """
import json, sys, tempfile
from pathlib import Path

import torch

from benchmark.cell import cell_of
from benchmark.config.sweep import grid
from benchmark.models import composite, flops

message = {}
for name in sys.argv[1:]:
    model, _, batch = name.partition(" ")
    (e,) = grid([f"model={model}", f"batch={batch}", "seq_len=128"])
    shape = cell_of(e).shape
    with tempfile.TemporaryDirectory() as folder:
        e.task.make_weights(e.model, "random", 0, Path(folder))
        inputs = e.task.inputs(e.model, shape, 0)
        message[name] = composite.write_reference(e.task.module(Path(folder), shape), inputs, Path(folder), 1)


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.positions = torch.nn.Embedding(10, 4), torch.nn.Embedding(7, 4)
        self.head = torch.nn.Linear(4, 10)
        self.head.weight = self.table.weight
        self.again = self.head


class Choosy(torch.nn.Linear):
    def forward(self, x):
        return (super().forward(x) if x.sum() > 0 else x,)


message["tied"] = flops.weight_bytes(Tied())
message["choosy"] = flops.flops_per_call(Choosy(4, 4), (torch.ones(1, 4),))
print(json.dumps(message))
"""

TINY = [f"{name}_tiny {batch}" for name in ("bert", "albert", "distilbert", "vit") for batch in (1, 3)]


@pytest.fixture(scope="module")
def ran():
    command = [sys.executable, "-W", "ignore", "-c", COUNT, *TINY]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=240, check=True)


@pytest.fixture(scope="module")
def message(ran):
    return json.loads(ran.stdout.splitlines()[-1])


def encoder(layers, tokens, width, inner):
    """Projections, attention and feed-forward: 2 operations for each multiply-add."""
    return layers * (8 * tokens * width**2 + 4 * tokens**2 * width + 4 * tokens * width * inner)


def classified(width, labels):
    """A dense layer on one token, then the labels."""
    return 2 * width**2 + 2 * width * labels


THEORY = {
    "bert_tiny": encoder(2, 128, 128, 512) + classified(128, 2),
    "distilbert_tiny": encoder(2, 128, 128, 512) + classified(128, 2),
    "albert_tiny": encoder(2, 128, 128, 512) + 2 * 128 * 64 * 128 + classified(128, 2),
    "vit_tiny": encoder(2, 17, 64, 256) + 2 * 16 * (3 * 8 * 8) * 64 + 2 * 64 * 10,
}


@pytest.mark.real
@pytest.mark.alone
@pytest.mark.parametrize("name", TINY)
def test_operations_are_those_of_theory_and_grow_with_the_batch(message, name):
    model, _, batch = name.partition(" ")
    assert message[name]["flops_per_call"] == THEORY[model] * int(batch)


@pytest.mark.real
@pytest.mark.alone
def test_every_weight_is_read_but_those_of_embedding_tables(message):
    assert message["bert_tiny 1"]["weight_bytes"] == 4 * (4_386_178 - (30_522 + 512 + 2) * 128)
    assert message["albert_tiny 1"]["weight_bytes"] == 4 * (320_386 - (1_000 + 512 + 2) * 64)
    assert message["vit_tiny 1"]["weight_bytes"] == message["vit_tiny 3"]["weight_bytes"] == 4 * 114_250


@pytest.mark.real
@pytest.mark.alone
def test_a_table_that_is_also_the_head_is_read_once(message):
    assert message["tied"] == 4 * (10 * 4 + 10)


@pytest.mark.real
@pytest.mark.alone
def test_a_module_that_looks_at_its_inputs_has_no_count_and_the_log_says_why(ran, message):
    assert message["choosy"] is None
    assert "flops_per_call is null: operations can't be counted: DataDependentOutputException" in ran.stderr

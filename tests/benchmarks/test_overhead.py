"""What the program costs: per cell beyond the calls it times, and in the times it reports. Asserts none."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmark.host import machine
from benchmark.store.results import load

pytestmark = [pytest.mark.benchmarks, pytest.mark.timeout(1800)]

TURNS = 10
CELLS = ",".join(str(length) for length in range(64, 124, 2))


def test_cost_per_cell_with_a_warm_cache(command, tmp_path):
    grid = (
        "-m",
        "model=bert_tiny",
        "compiler=torchscript",
        f"seq_len={CELLS}",
        "sampling=quick",
        "sampling.repeats=1",
    )
    assert command(*grid, "campaign=cold", timeout=600).returncode == 0
    assert command(*grid, "campaign=warm", timeout=600).returncode == 0
    rows = load(tmp_path / "outputs/results", "campaign=warm").sort_values("started_at")
    assert rows["cache_hit"].all()
    parts = pd.json_normalize(rows["stage_seconds"].map(dict).tolist())
    timed = parts["measure.warmup"] + parts["measure.calls"]
    wall = (rows["finished_at"].reset_index(drop=True).diff().dt.total_seconds() - timed)[
        1:
    ]  # the first pays imports
    of_measure = [name for name in parts if name.startswith("measure.")]
    parts["measure.rest: answers, statistics"] = parts["measure"] - parts[of_measure].fillna(0).sum(axis=1)
    stages = parts[1:].drop(columns=["measure", "measure.warmup", "measure.calls"]).median()
    print(f"\nbeyond warm-up and timed calls, median of {len(wall)} cells: {wall.median() * 1e3:.0f} ms")
    for name, seconds in stages.sort_values(ascending=False).items():
        print(f"  {seconds * 1e3:7.1f} ms  {name}")
    print(f"  {(wall.median() - stages.sum()) * 1e3:7.1f} ms  row, fsync, progress")


@pytest.mark.parametrize(("model", "calls"), [("bert_tiny", 400), ("distilbert", 60)])
def test_reported_p50_against_a_hand_written_loop(command, tmp_path, model, calls):
    """The same weights from the same files, in turns that swap who goes first."""
    sampling = (
        f"sampling.min_calls={calls}",
        f"sampling.max_calls={calls}",
        "sampling.min_s=0",
        "sampling.repeats=1",
    )
    loop = Path(__file__).with_name("hand_loop.py")

    def by_tool(turn):
        ran = command(f"model={model}", "compiler=eager", *sampling, f"campaign=turn{turn}", timeout=600)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (row,) = load(tmp_path / "outputs/results", f"campaign=turn{turn}").to_dict("records")
        return row["latency_p50_ms"]

    def by_hand(_):
        (weights,) = {file.parent for file in (tmp_path / "compile_cache").glob("*/model.safetensors")}
        numbers = ("1", "128", str(calls), str(machine.usable_cores()))
        looped = subprocess.run(
            [sys.executable, str(loop), str(weights), *numbers],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        return float(looped.stdout)

    by_tool("cold")  # makes the weights
    tool, hand = [], []
    for turn in range(TURNS):
        for took, timed in [(tool, by_tool), (hand, by_hand)][:: 1 if turn % 2 else -1]:
            took.append(timed(turn))
    ratios = [ours / theirs for ours, theirs in zip(tool, hand, strict=True)]
    print(f"\n{model}: p50 of the tool / p50 by hand, {TURNS} turns:", *(f"{ratio:.3f}" for ratio in ratios))
    print(f"  median of the ratios {statistics.median(ratios):.3f}")
    print(f"  ratio of the medians {statistics.median(tool) / statistics.median(hand):.3f}")

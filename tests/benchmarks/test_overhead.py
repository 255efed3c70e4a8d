"""What the program costs: per cell beyond the calls it times, and in the times it reports. Asserts none."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.store.results import load
from tests.benchmarks.by_hand import Look, compare

pytestmark = [pytest.mark.benchmarks, pytest.mark.timeout(1800)]

CELLS = ",".join(str(length) for length in range(64, 124, 2))


def test_cost_per_cell_with_a_warm_cache(command, tmp_path):
    grid = ("-m", "model=bert_tiny", "compiler=torchscript", f"seq_len={CELLS}", "sampling=quick")
    assert command(*grid, "campaign=cold", timeout=600).returncode == 0
    assert command(*grid, "campaign=warm", timeout=600).returncode == 0
    rows = load(tmp_path / "outputs/results", "campaign=warm").sort_values("started_at")
    assert rows["cache_hit"].all()
    parts = pd.json_normalize(rows["stage_seconds"].map(dict).tolist())
    timed = parts["measure.warmup"] + parts["measure.calls"]
    wall = (rows["finished_at"].reset_index(drop=True).diff().dt.total_seconds() - timed)[
        1:
    ]  # the first pays imports
    parts["first call"] = rows["first_call_ms"].to_numpy() / 1e3
    parts["child: fork, unpickle, answer"] = (
        parts["measure"] - timed - parts["measure.load"] - parts["first call"]
    )
    stages = parts[1:].drop(columns=["measure", "measure.warmup", "measure.calls"]).median()
    print(f"\nbeyond warm-up and timed calls, median of {len(wall)} cells: {wall.median() * 1e3:.0f} ms")
    for name, seconds in stages.sort_values(ascending=False).items():
        print(f"  {seconds * 1e3:7.1f} ms  {name}")
    print(f"  {(wall.median() - stages.sum()) * 1e3:7.1f} ms  row, fsync, progress")


@pytest.mark.parametrize(("model", "seconds"), [("bert_tiny", 0.7), ("distilbert", 2.0)])
def test_reported_p50_against_a_hand_written_loop(model, seconds):
    """In fresh processes, in turns that swap who goes first; `by_hand` has more compilers and settings."""
    compare(model, ["eager"], turns=10, setting_turns=0, look=Look(seconds, percentile=50, threads=None))

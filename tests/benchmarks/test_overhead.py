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
    parts = pd.json_normalize(rows["stage_seconds"].map(dict).tolist()).fillna(0)
    timed = parts.pop("measure.warmup") + parts.pop("measure.calls")
    wall = rows["finished_at"].reset_index(drop=True).diff().dt.total_seconds() - timed
    inside = parts.columns[parts.columns.str.startswith("measure.")]
    parts["measure.end"] = parts.pop("measure") - timed - parts[inside].sum(axis="columns")
    parts["row, progress"] = wall - parts.sum(axis="columns")
    means = parts[1:].assign(beyond=wall).mean() * 1e3  # the first pays imports
    print(f"\nmilliseconds of a process beyond warm-up and timed calls, means of {len(parts) - 1}:")
    print(means[means.abs() >= 0.05].sort_values(ascending=False).round(1).to_string())


@pytest.mark.parametrize(("model", "seconds"), [("bert_tiny", 0.7), ("distilbert", 2.0)])
def test_reported_p50_against_a_hand_written_loop(model, seconds):
    """In fresh processes, in turns that swap who goes first; `by_hand` has more compilers and settings."""
    compare(model, ["eager"], turns=10, setting_turns=0, look=Look(seconds, percentile=50, threads=None))

"""Write a store of many simulated rows, and ask it what a plan, a resume and a compaction ask.

python tests/benchmarks/many_rows.py --rows 1000000 --ask FOLDER    (300 MB; --ask adds 1,000 rows)

Campaigns of 10,000 rows in parts of 80,000, ids of random hex, 20 samples a row, 1 row in 20 a failure.
Two campaigns measure each grid, three environments take turns. Every row says simulated=true.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmark.records import Row
from benchmark.store import history
from benchmark.store.compaction import new_part
from benchmark.store.durations import durations
from benchmark.store.parquet import PART_FORMAT, PLAIN, serialised
from benchmark.store.results import ResultsStore
from benchmark.store.schema import SCHEMA_VERSION

CAMPAIGN_ROWS, PART_ROWS, SAMPLES = 10_000, 80_000, 20
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
ENVIRONMENTS = ("1a127342ed9dfb8a", "7c0e4b5d9a2f6183", "e5d8f1b2c3a49670")
MODELS, COMPILERS = ("bert_tiny", "vit_tiny", "roberta_tiny"), ("simulated", "eager", "inductor")
STATUSES = ("ok", "oom_host", "oom_device", "timeout", "crashed", "interrupted")
SHARES = (0.95, 0.015, 0.01, 0.01, 0.01, 0.005)
STAGES = ("plan", "build", "compile", "measure", "verify", "measure.load", "measure.warmup", "measure.calls")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--rows", type=int, default=1_000_000, help="rows to write; 0 asks what is there")
    options.add_argument("--ask", action="store_true", help="print how long each question takes")
    asked = options.parse_args()
    store = ResultsStore(asked.folder)
    if asked.rows:
        print(f"wrote {asked.rows:,} rows in {seconds(write, store, asked.rows):.0f} s")
    if asked.ask:
        ask(store)


def ask(store: ResultsStore) -> None:
    rows = store.table(["run_id", "campaign", "environment_id"])
    campaigns, everywhere = rows["campaign"].unique().to_pylist(), rows["environment_id"].unique().to_pylist()
    name = campaigns[len(campaigns) // 2]
    own = list(store.statuses(name))
    scattered = rows["run_id"].to_pylist()[:: max(1, len(rows) // 10_000)]
    shown = ["run_id", "model", "status", "error", "latency_p50_ms", "latency_ns", "config"]
    questions = {
        "statuses of a campaign": lambda: store.statuses(name),
        "statuses of all": store.statuses,
        f"of {len(own):,} runs of a campaign": lambda: store.of_runs(own, shown, name),
        "the same, without the campaign": lambda: store.of_runs(own, shown),
        f"of {len(scattered):,} runs all over": lambda: store.of_runs(scattered, shown),
        "fresh in one environment": lambda: history.fresh(store, everywhere[:1]),
        "fresh in all": lambda: history.fresh(store, everywhere),
        "exhausted in one environment": lambda: history.exhausted(store, everywhere[:1]),
        "exhausted in all": lambda: history.exhausted(store, everywhere),
        "durations": lambda: durations(store, MODELS, ["simulated"]),
        "durations of models without rows": lambda: durations(store, ["none"], ["none"]),
        "compact, nothing new": store.compact,
    }
    for words, question in questions.items():
        print(f"{words:<40} {seconds(question):6.2f} s")
    grow(store)


def grow(store: ResultsStore) -> None:
    """A thousand new rows, as a grid appends and merges them; then as many that another process left."""
    made = campaign(99_999, 0, 1000, np.random.default_rng()).to_pylist()
    new = [Row(values={**row, "finished_at": datetime.now(timezone.utc)}) for row in made]
    steps = {
        "append 1,000 rows": lambda: [store.append(row) for row in new],
        "compact them in the middle of a grid": lambda: store.compact(thorough=False),
        "append them again": lambda: [store.append(row) for row in new],
        "statuses of their campaign": lambda: store.statuses(new[0].values["campaign"]),
        "compact as another process, thoroughly": ResultsStore(store.paths.root).compact,
    }
    for words, step in steps.items():
        print(f"{words:<40} {seconds(step):6.2f} s")


def write(store: ResultsStore, rows: int) -> None:
    simulated = store.paths.of("simulated")
    simulated.root.mkdir(parents=True)
    store.prepare()
    random = np.random.default_rng(7)
    for first in range(0, rows, PART_ROWS):
        last = min(first + PART_ROWS, rows)
        tables = [
            campaign(number // CAMPAIGN_ROWS, number, min(CAMPAIGN_ROWS, last - number), random)
            for number in range(first, last, CAMPAIGN_ROWS)
        ]
        part = serialised(pa.concat_tables(tables), PART_FORMAT)
        new_part(simulated, last).write_bytes(part)


def campaign(number: int, before: int, rows: int, random: np.random.Generator) -> pa.Table:
    """Rows of one campaign, written after so many others."""
    name = f"many-{number:05d}"
    grid = np.random.default_rng(number // 2)
    statuses = random.choice(STATUSES, rows, p=SHARES)
    ok = statuses == "ok"
    batch, length = 2 ** grid.integers(0, 8, rows), 2 ** grid.integers(4, 10, rows)
    finished = START + timedelta(hours=number) + timedelta(milliseconds=300) * np.arange(1, rows + 1)
    values = {
        "schema_version": np.full(rows, SCHEMA_VERSION),
        "run_id": hexes(rows, random),
        "campaign": [name] * rows,
        "cell_id": hexes(rows, grid),
        "environment_id": [ENVIRONMENTS[number // 2 % 3]] * rows,
        "family_id": grid.choice(hexes(200, grid), rows),
        "repeat": np.zeros(rows, int),
        "started_at": finished - timedelta(milliseconds=280),
        "finished_at": finished,
        "sequence": np.arange(before + 1, before + 1 + rows),
        "status": statuses,
        "stage": pa.array(["measure"] * rows, mask=ok),
        "error": pa.array(["more memory wanted than there is"] * rows, mask=ok),
        "simulated": np.ones(rows, bool),
        "model": grid.choice(MODELS, rows),
        "compiler": grid.choice(COMPILERS, rows),
        "batch_size": batch,
        "sequence_length": length,
        "compile_s": pa.array(random.gamma(2.0, 5.0, rows), mask=~ok),
        "cache_hit": pa.array(random.random(rows) < 0.5, mask=~ok),
        "stage_seconds": stage_seconds(rows, random),
        "config": [resolved(name, *axes) for axes in zip(batch.tolist(), length.tolist(), strict=True)],
        "overrides": [["hardware=simulated", f"batch={size}"] for size in batch],
        **dict.fromkeys(("task", "weights", "hardware", "fast_math"), ["simulated"] * rows),
        **latencies(rows, ok, batch, random),
    }
    columns = [
        pa.array(values[field.name]).cast(field.type) if field.name in values else pa.nulls(rows, field.type)
        for field in PLAIN
    ]
    return pa.Table.from_arrays(columns, schema=PLAIN)


def hexes(many: int, random: np.random.Generator) -> list[str]:
    digits = random.bytes(8 * many).hex()
    return [digits[place : place + 16] for place in range(0, 16 * many, 16)]


def stage_seconds(rows: int, random: np.random.Generator) -> pa.Array:
    offsets = np.arange(0, (rows + 1) * len(STAGES), len(STAGES), dtype=np.int32)
    return pa.MapArray.from_arrays(offsets, STAGES * rows, random.gamma(2.0, 0.5, rows * len(STAGES)))


def latencies(rows: int, ok: np.ndarray, batch: np.ndarray, random: np.random.Generator) -> dict:
    sampled = (1e6 * batch[:, None] * (1 + random.gamma(1.0, 0.02, (rows, SAMPLES)))).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.where(ok, SAMPLES, 0))]).astype(np.int32)
    ms = {
        "min": sampled.min(axis=1),
        "mean": sampled.mean(axis=1),
        "std": sampled.std(axis=1),
        "max": sampled.max(axis=1),
        **{f"p{part}": np.percentile(sampled, part, axis=1) for part in (50, 90, 95, 99)},
    }
    return {
        "samples": pa.array(np.full(rows, SAMPLES), mask=~ok),
        "latency_ns": pa.ListArray.from_arrays(offsets, sampled[ok].ravel(), mask=pa.array(~ok)),
        "throughput_per_s": pa.array(batch / sampled.mean(axis=1) * 1e9, mask=~ok),
        **{f"latency_{name}_ms": pa.array(values / 1e6, mask=~ok) for name, values in ms.items()},
    }


def resolved(name: str, batch: int, length: int) -> str:
    """A configuration as long as a true one."""
    return json.dumps(
        {
            "batch": batch,
            "campaign": name,
            "limits": {"build_timeout_s": 1800, "memory_gib": (None, 4.0, 16.0)[length.bit_length() % 3]},
            "seq_len": length,
            "verify": {"min_cosine": {"all": 0.95, "matmult": 0.95, "none": 0.9999}},
            "model": {"architecture": {f"size_of_part_{number}": 128 * number for number in range(40)}},
        }
    )


def seconds(act, *arguments) -> float:
    start = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

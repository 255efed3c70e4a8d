"""What `scenario=server` must show on a quiet host: generator, transport, searches, and curves of BERT.

    python -m tests.benchmarks.server_targets [loads] [transport] [searches] [curves] [--compile] [--store S]

loads: a stall of 500 ms, the generator's lateness and its gaps.
transport: a small BERT and BERT base at few requests a second, against scenario=latency, and against
calls by hand with pauses between them.
searches: in real time on a device of constant service time, against the exact limit of M/D/c.
curves: highest rates of a small BERT and of BERT base, with dynamic batching and without it;
`report server` draws them. `--compile` only fills the cache for them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from itertools import count
from tempfile import TemporaryDirectory

import numpy as np
from scipy.stats import kstest

from benchmark.cache.compile_cache import CompileCache
from benchmark.config.sweep import grid
from benchmark.execution.forkserver import inline
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.plan import plan
from benchmark.stats.queueing import highest_load
from benchmark.store.results import ResultsStore
from benchmark.timing.session import load

NUMBER = count()
PERCENTILE = 90
LONG = ("sampling=quick", "sampling.repeats=1", "sampling.min_s=10", "sampling.max_s=20")


class Commands:
    """Runs cells by the command line, and reads their rows."""

    def __init__(self, store, *, compile_only):
        self.store, self.last = store, ["stage=compile"] if compile_only else []

    def row(self, *overrides):
        """The row of one cell, in a campaign of its own."""
        campaign = f"server-targets-{time.time_ns()}-{next(NUMBER)}"
        command = [sys.executable, "-m", "benchmark", *overrides, *self.last, f"campaign={campaign}"]
        command += [f"store.root={self.store}", f"output_folder={self.store}/../{campaign}"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        asked = [sys.executable, "-m", "benchmark", "results", f"campaign={campaign}", "--json"]
        if "hardware=simulated" in overrides:
            asked.insert(4, "simulated=true")
        found = subprocess.run([*asked, "--store", self.store], check=True, capture_output=True, text=True)
        return json.loads(found.stdout)[0]


def said(what, row, text):
    flags = f" ({', '.join(row['noise_flags'])})" if row["noise_flags"] else ""
    print(f"{what}: {text if row['status'] == 'ok' else row['error']}{flags}", flush=True)


def simulated(service_ms):
    return ("hardware=simulated", f"compiler.call_ms={service_ms}", "compiler.item_ms=0")


def loads(commands):
    stalls = (*simulated(2), "compiler.stall_calls=1000", "compiler.stall_ms=500")
    closed = commands.row(*stalls, "sampling.min_calls=3000", "sampling.max_calls=3000")
    opened = commands.row(*stalls, "scenario=server", "scenario.rate=100", "scenario.duration_s=30")
    said(
        "stall of 500 ms, 100/s",
        opened,
        f"p99 from the schedule {opened['latency_p99_ms']:.0f} ms, "
        f"closed loop {closed['latency_p99_ms']:.2f} ms",
    )
    steady = commands.row(*simulated(0.5), "scenario=server", "scenario.rate=500", "scenario.duration_s=30")
    found = ResultsStore(commands.store).loads(steady["run_id"])
    issued = np.array(found["issued_ns"][0].as_py()) / 1e9
    chance = kstest(np.diff(issued), "expon", args=(0, 1 / 500)).pvalue
    said(
        "generator, 500/s",
        steady,
        f"lateness p50 {1e3 * steady['lateness_p50_ms']:.0f} us, "
        f"p99 {1e3 * steady['lateness_p99_ms']:.0f} us; "
        f"gaps of issued requests: KS p = {chance:.2f}; transport_ms {steady['transport_ms']:.3f}",
    )


def transport(commands):
    for model, rate in (("bert_tiny", 10), ("bert", 2)):
        cell = (f"model={model}", "compiler=openvino", "seq_len=128")
        alone = commands.row(*cell, *LONG)
        served = commands.row(*cell, "scenario=server", f"scenario.rate={rate}", "scenario.duration_s=30")
        gap = served["latency_p50_ms"] - alone["latency_p50_ms"]
        said(
            f"transport, {model} at {rate}/s",
            served,
            f"p50 {served['latency_p50_ms']:.3f} ms, scenario=latency {alone['latency_p50_ms']:.3f} ms: "
            f"{1e3 * gap:+.0f} us, {gap / alone['latency_p50_ms']:+.1%}; "
            f"call p50 {served['service_p50_ms']:.3f}, transport_ms {served['transport_ms']:.3f}",
        )
        busy, rested = by_hand(cell, 1 / rate)
        print(
            f"  by hand: call p50 {busy:.3f} ms back to back, {rested:.3f} ms with pauses of {1 / rate:g} s"
        )


def by_hand(cell, pause_s):
    """Medians of calls of one process, in ms: one after the other, and each after a pause; in turns."""
    with TemporaryDirectory() as folder:
        cache = CompileCache(folder)
        cache.prepare()
        (run,) = plan(grid([*cell, "sampling.repeats=1"]), lambda _: {}).runs
        e = run.cell.experiment
        workload = build(run.cell, run.environment, cache, inline)
        artifact = compile_(run.cell, workload, run.environment, cache, inline)
        session, _ = load(e.hardware, e.compiler, workload, artifact.folder)
        medians = [[p50_ms(session.run, pause) for pause in (0, pause_s)] for _ in range(3)]
    return np.median(medians, axis=0)


def p50_ms(call, pause_s):
    """Of calls of ten seconds, pauses included."""
    found, ends = [], time.perf_counter() + 10
    while time.perf_counter() < ends:
        time.sleep(pause_s)
        since = time.perf_counter()
        call()
        found.append(time.perf_counter() - since)
    return 1e3 * float(np.median(found))


def searches(commands):
    for servers, limit in ((1, 5), (2, 5), (4, 5)):
        service_ms = highest_load(servers, limit, PERCENTILE) * servers / 100 * 1e3
        since = time.monotonic()
        row = commands.row(
            *simulated(service_ms),
            *("scenario=server", f"scenario.replicas={servers}", f"scenario.slo_ms={limit * service_ms}"),
            f"scenario.percentile={PERCENTILE}",
        )
        wall = time.monotonic() - since
        found = [row[f"qps_under_slo{end}"] for end in ("", "_lo", "_hi")]
        said(
            f"search, c={servers}, exact 100/s",
            row,
            f"found {found[0]} [{found[1]}, {found[2]}], wall {wall:.0f} s, {row['load_points']} points",
        )


def curves(commands):
    for model, limit_ms, percentile in (("bert_tiny", 20, 99), ("bert", 1000, 95)):
        for batch in (1, 8):
            row = commands.row(
                *(f"model={model}", "compiler=openvino", "scenario=server", f"scenario.max_batch={batch}"),
                *(f"scenario.slo_ms={limit_ms}", f"scenario.percentile={percentile}"),
            )
            if row["qps_under_slo"] is None:
                said(f"{model}, max_batch={batch}", row, "no rate")
                continue
            said(
                f"{model}, max_batch={batch}, {percentile} % within {limit_ms} ms",
                row,
                f"{row['qps_under_slo']:.1f}/s "
                f"[{row['qps_under_slo_lo']:.1f}, {row['qps_under_slo_hi']:.1f}], "
                f"call p50 {row['service_p50_ms']:.2f} ms, {row['requests_per_call']:.2f} requests a call",
            )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--store", default="outputs/server-targets/results")
    asked = parser.parse_args()
    parts = {"loads": loads, "transport": transport, "searches": searches, "curves": curves}
    for part in asked.parts or parts:
        parts[part](Commands(asked.store, compile_only=asked.compile))

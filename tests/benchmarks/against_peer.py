"""This tool against optimum-benchmark, by ratio, on the same grid of tiny BERT in the same run.

python tests/benchmarks/against_peer.py [--rounds 3] [--peer-environment FOLDER]

Linux only: to count every process of a command, this one adopts those that outlive it and waits for them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import median

import psutil

from benchmark.store.results import load

PEER = ("optimum-benchmark==0.6.0", "torch==2.13.0", "transformers>=4.55,<5")
OURS = (sys.executable, "-m", "benchmark")
CALLS = 10
GRIDS = {6: ("1,2,4", "32,128"), 1: ("1", "32")}
SAMPLING = {
    "warmup_calls": CALLS,
    "warmup_s": 0,
    "min_calls": CALLS,
    "max_calls": CALLS,
    "min_s": 0,
    "repeats": 1,
}
LONG = {"warmup_calls": 5, "warmup_s": 0, "min_calls": 20, "max_calls": 10**6, "min_s": 5, "repeats": 1}
VERSIONS = """from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in ("torch", "transformers")))"""

# pip has compiled the peer's modules: ours shall not be compiled at each start either.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
ENVIRONMENT |= {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}

# Without chdir the peer finds the first cell's report in its current folder, and skips all others.
PEER_YAML = """\
defaults: [benchmark, scenario: inference, launcher: process, backend: pytorch, _self_]
name: peer
backend: {{device: cpu, task: text-classification, model: {weights}}}
scenario: {{warmup_runs: {calls}, iterations: {calls}, duration: 0, memory: false, energy: false,
  latency: true, input_shapes: {{batch_size: 1, sequence_length: 32}}}}
hydra: {{job: {{chdir: true}}}}
"""


@dataclass(frozen=True)
class Ran:
    """What a command took; `parent` is its first process, without children."""

    started: float
    ended: float
    cpu_s: float
    parent_cpu_s: float
    others_cpu_s: float
    """Of neighbours, meanwhile: they spoil every figure."""
    samples: list[tuple[float, float, float]]
    """While it ran: time, CPU s of the parent, CPU s of its living descendants."""
    timed_s: float = 0.0
    """Spent in warm-up and timed calls."""
    rows: tuple[dict, ...] = ()

    @property
    def wall_s(self):
        return self.ended - self.started


def run(command, folder, *, watch=False, keeps_server=False, **more):
    """Run to the end; none of its processes is left when this returns, but for a server that it keeps."""
    log, before, busy_s = folder / "last.log", resource.getrusage(resource.RUSAGE_CHILDREN), _cpu_s(psutil)
    samples, over, command = [], os.WEXITED | os.WNOWAIT, [*map(str, command)]
    with log.open("w") as said:
        started = time.time()
        process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT | more, stdout=said, stderr=said)
        parent = psutil.Process(process.pid)
        while watch and os.waitid(os.P_PID, process.pid, over | os.WNOHANG) is None:
            samples.append((time.time(), _cpu_s(parent), sum(map(_cpu_s, parent.children(recursive=True)))))
            time.sleep(0.2)
        os.waitid(os.P_PID, process.pid, over)
    ended, parent_cpu_s = time.time(), _cpu_s(parent)  # a zombie's figures stand until it is waited for
    if process.wait():
        raise SystemExit(f"{' '.join(command)}\nfailed:\n{log.read_text()[-3000:]}")
    if not keeps_server:
        wait_for_all()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(started, ended, cpu_s, parent_cpu_s, _cpu_s(psutil) - busy_s - cpu_s, samples)


def wait_for_all():
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _cpu_s(who):
    """Of a process, or of the host where it is psutil itself that is asked."""
    try:
        times = who.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def ours(work, cells, tag, sampling=SAMPLING, *, watch=False, keep_warm_s=0):  # noqa: PLR0913 - as asked
    batch, length = GRIDS[cells]
    grid = ("model=bert_tiny", "compiler=eager", f"batch={batch}", f"seq_len={length}", f"campaign={tag}")
    numbers = [f"sampling.{name}={value}" for name, value in sampling.items()]
    command = [*OURS, "-m", *grid, *numbers, f"launcher.keep_warm_s={keep_warm_s}"]
    ran = run(command, work, watch=watch, keeps_server=bool(keep_warm_s))
    rows = load(work / "outputs" / "results", f"campaign={tag}").sort_values("finished_at").to_dict("records")
    if [row["status"] for row in rows] != ["ok"] * cells:
        raise SystemExit(f"wanted {cells} rows that are ok, got {[(r['status'], r['error']) for r in rows]}")
    timed = sum(parts(row).get(f"measure.{calls}", 0) for row in rows for calls in ("warmup", "calls"))
    return replace(ran, timed_s=timed, rows=tuple(rows))


def ours_warm(work, cells, tag):
    """The second of two commands: the server of the first is warm. Its CPU counts as that of others."""
    ours(work, 1, f"{tag}before", keep_warm_s=60)
    ran = ours(work, cells, f"{tag}warm", keep_warm_s=60)
    subprocess.run([*OURS, "server", "stop"], cwd=work, env=ENVIRONMENT, check=True, capture_output=True)
    wait_for_all()
    return ran


def peer(work, environment, launcher, cells, tag):
    folder = work / f"{tag}-{launcher}"
    shapes = zip(("batch_size", "sequence_length"), GRIDS[cells], strict=True)
    grid = [f"scenario.input_shapes.{name}={values}" for name, values in shapes]
    command = [environment / "bin" / "optimum-benchmark", "--config-dir", work, "--config-name", "peer", "-m"]
    command += [f"launcher={launcher}", f"hydra.sweep.dir={folder}", *grid]
    ran = run(command, work, TMPDIR=str(work))  # where it leaves a pickle a cell
    reports = list(folder.glob("*/benchmark_report.json"))
    if len(reports) != cells:
        raise SystemExit(f"wanted {cells} reports of the peer, got {len(reports)}")
    return replace(ran, timed_s=sum(map(_peer_timed_s, reports)))


def _peer_timed_s(report):
    """Timed calls from its report; warm-up, which no report tells, from its log less the first call."""
    message, log = json.loads(report.read_text()), report.with_name("benchmark.log").read_text()
    warming, timing = (
        datetime.fromisoformat(re.search(rf"(\d{{4}}-\S+ [\d:]+,\d{{3}}).*{said}", log)[1].replace(",", "."))
        for said in ("Warming up backend", "Running Inference latency")
    )
    first = message["first_forward"]["latency"]["total"]
    return (timing - warming).total_seconds() - first + message["forward"]["latency"]["total"]


def parts(row):
    """Seconds by stage; one that tells its parts gives way to them and a rest; stages may overlap."""
    seconds = dict(row["stage_seconds"])
    for stage in [name for name in seconds if "." not in name]:
        if inner := [value for name, value in seconds.items() if name.startswith(f"{stage}.")]:
            seconds[f"{stage}, the rest *"] = seconds.pop(stage) - sum(inner)
    return seconds


def whole(ran):
    """The wall of our command in pieces that add up to it, and the pieces of its cells but the first."""
    starts, ends = ([row[at].timestamp() for row in ran.rows] for at in ("started_at", "finished_at"))
    since = [starts[0], *(max(pair) for pair in zip(starts[1:], ends, strict=False))]
    took = [end - start for end, start in zip(ends, since, strict=True)]
    first = took[0] - median(took[1:])
    pieces = {
        "until the first cell starts: interpreter, imports, plan": starts[0] - ran.started,
        "first cell beyond the others' median: server's imports *": first,
        "cells, the first as the others' median": sum(took) - first,
        "between cells: row, fsync, progress": ends[-1] - starts[0] - sum(took),
        "after the last cell: compaction, table, exit": ran.ended - ends[-1],
    }
    cells = [parts(row) for row in ran.rows[1:]]
    for cell, seconds in zip(cells, took[1:], strict=True):
        cell["outside any stage *"] = seconds - sum(cell.values())
    return pieces, cells


def first_row_s(ran):
    """From the start of the command; NaN for the peer, whose cells leave files."""
    return ran.rows[0]["finished_at"].timestamp() - ran.started if ran.rows else float("nan")


def show_comparison(rounds):
    """Medians over rounds; a ratio is taken within its round."""
    figures = {
        "wall, 6 cells, s": lambda six, _: six.wall_s,
        "wall, 1 cell, s": lambda _, one: one.wall_s,
        "until the first row is there, s": lambda _, one: first_row_s(one),
        "wall / cell, s": lambda six, _: six.wall_s / 6,
        "wall / added cell = (6 cells - 1 cell) / 5, s": lambda six, one: (six.wall_s - one.wall_s) / 5,
        "in warm-up and timed calls, % of wall": lambda six, _: 100 * six.timed_s / six.wall_s,
        "CPU of the command with its children, s": lambda six, _: six.cpu_s,
        "parent CPU s of the whole command": lambda six, _: six.parent_cpu_s,
        "CPU of all else on this host meanwhile, s": lambda six, _: six.others_cpu_s,
    }
    print(f"\n{'':46}" + "".join(f"{name:>10}" for name in rounds[0]))
    by_name = {label: {n: [of(*r[n]) for r in rounds] for n in rounds[0]} for label, of in figures.items()}
    for label in ("wall, 6 cells, s", "wall / added cell = (6 cells - 1 cell) / 5, s"):
        ratios = {n: map(truediv, message, by_name[label]["ours"]) for n, message in by_name[label].items()}
        by_name[f"ratio to ours, {label.split(' =')[0].removesuffix(', s')}"] = ratios
    for label, message in by_name.items():
        print(f"{label:46}" + "".join(f"{median(values):10.2f}" for values in message.values()))


def show_whole(runs):
    pieces, cells = zip(*map(whole, runs), strict=True)
    wall = median(ran.wall_s for ran in runs)
    print(f"\nour whole wall, 6 cells: {wall:.2f} s (* by subtraction)")
    for label in pieces[0]:
        seconds = median(each[label] for each in pieces)
        print(f"  {seconds:7.2f} s {100 * seconds / wall:4.0f} %  {label}")
    cells = [cell for each in cells for cell in each]
    print("one cell, median of all but each round's first:")
    typical = {label: median(cell.get(label, 0) for cell in cells) for label in {k for c in cells for k in c}}
    for label, seconds in sorted(typical.items(), key=lambda item: -item[1]):
        print(f"  {seconds * 1e3:8.1f} ms  {label}")


def show_sleep(ran):
    """CPU amid the timed calls of one cell: they last `min_s` and end just before its row does."""
    before_end = [(ran.rows[0]["finished_at"].timestamp() - sample[0], sample) for sample in ran.samples]
    inside = [sample for left, sample in before_end if 1 <= left <= LONG["min_s"] - 1]
    wall, parent, children = (last - first for first, last in zip(inside[0], inside[-1], strict=True))
    print(f"\nfor {wall:.1f} s amid timed calls of one cell, CPU in ticks of 0.01 s:")
    print(f"  our parent {parent:.2f} s, its children {children:.2f} s")


def install(environment):
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER], check=True)
    for who, here in (("ours", sys.executable), (PEER[0], python)):
        message = subprocess.run([here, "-c", VERSIONS], capture_output=True, text=True, check=True)
        print(f"{who}: {message.stdout.strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    default = Path(tempfile.gettempdir()) / "peer-environment"
    parser.add_argument("--peer-environment", type=Path, default=default, help="made where it is absent")
    options = parser.parse_args()
    environment = options.peer_environment.absolute()
    install(environment)
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    print(f"tiny BERT, eager, batch 1,2,4 x seq 32,128; {CALLS} warm-up and {CALLS} timed calls a cell")
    print(f"medians of {options.rounds} rounds; {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        ours(work, 6, "untimed")  # makes the weights
        (weights,) = (file.parent for file in work.glob("compile_cache/*/model.safetensors"))
        (work / "peer.yaml").write_text(PEER_YAML.format(weights=weights, calls=CALLS))
        contestants = {"ours": partial(ours, work), "ours, warm": partial(ours_warm, work)}
        for launcher in ("process", "inline"):
            contestants[launcher] = partial(peer, work, environment, launcher)
            contestants[launcher](1, "untimed")
        rounds = []
        for turn in range(options.rounds):
            order = [*contestants][turn % 4 :] + [*contestants][: turn % 4]
            ran = {n: [contestants[n](cells, f"turn{turn}of{cells}") for cells in (6, 1)] for n in order}
            rounds.append({name: ran[name] for name in contestants})
        show_comparison(rounds)
        show_whole([turn["ours"][0] for turn in rounds])
        show_sleep(ours(work, 1, "long", LONG, watch=True))


if __name__ == "__main__":
    main()

"""The first look at a machine on which this program has never run: what no test without the device can show.

    python -m benchmark.cli.first_hour --hardware cuda [--minutes 10] [OVERRIDE ...]

Runs `doctor`; eager and every compiler that is there, on three models, with three kinds of fast-math; one
copy of a model and two. Then it checks the rows, writes a report, and packs all of it into one archive to
send back. It needs no network: weights are random. What the minutes don't suffice for is left out, and said.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmark.cli.run import OUT_OF_BUDGET
from benchmark.report.sanitize import say
from benchmark.store.results import ResultsStore

MODELS: Final = "bert,vit,resnet50"
CASTS: Final = "none,matmult,all"
QUICK_FIRST: Final = ("eager", "torchscript", "onnxruntime", "openvino", "tensorrt", "neuronx", "neuron")
"""Compilers that take seconds; the others follow."""
_GAIN: Final = 1.5
"""Two copies of a model on a core each should reach this times the throughput of one, at least."""
_CLOCKS: Final = 1.02
"""A device's own time may be longer than the wall's by the error of both clocks."""
_FOR_COPIES_S: Final = 60
"""Kept for the runs with one copy and with two."""


class Check(NamedTuple):
    """What was looked at, and what was found."""

    name: str
    verdict: str
    """good, BAD, or can't tell."""
    found: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; return 0 where no check is bad, else 2."""
    chosen, overrides = _parser().parse_known_args(arguments)
    began = time.monotonic()
    folder = Path(chosen.out or f"first_hour_{chosen.hardware}_{time.strftime('%Y-%m-%d_%H-%M')}").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    places = [f"store.root={folder / 'rows'}", f"cache.root={folder / 'cache'}", "campaign=first_hour"]
    places += [f"output_folder={folder / 'output'}"]
    common = [f"hardware={chosen.hardware}", "sampling=quick", *places, *overrides]
    models = [f"model={chosen.models}"]

    _run(folder, "doctor", "doctor", f"hardware={chosen.hardware}", *overrides)
    compilers = _there(folder, [*models, *common])
    say(f"compilers that are there: {', '.join(compilers) or 'none'}")
    deadline = began + 60 * chosen.minutes
    left_out = []
    for compiler in compilers:
        hours = (deadline - time.monotonic() - _FOR_COPIES_S) / 3600
        cells = [*models, f"compiler={compiler}", f"compiler.fast_math={CASTS}", f"budget.hours={hours}"]
        if hours <= 0 or _run(folder, compiler, "-m", *cells, *common)[0] == OUT_OF_BUDGET:
            left_out.append(compiler)
    for copies in (1, 2) if compilers else ():
        words = ["scenario=throughput", f"scenario.replicas={copies}", f"compiler={compilers[0]}"]
        _run(folder, f"copies-{copies}", models[0].partition(",")[0], *words, *common)
    where = ("--store", str(folder / "rows"), "--out", str(folder / "report"))
    _run(folder, "report", "report", "overview", "campaign=first_hour", "--simulated", *where)

    store = ResultsStore(str(folder / "rows"))
    rows = store.table().to_pylist() if store.exists else []
    found = list(checks(rows, compilers, left_out))
    lines = ["# First hour", "", "| check | verdict | found |", "| --- | --- | --- |"]
    lines += [f"| {one.name} | {one.verdict} | {one.found} |" for one in found]
    lines += ["", f"{len(rows)} rows in {time.monotonic() - began:.0f} s."]
    (folder / "checks.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    archive, cache = folder.with_name(f"{folder.name}.tar.gz"), f"{folder.name}/cache"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, folder.name, filter=lambda one: None if one.name == cache else one)
    say("\n".join(lines))
    megabytes = archive.stat().st_size / 1e6
    say(f"send back {archive} ({megabytes:.1f} MB): rows, checks, report, logs; no weights")
    return 2 if any(one.verdict == "BAD" for one in found) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.cli.first_hour", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--hardware", required=True, help="conf/hardware/*.yaml, such as cuda or inf2")
    parser.add_argument(
        "--minutes", type=float, default=10, help="for the grid; the report takes some seconds more"
    )
    parser.add_argument("--models", default=MODELS, help=f"such as {MODELS}")
    parser.add_argument("--out", help="folder; the archive lies beside it")
    return parser


def _run(folder: Path, name: str, *words: str) -> tuple[int, str]:
    """Run a command of this program; its output goes to the terminal as it comes, and into the folder.

    Return its exit code, and the output.
    """
    say(f"$ python -m benchmark {' '.join(words)}")
    command, lines = [sys.executable, "-m", "benchmark", *words], list[str]()
    environment = {**os.environ, "COLUMNS": "160", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - our own
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe
        for line in process.stdout:
            lines.append(line)
            say(line.rstrip("\n"))
    output = "".join(lines)
    (folder / f"{name}.log").write_text(f"{output}exit code {process.returncode}\n", encoding="utf-8")
    return process.returncode, output


def _there(folder: Path, words: Sequence[str]) -> list[str]:
    """The compilers that run here, quick ones first, as `plan` finds them."""
    _, listed = _run(folder, "plan", "plan", "-m", *words, "compiler=glob(*)", "--json")
    cells = [json.loads(line) for line in listed.splitlines() if line.startswith('{"model"')]
    found = dict.fromkeys(
        cell["compiler"] for cell in cells if cell["fate"] in {"run", "compile", "cached", "done"}
    )
    quick = [name for name in QUICK_FIRST if name in found]
    return [*quick, *(name for name in found if name not in quick)]


def checks(
    rows: Sequence[Mapping[str, Any]], compilers: Sequence[str], left_out: Sequence[str] = ()
) -> Iterator[Check]:
    """Hold the rows against what must be true on any machine."""
    ok = [row for row in rows if row["status"] == "ok"]
    yield Check("compilers", "good" if compilers else "BAD", ", ".join(compilers) or "none is there")
    if left_out:
        yield Check(
            "time for all cells", "can't tell", f"not all cells of {', '.join(left_out)} were measured"
        )
    failed = [row for row in rows if row["status"] not in {"ok", "incompatible", "unavailable"}]
    named = [f"{_cell(row)}: {row['status']}" for row in failed[:5]]
    yield Check(
        "cells that failed", "BAD" if failed or not ok else "good", "; ".join(named) or f"none of {len(rows)}"
    )
    wrong = [row for row in rows if row["status"] == "accuracy_fail"]
    cosines = [row["cosine"] for row in ok if _is_number(row["cosine"])]
    least = f"least cosine of {len(cosines)}: {min(cosines):.6f}" if cosines else "no row has a cosine"
    yield Check("answers", "BAD" if wrong else "good" if cosines else "can't tell", least)
    clocked = [row for row in ok if _is_number(row["device_time_p50_ms"])]
    longer = [row for row in clocked if row["device_time_p50_ms"] > _CLOCKS * row["latency_p50_ms"]]
    yield Check(
        "the device's own time is within the wall's",
        "BAD" if longer else "good" if clocked else "can't tell",
        "; ".join(map(_cell, longer[:5])) or f"{len(clocked)} rows have both",
    )
    shared = [row for row in ok if row["noise_flags"] is not None and "shared_device" in row["noise_flags"]]
    yield Check(
        "no other process on the device",
        "BAD" if shared else "good" if ok else "can't tell",
        f"{len(shared)} of {len(ok)} rows say shared_device",
    )
    yield _copies(ok)


def _copies(ok: Sequence[Mapping[str, Any]]) -> Check:
    """Throughput of two copies against that of one."""
    name = "two copies against one"
    by_copies: dict[int, list[float]] = {}
    for row in ok:
        if row["scenario"] == "throughput":
            by_copies.setdefault(int(row["replicas"]), []).append(row["throughput_per_s"])
    if not {1, 2} <= set(by_copies):
        return Check(name, "can't tell", f"rows with {sorted(by_copies) or 'no'} copies")
    one, two = by_copies[1], by_copies[2]
    ratio, least, most = median(two) / median(one), min(two) / max(one), max(two) / min(one)
    on_cores = any(str(row["device_name"]).startswith("NeuronCore") for row in ok)
    verdict = "good" if least >= _GAIN else "BAD" if on_cores and most < _GAIN else "can't tell"
    text = f"{ratio:.2f} times the throughput ({least:.2f} to {most:.2f} over the processes)"
    return Check(name, verdict, f"{text}; {_GAIN} is due where each has a core of its own")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value  # noqa: PLR0124 - NaN isn't itself


def _cell(row: Mapping[str, Any]) -> str:
    return f"{row['model']} {row['compiler']} {row['fast_math']} b{row['batch_size']}"


if __name__ == "__main__":
    raise SystemExit(main())

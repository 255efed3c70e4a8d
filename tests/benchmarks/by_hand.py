"""A measured session against the loop that a person would write, and what each setting does to that loop.

    python -m tests.benchmarks.by_hand --models vit_tiny,bert --turns 10

In each turn every compiler is timed by this program (a fresh child, as a run has) and by `hand_loop.py` (a
fresh interpreter, which imports nothing of this program), in an order that swaps. Then the loop by hand runs
with one setting changed. Ratios are of one turn; their medians are printed. On a host whose speed changes
within a turn, `fastest / fastest` is steadier: the fastest process of each side. A busy host has two more
options: one thread on both sides, and the 10th percentile, of calls that nothing interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmark.cache.compile_cache import CompileCache
from benchmark.config.sweep import grid
from benchmark.execution.forkserver import ChildLimits, Forkserver
from benchmark.execution.host_lock import HostLock
from benchmark.execution.preload import preload
from benchmark.host import machine, sensors
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.measure import measure
from benchmark.stages.plan import plan

LOOP = Path(__file__).with_name("hand_loop.py")
ENVIRONMENTS = {
    "huge_pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "keep_memory": {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**32)},
}
"""Settings that are environment variables; all others are arguments of the loop."""
_TORCH = ("precision=medium", "channels_last", "no_grad")
_ALL = ("threads=1", f"threads={machine.usable_cores()}", "flush_denormals", "collect", *ENVIRONMENTS)
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "eager": (*_ALL, *_TORCH),
    "torchscript": (*_ALL, *_TORCH),
    "onnxruntime": (*_ALL, "io_binding", "no_spinning"),
    "openvino": (*_ALL, "inputs_once", "no_pinning", "inference_precision=bf16"),
}
IMAGES_ONLY = {"channels_last"}


class Look(NamedTuple):
    """How each process is timed."""

    seconds: float
    percentile: int
    threads: int | None

    @property
    def arguments(self) -> list[str]:
        """For the loop by hand."""
        threads = [f"threads={self.threads}"] if self.threads else []
        return [*threads, "--seconds", f"{self.seconds}", "--percentile", f"{self.percentile}"]


class Subject:
    """One model under one compiler, built and compiled."""

    def __init__(self, model: str, compiler: str, look: Look, call: Any, cache: CompileCache) -> None:
        axes = ("batch=1", "seq_len=128", f"hardware.threads={look.threads or 'null'}")
        (e,) = grid([f"model={model}", f"compiler={compiler}", *axes])
        times = {"warmup_s": 0.5, "min_s": look.seconds, "max_s": look.seconds, "noise_retries": 0}
        run, *_ = plan([replace(e, sampling=replace(e.sampling, min_calls=5, **times))], lambda _: {}).runs
        self.compiler, self._cell, self._call, self._look = compiler, run.cell, call, look
        self.workload = build(run.cell, run.environment, cache, call)
        self._artifact = compile_(run.cell, self.workload, run.environment, cache, call)

    def by_tool(self) -> float:
        """Milliseconds of a call, of those that a row would hold."""
        timing = measure(self._cell, self.workload, self._artifact, self._call).timing
        return quantiles(timing.nanoseconds, n=100)[self._look.percentile - 1] / 1e6


def by_hand(folder: Path, compiler: str, *arguments: str) -> float:
    """Milliseconds of a call in a fresh interpreter."""
    variables = {name: value for one in arguments for name, value in ENVIRONMENTS.get(one, {}).items()}
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    ran = subprocess.run(
        [sys.executable, str(LOOP), str(folder), compiler, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **quiet, **variables},
    )
    if ran.returncode:
        sys.exit(f"{compiler} {arguments} by hand ended with {ran.returncode}:\n{ran.stderr}")
    return float(ran.stdout.splitlines()[-1]) if compiler != "export" else 0.0


@contextmanager
def subjects(model: str, compilers: Iterable[str], look: Look) -> Iterator[tuple[list[Subject], Path]]:
    """Build and compile the model under each compiler; yield them with the folder of the loop by hand."""
    with TemporaryDirectory() as place:
        cache = CompileCache(Path(place, "cache"))
        cache.prepare()
        compilers = tuple(compilers)
        every = [e for one in compilers for e in grid([f"model={model}", f"compiler={one}"])]
        server = Forkserver(preload(every))
        call = partial(server.call, ChildLimits(log=Path(place, "child.log"), timeout_s=600))
        try:
            made = [Subject(model, one, look, call, cache) for one in compilers]
            folder = Path(place, "by_hand")
            folder.mkdir()
            workload = made[0].workload
            for file in ("config.json", "model.safetensors"):
                shutil.copy(workload.weights / file, folder)
            shutil.copy(workload.reference / "inputs.safetensors", folder)
            if {"onnxruntime", "openvino"} & {*compilers}:
                by_hand(folder, "export")
            yield made, folder
        finally:
            server.close()


def compare(model: str, compilers: Iterable[str], turns: int, setting_turns: int, look: Look) -> None:
    """Print how the tool's times and those of each setting relate to the plain loop by hand."""
    hand, tool, others = defaultdict(list), defaultdict(list), defaultdict(list)
    with subjects(model, compilers, look) as (made, folder):
        images = any(len(shape) == 4 for shape in made[0].workload.input_shapes.values())
        for turn in range(turns):
            print(f"{model}: turn {turn + 1} of {turns}", file=sys.stderr)
            for one in made:
                sides = [(hand, partial(by_hand, folder, one.compiler, *look.arguments)), (tool, one.by_tool)]
                for times, timed in sides[:: 1 if turn % 2 else -1]:
                    times[one.compiler].append(timed())
                for setting in SETTINGS[one.compiler] if turn < setting_turns else ():
                    fits = images or setting not in IMAGES_ONLY
                    if fits and not (look.threads and setting.startswith("threads")):
                        took = by_hand(folder, one.compiler, setting, *look.arguments)
                        others[one.compiler, setting].append(took / hand[one.compiler][turn])
    print(f"\n{model}: by the tool and by hand, {turns} turns")
    print("| compiler | by hand ms | tool ms | tool / hand | least | greatest | fastest / fastest |")
    print("| --- " * 7 + "|")
    for name in (one.compiler for one in made):
        ratios = [ours / theirs for ours, theirs in zip(tool[name], hand[name], strict=True)]
        fastest = min(tool[name]) / min(hand[name])
        figures = (median(hand[name]), median(tool[name]), median(ratios), min(ratios), max(ratios), fastest)
        print(f"| {name} |", " | ".join(f"{figure:.3g}" for figure in figures[:2]), end=" | ")
        print(" | ".join(f"{figure:.3f}" for figure in figures[2:]), "|")
    print(f"\n{model}: by hand with one setting / without, {min(turns, setting_turns)} turns")
    print("| setting | " + " | ".join(one.compiler for one in made) + " |")
    print("| --- " * (len(made) + 1) + "|")
    for setting in dict.fromkeys(setting for _, setting in others):
        ratios = (others.get((one.compiler, setting)) for one in made)
        print(f"| {setting} |", " | ".join(f"{median(each):.2f}" if each else "" for each in ratios), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default="bert_tiny")
    parser.add_argument("--compilers", default=",".join(SETTINGS))
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--setting-turns", type=int, default=3, help="turns of the settings; 0: none")
    parser.add_argument("--seconds", type=float, default=0.7, help="of timed calls in each process")
    parser.add_argument("--percentile", type=int, default=50, help="of these calls, 1 to 99")
    parser.add_argument("--threads", type=int, help="on both sides; default: as each has it")
    asked = parser.parse_args()
    look = Look(asked.seconds, asked.percentile, asked.threads)
    lock = HostLock()
    lock.acquire()
    cores = machine.usable_cores()
    print(f"{machine.cpu_model()}, {cores} cores, load {sensors.load_average(sensors.ROOT):.1f} at the start")
    for model in asked.models.split(","):
        compare(model, asked.compilers.split(","), asked.turns, asked.setting_turns, look)
    print(f"load {sensors.load_average(sensors.ROOT):.1f} at the end")
    lock.release()


if __name__ == "__main__":
    main()

"""Samples a second of `scenario=training` against a loop written by hand, for eager fp32, bf16 and compiled.

    python -m tests.benchmarks.training_loop --model vit_tiny --rounds 300 --threads 1

Both train the same weights on the same items. They take turns of a step in one process, in an order that
swaps, so that a busy host slows both alike. Printed: the ratio of the rates (ours / by hand), its geometric
mean over the rounds with the 95 % interval (t of the logarithms).
"""

from __future__ import annotations

import argparse
import gc
import time
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy import stats

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import cell_of, environment_of
from benchmark.config.sweep import grid
from benchmark.execution.forkserver import inline
from benchmark.host import libraries
from benchmark.models.networks import read_network
from benchmark.stages.build import build
from benchmark.training.loop import Job, prepared
from benchmark.training.sharing import Sharing

SIDES = {"eager": (), "eager bf16": ("compiler.fast_math=all",), "inductor": ("compiler=inductor",)}
TURN = 1
"""Steps of one turn."""


def by_hand(workload, data, batch, *, casts, compiles):
    """What a person would write."""
    model = read_network("AutoModelForImageClassification", workload.weights).train()
    called = torch.compile(model) if compiles else model
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    pixels, labels = data
    shuffled = cycle(torch.randperm(len(labels)).split(batch))

    def step():
        chosen = next(shuffled)
        images, targets = pixels[chosen], labels[chosen]
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=casts):
            loss = torch.nn.functional.cross_entropy(called(pixel_values=images).logits.float(), targets)
        loss.backward()
        optimizer.step()

    return step


def seconds_of(step):
    began = time.perf_counter()
    for _ in range(TURN):
        step()
    return time.perf_counter() - began


def ratios(given, overrides, place):
    """Rate of ours by that of the loop by hand, by round."""
    batch, rounds = given.batch, given.rounds
    (e,) = grid(
        [
            "scenario=training",
            f"model={given.model}",
            f"batch={batch}",
            f"hardware.threads={given.threads}",
            *overrides,
        ]
    )
    cell = cell_of(e)
    versions = {**libraries.versions(*e.task.libraries, install=""), **e.compiler.versions()}
    cache = CompileCache(place / "cache")
    cache.prepare()
    workload = build(cell, environment_of(e.hardware.facts(), versions, {}), cache, inline)
    job = Job(
        devices=(e.hardware,),
        compiler=e.compiler,
        task=e.task,
        model=e.model,
        workload=workload,
        options=e.scenario.training,
        seed=e.seed,
        least_on_cpu=0.0,
        real=None,
        folder=place / e.compiler.name,
        checkpoint=None,
        patience_s=60,
    )
    ours = prepared(job, 0, Sharing(job.options, 0, "cpu", place / "meeting", 60))
    compiles = e.compiler.name == "inductor"
    hand = by_hand(
        workload, job.data().tensors, batch, casts=e.compiler.fast_math == "all", compiles=compiles
    )
    for _ in range(5):
        ours.step()
        hand()
    gc.freeze()
    found = []
    for number in range(rounds):
        order = (ours.step, hand) if number % 2 else (hand, ours.step)
        took = {step: seconds_of(step) for step in order}
        found.append(took[hand] / took[ours.step])
    return np.array(found)


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", default="vit_tiny", help="an image classifier")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--rounds", type=int, default=300)
    options.add_argument("--sides", nargs="*", default=[*SIDES], choices=[*SIDES])
    given = options.parse_args()
    print(
        f"{given.model}, batch {given.batch}, {given.threads} threads, {given.rounds} rounds of {TURN} steps"
    )
    for side in given.sides:
        with TemporaryDirectory() as folder:
            found = ratios(given, SIDES[side], Path(folder))
        logs = np.log(found)
        half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / len(logs) ** 0.5
        ends = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
        print(
            f"{side:12} ours / by hand {ends[0]:.3f} ({ends[1]:.3f} to {ends[2]:.3f}), "
            f"median {np.median(found):.3f}"
        )


if __name__ == "__main__":
    main()

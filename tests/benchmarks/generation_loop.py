"""First token and time per token of a generation, against a loop by hand and `generate` with a streamer.

    python tests/benchmarks/generation_loop.py --models smollm2_135m --prompts 32,128,512 --batches 1,4

All three take turns in one process, on the same weights and prompt: ratios are medians of those of each
turn, and those of each side's least times, which other processes disturb less.
The loop by hand is what one writes with transformers' growing cache; `generate` is transformers' own. It also
prints by how much the first token and the time per token of the others miss the time of the call.
"""

from __future__ import annotations

import argparse
import inspect
import time
import warnings
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from transformers.generation.streamers import BaseStreamer

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import cell_of, environment_of
from benchmark.config.sweep import grid
from benchmark.execution.forkserver import inline
from benchmark.models.networks import read_inputs, read_network
from benchmark.stages.build import build
from benchmark.timing.session import load


class Marks(BaseStreamer):
    """The moment of each token that `generate` has made; it puts the prompt first, if it has one."""

    def __init__(self):
        self.moments = []

    def put(self, value):  # noqa: ARG002 - the moment counts
        self.moments.append(time.perf_counter_ns())

    def end(self):
        pass


def by_hand(model, inputs):
    """Greedy tokens with a growing cache; yields the moment of each."""
    crossed = model.config.is_encoder_decoder
    name = "decoder_input_ids" if crossed else "input_ids"
    given = {"encoder_outputs": model.get_encoder()(inputs["input_ids"])} if crossed else {}
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    token, past = inputs[name], None
    while True:
        out = model(**{name: token}, **given, **last, past_key_values=past, use_cache=True)
        token, past = out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values
        token[0].item()
        yield time.perf_counter_ns()


def figures(marks):
    """Time to the first token and time per token after it, in ms."""
    return marks[0] / 1e6, (marks[-1] - marks[0]) / (len(marks) - 1) / 1e6


def columns(values):
    """All times to the first token, and all times per token."""
    return list(zip(*values, strict=True))


def compare(cache, name, batch, given, made, turns, threads):  # noqa: PLR0913, PLR0917 - one figure each
    shape = [f"batch={batch}", f"input_length={given}", f"output_length={made}"]
    (e,) = grid([f"model={name}", "compiler=eager", f"hardware.threads={threads}", *shape])
    cell = cell_of(e)
    environment = environment_of(e.hardware.facts(), dict.fromkeys(e.task.libraries, "0"), {})
    workload = build(cell, environment, cache, inline)
    session, _ = load(e.hardware, e.compiler, workload, None)
    inputs = dict(zip(workload.input_names, read_inputs(workload), strict=True))
    (weights,) = (Path(entry.folder) for entry in cache.entries() if entry.manifest.kind == "weights")
    model = read_network(e.task.auto_class, weights)
    for stop in ("eos_token_id", "forced_eos_token_id", "forced_bos_token_id"):
        setattr(model.generation_config, stop, None)

    def ours():
        session.token_ns()
        start = time.perf_counter_ns()
        session.run()
        whole = time.perf_counter_ns() - start
        (marks,) = session.token_ns()
        misses.append(abs(marks[-1] - whole) / whole)
        return figures(marks)

    def hand():
        start = time.perf_counter_ns()
        moments = by_hand(model, inputs)
        return figures([moment - start for moment, _ in zip(moments, range(made), strict=False)])

    def streamed():
        marks = Marks()
        start = time.perf_counter_ns()
        model.generate(**inputs, max_new_tokens=made, do_sample=False, streamer=marks)
        return figures([moment - start for moment in marks.moments[-made:]])

    sides, misses = (ours, hand, streamed), []
    found = {side.__name__: [] for side in sides}
    with torch.inference_mode():
        for turn in range(turns + 1):
            for offset in range(len(sides)):  # each is first in its turn
                side = sides[(turn + offset) % len(sides)]
                figure = side()
                if turn:  # the first turn warms up
                    found[side.__name__].append(figure)
    print(f"{name}, {given} tokens in, {made} out, batch {batch}, eager, {turns} turns")
    for side, values in found.items():
        first, each = (median(values) for values in zip(*values, strict=True))
        print(f"  {side:9} TTFT {first:9.2f} ms  TPOT {each:8.3f} ms")
    for other in ("hand", "streamed"):
        pair = found["ours"], found[other]
        ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(*pair, strict=True)]
        first, each = (median(values) for values in zip(*ratios, strict=True))
        least = [min(ours) / min(theirs) for ours, theirs in zip(*map(columns, pair), strict=True)]
        print(f"  ours / {other}: TTFT {first:.3f}, TPOT {each:.3f}; of the least ones", end=" ")
        print(f"TTFT {least[0]:.3f}, TPOT {least[1]:.3f}")
    print(f"  TTFT + TPOT x (n - 1) misses the call by {median(misses):.4%} (median)", flush=True)


def every(cache, name, asked):
    for batch in map(int, asked.batches.split(",")):
        for prompt in map(int, asked.prompts.split(",")):
            compare(cache, name, batch, prompt, asked.output_length, asked.turns, asked.threads)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="gpt2,t5_small")
    parser.add_argument("--prompts", default="64")
    parser.add_argument("--batches", default="1")
    parser.add_argument("--output-length", type=int, default=32)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument(
        "--threads", default="null", help="1 on a busy host, where threads wait for each other"
    )
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for model_name in asked.models.split(","):
        with TemporaryDirectory() as folder:
            weights_once = CompileCache(folder)
            weights_once.prepare()
            every(weights_once, model_name, asked)

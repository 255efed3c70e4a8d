"""Tokens a second and latency per token of a generation, against a loop written by hand and `generate`.

    python tests/benchmarks/generation_loop.py --models gpt2,t5_small --turns 10

All three take turns in one process, on the same weights and prompt: the ratios are of medians over the turns.
The loop by hand is what one writes with transformers' growing cache; `generate` is transformers' own.
"""

from __future__ import annotations

import argparse
import inspect
import time
import warnings
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import cell_of, environment_of
from benchmark.config.sweep import grid
from benchmark.execution.forkserver import inline
from benchmark.models.networks import read_inputs, read_network
from benchmark.stages.build import build
from benchmark.timing.session import load


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


def timed(moments, count):
    start = time.perf_counter_ns()
    marks = [moment - start for moment, _ in zip(moments, range(count), strict=False)]
    return marks[-1], median(b - a for a, b in pairwise(marks))


def compare(name, given, made, turns):
    shape = [f"input_length={given}", f"output_length={made}"]
    (e,) = grid([f"model={name}", "compiler=eager", *shape])
    with TemporaryDirectory() as folder:
        cache = CompileCache(folder)
        cache.prepare()
        cell = cell_of(e)
        environment = environment_of(e.hardware.facts(), dict.fromkeys(e.task.libraries, "0"), {})
        workload = build(cell, environment, cache, inline)
        session, _ = load(e.hardware, e.compiler, workload, None)
        inputs = dict(zip(workload.input_names, read_inputs(workload), strict=True))
        (weights,) = (Path(entry.folder) for entry in cache.entries() if entry.manifest.kind == "weights")
        model = read_network(e.task.auto_class, weights)
        for stop in ("eos_token_id", "forced_eos_token_id", "forced_bos_token_id"):
            setattr(model.generation_config, stop, None)
        found = {"ours": [], "by hand": [], "generate": []}
        with torch.inference_mode():
            for turn in range(turns + 2):
                session.token_ns()
                start = time.perf_counter_ns()
                session.run()
                whole = time.perf_counter_ns() - start
                (marks,) = session.token_ns()
                ours = whole, median(b - a for a, b in pairwise(marks))
                hand = timed(by_hand(model, inputs), made)
                start = time.perf_counter_ns()
                model.generate(**inputs, max_new_tokens=made, do_sample=False)
                theirs = time.perf_counter_ns() - start, None
                if turn >= 2:  # the first two warm up
                    for side, value in zip(found.values(), (ours, hand, theirs), strict=True):
                        side.append(value)
    whole = {side: median(call for call, _ in values) for side, values in found.items()}
    token = {side: median(token for _, token in found[side]) for side in ("ours", "by hand")}
    tokens = given + made
    print(f"{name}, {given} tokens in, {made} out, batch 1, eager, {turns} turns")
    for side, ns in whole.items():
        each = f"  {token[side] / 1e6:.2f} ms a token" if side in token else ""
        print(f"  {side:9} {tokens / ns * 1e9:7.1f} tokens/s{each}")
    speed, latency = whole["by hand"] / whole["ours"], token["ours"] / token["by hand"]
    print(f"  ours / by hand: tokens/s {speed:.3f}, latency per token {latency:.3f}")
    print(f"  ours / generate: tokens/s {whole['generate'] / whole['ours']:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="gpt2,t5_small")
    parser.add_argument("--input-length", type=int, default=64)
    parser.add_argument("--output-length", type=int, default=32)
    parser.add_argument("--turns", type=int, default=10)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for model_name in asked.models.split(","):
        compare(model_name, asked.input_length, asked.output_length, asked.turns)

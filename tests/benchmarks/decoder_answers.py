"""What each compiled decoder says to one prompt, with the artefacts that a grid has left in the cache.

    python tests/benchmarks/decoder_answers.py OVERRIDES... compiler=eager,openvino

The prompt begins with other capitals, as many tokens as the cell's `input_length`.
"""

from __future__ import annotations

import sys
import warnings

import torch

from benchmark.cache.compile_cache import CompileCache
from benchmark.config.sweep import grid
from benchmark.execution.forkserver import inline
from benchmark.models.real_inputs import tokenizer
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.plan import plan
from benchmark.timing.harness import replace_inputs
from benchmark.timing.session import load

BEFORE = (
    "The capital of Spain is Madrid. The capital of Italy is Rome. The capital of Germany is Berlin. " * 40
)
PROMPT = "The capital of France is"


def main(overrides):
    for run in plan(grid(overrides), lambda _: {}).runs:
        if run.repeat:
            continue
        e = run.cell.experiment
        how = f"{e.compiler.name} {getattr(e.compiler, 'quantization', 'none')}"
        if run.fate != "run":
            print(f"{how:18} {run.fate}: {run.reason}")
            continue
        cache = CompileCache(e.cache_root)
        workload = build(run.cell, run.environment, cache, inline)
        artifact = compile_(run.cell, workload, run.environment, cache, inline)
        session, _ = load(e.hardware, e.compiler, workload, artifact.folder)
        words = tokenizer(e.model, workload.weights)
        ids = words(BEFORE + PROMPT)["input_ids"][-e.input_length :]
        replace_inputs(session, [torch.tensor([ids] * e.batch).numpy()])
        said = words.decode(session.run()["tokens"][0])
        print(f"{how:18} {words.decode(ids)[-40:]!r} -> {said[:60]!r}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:])

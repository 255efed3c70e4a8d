"""Run by an interpreter that has optimum-neuron 0.4.5: its real exporter and classes, under our stages.

`python tests/neuron/optimum_export.py FOLDER OVERRIDE… [-- OVERRIDE…]…` builds, compiles and measures a cell
for each group of overrides, with stand-ins for the device libraries, and prints one JSON object a cell: what
`torch_neuronx.trace` was given, the sizes that were asked for, and the cosine to the reference.
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes" / "optimum_device_libraries"))

import device_libraries

from benchmark.cache.compile_cache import CompileCache
from benchmark.config.sweep import grid
from benchmark.errors import RunFailure
from benchmark.execution.forkserver import inline
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.measure import measure
from benchmark.stages.plan import plan
from benchmark.stages.verify import compare

LOOK = [
    f"sampling.{knob}"
    for knob in ("warmup_calls=0", "warmup_s=0", "min_calls=2", "min_s=0", "max_calls=3", "max_s=9")
]


def message(overrides, cache):
    """Everything about one cell."""
    (experiment,) = grid([*LOOK, "compiler=optimum_neuron", *overrides])
    (planned,) = plan([experiment], lambda _: {}).runs
    cell, environment = planned.cell, planned.environment
    device_libraries.TRACED.clear()
    workload = build(cell, environment, cache, inline)
    try:
        artifact = compile_(cell, workload, environment, cache, inline)
        quality = compare(workload, measure(cell, workload, artifact, inline))
    except RunFailure as failure:
        return {"status": failure.status, "error": str(failure), "traced": device_libraries.TRACED}
    return {
        "status": "ok",
        "cosine": quality.cosine,
        "flags": list(artifact.report.flags),
        "traced": device_libraries.TRACED,
        "stands_in": environment.stands_in,
    }


def main(folder, *words):
    """Print what became of each group."""
    device_libraries.install()
    cache = CompileCache(Path(folder))
    cache.prepare()
    for is_separator, group in groupby(words, "--".__eq__):
        if not is_separator:
            print(json.dumps(message(list(group), cache), default=str), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Get the cell's artefact: from the cache, else by the compiler in a child process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.cell import Cell, Environment, code_digest, spelled
from benchmark.compile_cache import Entries
from benchmark.errors import CompileFailed, RunFailure
from benchmark.isolation import describe
from benchmark.protocols import Call, Compiler
from benchmark.records import Artifact, CompileReport, Workload


def compile_(  # noqa: PLR0913, PLR0917 - it introduces the compiler to the cache
    cell: Cell,
    workload: Workload,
    environment: Environment,
    cache: Entries,
    call: Call,
    workers: int = 1,
) -> Artifact:
    """Return the artefact with the seconds its compilation took, whenever that was.

    `workers` is how many compile at a time: an artefact that is made now remembers it.

    Raises:
        CompileFailed, UnsupportedOperator: the compiler gave up.
        RunFailure: how its process ended.
    """
    e = cell.experiment
    if not e.compiler.leaves_artifact:
        return Artifact(
            folder=None, key=None, report=CompileReport(), cache_hit=None, compile_s=None, artifact_bytes=None
        )
    made_of = {
        "weights": workload.weights_digest,
        "task": spelled(e.task),
        "inputs": {
            name: [workload.input_dtypes[name], list(workload.input_shapes[name])]
            for name in workload.input_names
        },
        "batch_size": workload.batch_size,
        "sequence_length": workload.sequence_length,
        "compiler": spelled(e.compiler),
        "code": code_digest(e.compiler, e.task),
        "versions": dict(environment.versions),
        "target": [e.hardware.kind, environment.facts.device_name, environment.facts.isa, workload.threads],
    }
    entry = cache.get_or_build(
        "artifact",
        made_of,
        lambda folder: {
            **call(_compile, cell.label, e.hardware, e.compiler, workload, folder),
            "compile_workers": workers,
        },
    )
    report: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in entry.manifest.facts["report"].items()
    }
    return Artifact(
        folder=entry.folder,
        key=entry.manifest.key,
        report=CompileReport(**report),
        cache_hit=entry.hit,
        compile_s=entry.manifest.facts["compile_s"],
        compile_workers=entry.manifest.facts.get("compile_workers"),
        artifact_bytes=entry.bytes,
    )


def _compile(
    label: str, device: Any, compiler: Compiler, workload: Workload, folder: Path
) -> Mapping[str, Any]:
    """In the child: the compiler at work."""
    device.settle()
    start = time.perf_counter()
    try:
        report = compiler.compile(workload, folder)
    except RunFailure:
        raise
    except Exception as error:
        status, text = describe(error)
        if status != "crashed":  # memory has a status of its own
            raise
        raise CompileFailed(text) from error
    return {"label": label, "compile_s": time.perf_counter() - start, "report": asdict(report)}

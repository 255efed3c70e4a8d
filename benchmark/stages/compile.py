"""Get the cell's artefact: from the cache, else from the compiler in a child process."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.cache.compile_cache import Entries
from benchmark.cell import Cell, Environment
from benchmark.errors import CompileFailed, Crashed, RunFailure
from benchmark.execution.failures import cause, describe
from benchmark.identity import code_digest, options_of
from benchmark.protocols import Call, Compiler
from benchmark.records import Artifact, CompileReport, Workload
from benchmark.timing.session import part_folder


def compile_(  # noqa: PLR0913, PLR0917 - it connects the compiler and the cache
    cell: Cell,
    workload: Workload,
    environment: Environment,
    cache: Entries,
    call: Call,
    workers: int = 1,
) -> Artifact:
    """Return the artefact with the seconds of the compilation that made it.

    `workers` is how many compile at a time: an artefact that is made now remembers it.

    Raises:
        CompileFailed, UnsupportedOperator: the compiler gave up.
        RunFailure: how its process ended.
    """
    e, facts = cell.experiment, environment.facts
    if not e.compiler.leaves_artifact or e.scenario.training:  # a training compiles in its first step
        return Artifact(
            folder=None, key=None, report=CompileReport(), cache_hit=None, compile_s=None, artifact_bytes=None
        )
    made_of = {
        "weights": workload.weights_digest,
        "task": options_of(e.task),
        "inputs": {part.name: _inputs(part) for part in workload.parts or (workload,)},
        "cores": {part.name: len(part.cores) for part in workload.parts if len(part.cores) > 1},
        "shape": asdict(workload.shape),
        "compiler": options_of(e.compiler),
        "code": code_digest(e.compiler, e.task),
        "versions": dict(environment.versions),
        "target": [e.hardware.kind, facts.device_name, facts.isa, facts.target, workload.threads],
        "variables": {
            name: value
            for name, value in environment.settings.items()
            if e.compiler.variables and re.fullmatch(e.compiler.variables, name)
        },
        **({"pickled": True} if e.compiler.unpickles else {}),
    }

    def build(folder: Path) -> Mapping[str, Any]:
        try:
            made = call(_compile, cell.label, e.hardware, e.compiler, workload, folder)
        except (Crashed, CompileFailed) as failure:
            kind = str(e.model.architecture.get("model_type", ""))
            if known := e.compiler.known_fault(kind, environment.versions):
                raise type(failure)(f"{failure}; known: {known}", raised=failure.raised) from failure
            raise
        return {**made, "compile_workers": workers}

    entry = cache.get_or_build("artifact", made_of, build)
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
        part_compile_s=entry.manifest.facts.get("part_compile_s", {}),
        compile_workers=entry.manifest.facts.get("compile_workers"),
        artifact_bytes=entry.bytes,
    )


def _inputs(part: Workload) -> dict[str, Any]:
    return {name: [part.input_dtypes[name], list(part.input_shapes[name])] for name in part.input_names}


def _compile(
    label: str, device: Any, compiler: Compiler, workload: Workload, folder: Path
) -> Mapping[str, Any]:
    """In the child: compile every part."""
    device.configure_process()
    reports: list[CompileReport] = []
    seconds: dict[str, float] = {}
    for part in workload.parts or (workload,):
        start = time.perf_counter()
        reports.append(_compile_part(compiler, part, part_folder(folder, part)))
        seconds[part.name] = time.perf_counter() - start
    return {
        "label": label,
        "compile_s": sum(seconds.values()),
        "part_compile_s": seconds if workload.parts else {},
        "report": asdict(_together(dict(zip(seconds, reports, strict=True)))),
    }


def _compile_part(compiler: Compiler, part: Workload, folder: Path) -> CompileReport:
    folder.mkdir(exist_ok=True)
    try:
        return compiler.compile(part, folder)
    except RunFailure as failure:
        named = _named(part, str(failure))
        raise type(failure)(named, raised=failure.raised, operators=failure.operators) from failure
    except Exception as error:
        status, text = describe(error)
        if status != "crashed":  # memory has a status of its own
            raise
        first = f"compiler={compiler.name} can't compile this model: {cause(error)}; use another compiler"
        raise CompileFailed(_named(part, f"{first}\n{text}")) from error


def _named(part: Workload, text: str) -> str:
    return text if part.name == "model" else f"{part.name}: {text}"


def _together(by_part: Mapping[str, CompileReport]) -> CompileReport:
    """Sum of the parts' reports; null where one of them is. Flags that differ are a line for each part."""
    reports = [*by_part.values()]
    first = reports[0]
    if len(reports) == 1:
        return first
    differ = any(report.flags != first.flags for report in reports)
    lines = (f"{part}: {shlex.join(report.flags)}" for part, report in by_part.items())
    return CompileReport(
        flags=tuple(lines) if differ else first.flags,
        subgraphs=_sum(report.subgraphs for report in reports),
        graph_breaks=_sum(report.graph_breaks for report in reports),
        unsupported_ops=_union(report.unsupported_ops for report in reports),
        narrowed=_union(report.narrowed for report in reports),
        script_modules=_sum(report.script_modules for report in reports),
        neff_bytes=_sum(report.neff_bytes for report in reports),
    )


def _union(names: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = list(names)
    return None if None in known else tuple(sorted({name for some in known for name in some or ()}))


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)

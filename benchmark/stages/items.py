"""Read a labelled data set, fit a linear head if one is asked for, let the fp32 reference answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cache.compile_cache import Entries
from benchmark.cache.manifest import entry_key
from benchmark.cell import Cell, Environment, versions_of_reference
from benchmark.identity import code_digest, options_of, source_digest
from benchmark.items import Items
from benchmark.labelled.answers import Blocks
from benchmark.labelled.exam import Exam
from benchmark.protocols import Call
from benchmark.records import Artifact, Workload

_BATCH = 8
"""Of the reference: one for cells of every batch."""


def prepare_exam(  # noqa: PLR0913, PLR0917 - what it needs of each stage before
    cell: Cell,
    environment: Environment,
    workload: Workload,
    artifact: Artifact,
    cache: Entries,
    call: Call,
    blocks: Callable[[str], Path],
) -> Exam:
    """Return what the run answers. Head and reference come from the cache if it has them.

    `blocks` names the folder of unfinished answers.

    Raises:
        Unavailable: the data set can't be read here.
        Incompatible: the model doesn't know its labels.
    """
    e = cell.experiment
    facts: Mapping[str, Any] = call(_read, cell, workload)
    common = {
        "weights": workload.weights_digest,
        "task": options_of(e.task),
        "code": code_digest(e.task),
        "labelled": source_digest(frozenset({"benchmark.labelled.exam", "benchmark.labelled.head"})),
        "sizes": cell.shape.axes,
        "versions": versions_of_reference(cell, environment),
        "dataset": {**options_of(e.labelled_data), "files": e.labelled_data.digest()},
    }
    head = None
    if e.head == "linear_probe":
        head = cache.get_or_build("head", common, lambda folder: call(_fit, cell, workload, folder))
    exam = Exam(
        digest=facts["digest"],
        count=facts["count"],
        skipped=facts["skipped"],
        classes=facts["classes"],
        head=head.folder if head else None,
        reference=workload.weights or Path(),  # replaced below
        blocks=Path(),
        input_names=workload.input_names,
    )
    made_of = {**common, "items": exam.digest, "head": head.manifest.key if head else None}
    key = entry_key("answers", made_of)
    unfinished = Blocks(blocks(f"reference-{key}"))

    def build(folder: Path) -> Mapping[str, Any]:
        asked = replace(exam, blocks=unfinished.folder)
        made: Mapping[str, Any] = call(_answer, cell, workload, asked, folder)
        unfinished.discard()
        return made

    reference = cache.get_or_build("answers", made_of, build)
    own = f"{cell.cell_id}-{artifact.key or environment.environment_id}-{key}"
    return replace(exam, reference=reference.folder, blocks=blocks(own))


def _read(cell: Cell, workload: Workload) -> Mapping[str, Any]:
    """In a child: read the items, and check that the model knows their labels."""
    e = cell.experiment
    items = e.labelled_data.items("test")
    if e.head == "none":
        _questions(cell, workload, items, None)
    return {
        "digest": items.digest,
        "count": len(items.items),
        "skipped": items.skipped,
        "classes": len(items.classes),
    }


def _questions(cell: Cell, workload: Workload, items: Items, head: Path | None) -> Any:
    from benchmark.labelled.questions import questions

    e = cell.experiment
    return questions(e.model, workload, items, stated=bool(e.labelled_data.classes), head=head)


def _reference_session(cell: Cell, workload: Workload) -> Any:
    """The eager fp32 model with batches of its own."""
    from benchmark.labelled.questions import weights_of
    from benchmark.models import composite, networks

    e = cell.experiment
    threads = e.hardware.facts().threads
    if workload.parts:
        sessions = {
            part.name: networks.reference_session(part.load_module(), networks.read_inputs(part), threads)
            for part in workload.parts
        }
        return composite.composite_session(replace(workload, torch_device="cpu"), sessions)
    shape = replace(cell.shape, batch_size=_BATCH)
    module = e.task.module(weights_of(workload), shape)
    inputs = e.task.inputs(e.model, shape, e.seed)
    given = tuple(inputs[name] for name in workload.input_names)
    return networks.reference_session(module, given, threads)


def _answer(cell: Cell, workload: Workload, exam: Exam, folder: Path) -> Mapping[str, Any]:
    """In a child: the reference's answers to all items."""
    from benchmark.labelled import answers
    from benchmark.labelled.exam import Asking
    from benchmark.timing.harness import replace_inputs

    cell.experiment.hardware.configure_process()
    items = cell.experiment.labelled_data.items("test")
    asked = _questions(cell, workload, items, exam.head)
    batch = cell.shape.batch_size if workload.parts else _BATCH  # a generation's caches have its own
    asking = Asking(items.items, asked, batch, exam.input_names, exam.blocks)
    asking.ask(_reference_session(cell, workload), replace_inputs)
    answers.save(
        asking.answers(), folder, {"dataset": cell.experiment.labelled_data.name, "items": exam.digest}
    )
    return {
        "label": f"{cell.experiment.model.name} {cell.experiment.labelled_data.name}",
        "items": exam.count,
    }


def _fit(cell: Cell, workload: Workload, folder: Path) -> Mapping[str, Any]:
    """In a child: fit the head on the fp32 features of the items to fit on."""
    from benchmark.labelled import head as heads
    from benchmark.labelled.inputs import fill
    from benchmark.labelled.questions import inputs_of
    from benchmark.timing.harness import replace_inputs
    from benchmark.timing.session import host_arrays

    e = cell.experiment
    e.hardware.configure_process()
    items = e.labelled_data.items("train")
    inputs, session = inputs_of(e.model, workload), _reference_session(cell, workload)
    features = []
    for start in range(0, len(items.items), _BATCH):
        part = items.items[start : start + _BATCH]
        given = fill(inputs.arrays(part), _BATCH)
        replace_inputs(session, [given[name] for name in workload.input_names])
        hidden = host_arrays(session.run())[0]
        features.append(heads.features(hidden, given.get("attention_mask"))[: len(part)])
    fitted = heads.fit(np.concatenate(features), [item.label for item in items.items], items.classes)
    heads.save(fitted, folder)
    return {"label": f"{e.model.name} {e.labelled_data.name} linear_probe", "items": len(items.items)}

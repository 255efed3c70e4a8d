"""Compare the answers of the compiled model with those of the fp32 reference to the same inputs."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load_file

from benchmark.cell import Cell
from benchmark.errors import WrongAnswer
from benchmark.measurement import Measurement
from benchmark.records import Quality, Workload


def compare(workload: Workload, measured: Measurement) -> Quality:
    """Distances between the answers and the reference; all null where nothing was computed.

    Raises:
        WrongAnswer: the outputs aren't even comparable, in number or in shape.
    """
    if workload.reference is None:
        return Quality()
    stored = load_file(workload.reference / "outputs.safetensors")
    expected = [stored[name] for name in sorted(stored)]
    shapes, wanted = [a.shape for a in measured.answers], [e.shape for e in expected]
    if shapes != wanted:
        raise WrongAnswer(f"outputs have the shapes {shapes}, the reference has {wanted}")
    pairs = list(zip(measured.answers, expected, strict=True))
    first, reference = pairs[0]
    with np.errstate(invalid="ignore"):
        errors = [np.max(np.abs(answer - reference), initial=0) for answer, reference in pairs]
    return Quality(
        # numpy's min and max: Python's ignore a NaN that isn't the first.
        cosine=float(np.min([cosine(answer, reference) for answer, reference in pairs])),
        max_abs_error=float(np.max(errors)),
        top1_agreement=_top1_agreement(first, reference),
    )


def judge(cell: Cell, quality: Quality) -> None:
    """Refuse a model that answers wrongly, however fast it is.

    Raises:
        WrongAnswer: the cosine is below `verify.min_cosine` for the compiler's `tolerance`, or not a number.
    """
    if quality.cosine is None:
        return
    tolerance = cell.experiment.compiler.tolerance
    floor = cell.experiment.verify.min_cosine[tolerance]
    if not quality.cosine >= floor:  # also true for NaN
        raise WrongAnswer(
            f"cosine to the fp32 reference is {quality.cosine:.6f}, "
            f"below verify.min_cosine.{tolerance}={floor:g}"
        )


def cosine(answer: np.ndarray, reference: np.ndarray) -> float:
    """Least cosine over the items of the batch (first axis), in float64.

    Two zeros are equal: 1. A zero and another answer have nothing in common: 0. NaN if either has a number
    that isn't finite.
    """
    a, b = (_items(array) for array in (answer, reference))
    of_answer, of_reference = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (a * b).sum(axis=1) / (of_answer * of_reference)
    zeros = np.stack([of_answer == 0, of_reference == 0])
    cosines = np.where(zeros.any(axis=0) & np.isfinite(of_answer + of_reference), zeros.all(axis=0), cosines)
    return float(np.min(cosines))


def _items(array: np.ndarray) -> np.ndarray:
    """The values of each item in a row, in float64."""
    several = np.atleast_1d(array)
    return several.reshape(len(several), -1).astype(np.float64)


def _top1_agreement(answer: np.ndarray, reference: np.ndarray) -> float | None:
    """Share of items with the same greatest entry; null where an item has one entry only."""
    if reference.ndim < 2 or reference.shape[-1] < 2:  # noqa: PLR2004 - items, and entries to choose from
        return None
    return float(np.mean(answer.argmax(-1) == reference.argmax(-1)))

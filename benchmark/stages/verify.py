"""Compare the answers of the compiled model with those of the fp32 reference to the same inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmark.cell import Cell
from benchmark.errors import WrongAnswer
from benchmark.measurement import Measurement
from benchmark.precision import Tolerance
from benchmark.records import Quality, Workload

_LEAST_SPREAD: Mapping[Tolerance, float] = {
    "none": 0.01,
    "matmult": 0.05,
    "all": 0.05,
    "int8": 0.05,
    "int4": 0.05,
}
"""Least distance between the reference's answers to different inputs, of their norm. Rounding is 1e-6 of
the norm in fp32 and 4e-3 in bf16: beside a smaller distance it looks like a wrong answer."""


def compare(workload: Workload, measured: Measurement, tolerance: Tolerance = "none") -> Quality:
    """Distances between the answers and the reference; all null where nothing was computed.

    Raises:
        WrongAnswer: the outputs aren't even comparable, in number or in shape.
    """
    if workload.reference is None or measured.trained:
        return Quality()
    pairs = _pairs(measured.answers, workload.reference)
    second = workload.second_reference if measured.second_answers else None
    second_pairs = _pairs(measured.second_answers, second) if second else []
    every = pairs + second_pairs
    least_spread = _LEAST_SPREAD[tolerance]
    with np.errstate(invalid="ignore"):
        errors = [np.max(np.abs(answer - reference), initial=0) for answer, reference in every]
        by_output = [relative_error(*both, least_spread) for both in zip(pairs, second_pairs, strict=False)]
        differing = [
            cosine(first[0] - other[0], first[1] - other[1])
            for first, other, error in zip(pairs, second_pairs, by_output, strict=False)
            if error is not None
        ]
    relative = [error for error in by_output if error is not None]
    return Quality(
        # numpy's min and max: Python's ignore a NaN that isn't the first.
        cosine=float(np.min([cosine(answer, reference) for answer, reference in every])),
        relative_error=float(np.max(relative)) if relative else None,
        difference_cosine=float(np.min(differing)) if differing else None,
        max_abs_error=float(np.max(errors)),
        top1_agreement=_top1_agreement(*pairs[0]),
        verify_flags=("one_input",) if not second else ("untellable",) if None in by_output else (),
    )


def _pairs(answers: Sequence[np.ndarray], reference: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each answer with the reference's."""
    stored = load_file(reference / "outputs.safetensors")
    expected = [stored[name] for name in sorted(stored)]
    shapes, wanted = [a.shape for a in answers], [e.shape for e in expected]
    if shapes != wanted:
        raise WrongAnswer(f"outputs have the shapes {shapes}, the reference has {wanted}")
    return list(zip(answers, expected, strict=True))


def relative_error(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], least_spread: float
) -> float | None:
    """Greatest distance of an item to the reference, divided by the distance between the reference's items.

    The latter is the root mean square over all pairs of items of both sets. Null where it is less than
    `least_spread` of the greatest norm.
    """
    if first[1].shape[1:] != second[1].shape[1:]:  # a shape that depends on the inputs' values
        return None
    answers, references = (np.concatenate([_items(a), _items(b)]) for a, b in zip(first, second, strict=True))
    deviations = references - references.mean(axis=0)
    spread = np.sqrt(2 * np.square(deviations).sum() / (len(references) - 1))
    if spread <= least_spread * np.linalg.norm(references, axis=1).max():
        return None
    return float(np.max(np.linalg.norm(answers - references, axis=1)) / spread)


def judge(cell: Cell, quality: Quality) -> None:
    """Refuse a model that answers wrongly, however fast it is.

    The cosine counts where outputs have no relative error. Beside one it adds nothing but chance:
    few numbers near zero turn within what int8 rounds.

    Raises:
        WrongAnswer: for this `tolerance` the relative error is above `verify.max_relative_error`, or
            a cosine is below its floor; or one isn't a number.
    """
    if quality.cosine is None:
        return
    tolerance, limits = cell.experiment.compiler.tolerance, cell.experiment.verify
    if np.isnan(quality.cosine) or quality.relative_error is None or quality.verify_flags:
        _judge_cosine("cosine", quality.cosine, f"min_cosine.{tolerance}", limits.min_cosine[tolerance])
    if quality.relative_error is None:
        return
    if (floor := limits.min_difference_cosine.get(tolerance)) is not None:
        found = math.nan if quality.difference_cosine is None else quality.difference_cosine
        what = "cosine between differences of answers"
        _judge_cosine(what, found, f"min_difference_cosine.{tolerance}", floor)
    elif not (error := quality.relative_error) <= (most := limits.max_relative_error[tolerance]):  # NaN too
        raise WrongAnswer(
            f"the error is {error:.3g} times the distance between the fp32 reference's answers to different "
            f"inputs, above verify.max_relative_error.{tolerance}={most:g}"
        )


def _judge_cosine(what: str, found: float, key: str, floor: float) -> None:
    if not found >= floor:  # NaN too
        raise WrongAnswer(f"{what} to the fp32 reference is {found:.6f}, below verify.{key}={floor:g}")


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
    return several.reshape(len(several), math.prod(several.shape[1:])).astype(np.float64)


def _top1_agreement(answer: np.ndarray, reference: np.ndarray) -> float | None:
    """Share of items with the same greatest entry; null where an item has one entry only."""
    if reference.ndim < 2 or reference.shape[-1] < 2:  # noqa: PLR2004 - items, and entries to choose from
        return None
    return float(np.mean(answer.argmax(-1) == reference.argmax(-1)))

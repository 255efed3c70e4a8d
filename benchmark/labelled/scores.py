"""From answers to a score: figures with intervals, the paired comparison with the reference, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.labelled import metrics
from benchmark.labelled.answers import Answers, refuse_other_items
from benchmark.records import frozen
from benchmark.stats import paired
from benchmark.stats.paired import Bounds

if TYPE_CHECKING:
    import pyarrow as pa

_ROUNDING = 1e-4
"""Of the reference's figure: differences that fp32 alone makes are smaller (a perplexity's 7e-7, 2026-11)."""
_SHARES = frozenset({"accuracy", "exact_match"})
"""Figures that are shares of right answers: their intervals and tests are exact."""


@frozen
class Score:
    """What the answers of a run are worth."""

    columns: Mapping[str, Any]
    """Columns of its row."""
    answers: Answers
    reference: Answers
    floor: paired.Floor | None
    """Whether the relative floor is kept; null without one."""
    reason: str
    """Figures behind `floor`, in words."""


def score(
    answers: Answers, reference: Answers, metric: str, classes: int, relative_floor: float | None = None
) -> Score:
    """Score answers against the labels, and against the reference's answers to the same items.

    Raises:
        Crashed: the reference answered other items.
    """
    refuse_other_items(answers, reference)
    items = len(answers["id"])
    ours, theirs = (metrics.statistics(each, classes) for each in (answers, reference))
    main = metric if metric in ours else next(iter(ours))
    figures = {name: metrics.value(statistic, items) for name, statistic in ours.items()}
    columns: dict[str, Any] = {"metric": main, "metrics": sorted(figures.items())}
    if "right" in answers:
        columns |= _shares(answers, reference, items)
    if "next_tokens" in answers:
        columns["reference_agreement"] = _agreement(answers["next_tokens"], reference["next_tokens"])
    base = metrics.value(theirs[main], items)
    if main in _SHARES:
        value = paired.wilson(int(answers["right"].sum()), items)
        lost, won = columns["accuracy_lost"], columns["accuracy_won"]
        apart = paired.difference(lost, won, items)
    else:
        value, apart = _resampled(ours[main], theirs[main], items)
        columns["accuracy_verdict"] = _by_interval(apart, base, main, items)
    columns |= (
        _bounded("metric_value", value) | {"reference_value": base} | _bounded("metric_difference", apart)
    )
    floor, reason = None, ""
    if relative_floor is not None:
        ratio = _ratio(apart, base, main)
        floor, needed = paired.floor(ratio, relative_floor, items)
        columns |= {"relative_floor": relative_floor, "floor_verdict": floor, "floor_items": needed}
        columns |= _bounded("reference_ratio", ratio)
        reason = (
            f"{main} is {ratio.value:.4f} of the fp32 reference's (95 %: {ratio.lo:.4f} to {ratio.hi:.4f}), "
            f"below accuracy.relative_floor={relative_floor:g}"
        )
    return Score(columns=columns, answers=answers, reference=reference, floor=floor, reason=reason)


def _shares(answers: Answers, reference: Answers, items: int) -> dict[str, Any]:
    """Columns about right and wrong answers."""
    right, was_right = answers["right"].astype(bool), reference["right"].astype(bool)
    lost, won = int((was_right & ~right).sum()), int((right & ~was_right).sum())
    accuracy = paired.wilson(int(right.sum()), items)
    flipped = answers["predicted"] != reference["predicted"]
    margins = reference["margin"][flipped] if "margin" in reference else np.empty(0)
    return {
        **_bounded("accuracy", accuracy),
        "accuracy_n": items,
        "accuracy_lost": lost,
        "accuracy_won": won,
        "accuracy_p": paired.mcnemar(lost, won),
        "accuracy_verdict": paired.verdict(lost, won, items),
        "smallest_difference": paired.smallest_difference(lost, won, items),
        "reference_agreement": float(1 - flipped.mean()),
        "flip_margin_p50": float(np.median(margins)) if len(margins) else None,
    }


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Share of the scored tokens in whose place both have the same likeliest one; null without any."""
    scored = ours >= 0
    return float((ours == theirs)[scored].mean()) if scored.any() else None


def _bounded(name: str, bounds: Bounds) -> dict[str, float]:
    return {name: bounds.value, f"{name}_lo": bounds.lo, f"{name}_hi": bounds.hi}


def _resampled(ours: metrics.Statistic, theirs: metrics.Statistic, items: int) -> tuple[Bounds, Bounds]:
    """A figure and its difference to the reference's, with intervals of the paired bootstrap."""
    value, base = metrics.value(ours, items), metrics.value(theirs, items)
    apart = paired.bootstrap(lambda counts: ours(counts) - theirs(counts), items)
    return Bounds(value, *paired.bootstrap(ours, items)), Bounds(value - base, *apart)


def _by_interval(apart: Bounds, base: float, metric: str, items: int) -> paired.Verdict:
    """Verdict of a figure that isn't a share: its interval excludes 0, and what rounding changes."""
    if items < paired.FEWEST_DISCORDANT:
        return "too few to tell"
    if apart.lo <= 0 <= apart.hi or max(-apart.lo, apart.hi) <= _ROUNDING * abs(base):
        return "no measurable difference"
    return "worse" if (apart.value > 0) == (metric in metrics.SMALLER_IS_BETTER) else "better"


def _ratio(apart: Bounds, base: float, metric: str) -> Bounds:
    """Ratio to the reference: 1 where equal, smaller where worse; its interval is that of the difference."""
    if not base:
        return Bounds(1.0, -np.inf, np.inf)
    if metric in metrics.SMALLER_IS_BETTER:
        return Bounds(*(base / (base + one) for one in (apart.value, apart.hi, apart.lo)))
    return Bounds(*(1 + one / base for one in apart))


def table(found: Score) -> pa.Table:
    """The answers as the store keeps them: a line an item, with the reference's beside."""
    import pyarrow as pa

    columns = {name: _listed(values) for name, values in found.answers.items()}
    for name in ("predicted", "right", "margin", "f1", "nll", "next_tokens"):
        if name in found.reference:
            columns[f"reference_{name}"] = _listed(found.reference[name])
    return pa.table(columns)


def _listed(values: np.ndarray) -> Any:
    if values.ndim == 1:
        return values
    return [[int(one) for one in line if one >= 0] for line in values]

"""Figures of answers: shares, F1, Matthews' correlation, perplexity; of many resamples at once too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from benchmark.labelled.answers import Answers

Statistic = Callable[[np.ndarray], np.ndarray]
"""Counts of (resamples, items) to a value a resample."""

_TOP: Final = 5

SMALLER_IS_BETTER: Final = frozenset({"perplexity"})


def statistics(answers: Answers, classes: int) -> Mapping[str, Statistic]:
    """Every figure that the answers allow, by name. `classes` is the number of classes, 0 without any."""
    found: dict[str, Statistic] = {}
    if "right" in answers:
        found["exact_match" if "f1" in answers else "accuracy"] = _mean(answers["right"])
    if "rank" in answers and classes > _TOP:
        found["top5"] = _mean(answers["rank"] < _TOP)
    if "f1" in answers:
        found["f1"] = _mean(answers["f1"])
    elif "predicted" in answers and classes > 1:
        found["f1"], found["matthews"] = _f1(answers), _matthews(answers)
    if "nll" in answers:
        found["perplexity"] = _perplexity(answers)
        found["next_token_accuracy"] = _ratio(answers["next_right"], answers["tokens"])
    return found


def value(statistic: Statistic, items: int) -> float:
    """The figure of all items, each once."""
    return float(statistic(np.ones((1, items)))[0])


def _mean(values: np.ndarray) -> Statistic:
    return _ratio(values, np.ones(len(values)))


def _ratio(over: np.ndarray, under: np.ndarray) -> Statistic:
    return lambda counts: (counts @ over.astype(float)) / (counts @ under.astype(float))


def _perplexity(answers: Answers) -> Statistic:
    """Exponential of the mean negative log likelihood of a token."""
    nats = _ratio(answers["nll"], answers["tokens"])
    return lambda counts: np.exp(nats(counts))


def _confusion(answers: Answers) -> tuple[Statistic, int]:
    """Counts of (right class, predicted class) for each resample, and the number of classes."""
    names = np.unique(np.concatenate([answers["label"], answers["predicted"]]))
    right = np.searchsorted(names, answers["label"])
    predicted = np.searchsorted(names, answers["predicted"])
    cells = np.zeros((len(right), len(names) ** 2))
    cells[np.arange(len(right)), right * len(names) + predicted] = 1
    return lambda counts: (counts @ cells).reshape(-1, len(names), len(names)), len(names)


def _f1(answers: Answers) -> Statistic:
    """F1 of the last class of two, as MRPC has it; of more classes the mean over them ("macro")."""
    confusion, _ = _confusion(answers)
    names = np.unique(np.concatenate([answers["label"], answers["predicted"]]))
    known = np.isin(names, answers["label"])

    def f1(counts: np.ndarray) -> np.ndarray:
        table = confusion(counts)
        both = table.sum(1) + table.sum(2)
        each = 2 * np.diagonal(table, axis1=1, axis2=2) / np.where(both > 0, both, 1)
        values: np.ndarray = each[:, -1] if known.sum() == 2 else each[:, known].mean(1)  # noqa: PLR2004
        return values

    return f1


def _matthews(answers: Answers) -> Statistic:
    """Matthews' correlation, for several classes as Gorodkin's (2004); 0 where all answers are alike."""
    confusion, _ = _confusion(answers)

    def matthews(counts: np.ndarray) -> np.ndarray:
        table = confusion(counts)
        right, predicted = table.sum(2), table.sum(1)
        total, hits = table.sum((1, 2)), np.trace(table, axis1=1, axis2=2)
        cov = hits * total - (right * predicted).sum(1)
        spread = (total**2 - (right**2).sum(1)) * (total**2 - (predicted**2).sum(1))
        return np.where(spread > 0, cov / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)

    return matthews

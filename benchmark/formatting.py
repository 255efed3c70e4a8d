"""Numbers as text for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def significant(value: float, digits: int = 3, *, separator: str = "") -> str:
    """A figure with so many significant digits at least, and no exponent: `0.00123`, `12.3`, `12345`.

    `separator` stands between thousands.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded figure: 9.999 is 10.0
    return f"{value:{separator}.{max(0, digits - 1 - exponent)}f}"


def is_useless(low: float, high: float) -> bool:
    """Whether the bounds of an interval say nothing: they are ±50 % of their middle or wider."""
    return not high < 3 * low


def floored(value: float, places: int = 6) -> str:
    """A similarity, rounded down, so that 1.000000 says that nothing is missing."""
    return f"{math.floor(value * 10**places) / 10**places:.{places}f}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: `1 cell`, `0 cells`, `2 processes`; `plural` for one without -s or -es."""
    return f"{number} {noun if number == 1 else plural or noun + ('es' if noun.endswith('s') else 's')}"


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for JSON, which has neither NaN nor infinity: those become None."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def limits_in_words(slo_ms: float | None, ttft_ms: float | None, tpot_ms: float | None) -> str:
    """Limits of latency, first token and time per token, as a part of a sentence."""
    given = ((slo_ms, "{} ms"), (ttft_ms, "{} ms to the first token"), (tpot_ms, "{} ms a token"))
    words = [how.format(significant(limit)) for limit, how in given if limit is not None]
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)

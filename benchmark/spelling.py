"""Suggest the right name for a misspelled one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'NAME'?` with the most similar known name; empty when none is similar."""
    return suggest(nearest(word, known))


def suggest(name: str | None) -> str:
    """Return the same question for a name that the caller has found; empty for None."""
    return f"did you mean {name!r}?" if name else ""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Most similar known name; None when no similarity (0 to 1, as in difflib) reaches the cutoff."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)

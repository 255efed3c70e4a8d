"""How SQuAD compares a text with the accepted answers: without case, punctuation, articles and spaces.

Rajpurkar et al. (2016), evaluate-v1.1.py.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """What counts of a text."""
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split()


def exact(text: str, accepted: Sequence[str]) -> bool:
    """Whether it is one of the accepted answers."""
    return any(words(text) == words(one) for one in accepted)


def f1(text: str, accepted: Sequence[str]) -> float:
    """Greatest F1 of its words and those of an accepted answer."""
    return max(_f1(words(text), words(one)) for one in accepted)


def _f1(ours: Sequence[str], theirs: Sequence[str]) -> float:
    shared = sum((Counter(ours) & Counter(theirs)).values())
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * shared / (len(ours) + len(theirs))

"""Functions that children use and Python 3.9 lacks: inf1's libraries end there. Newer ones are left alone.

The worker loads it in the server that children are forked from, so the rest of the program is written for
Python 3.10.
"""

from __future__ import annotations

import builtins
import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Any

if sys.version_info < (3, 10):  # noqa: UP036 - a worker may be of 3.9
    _zip = builtins.zip

    def _strict_zip(*iterables: Iterable[Any], strict: bool = False) -> Iterator[tuple[Any, ...]]:
        """As `zip` of Python 3.10: with `strict`, iterables of different lengths are an error."""
        if not strict:
            return _zip(*iterables)
        columns = [tuple(iterable) for iterable in iterables]
        if len({len(column) for column in columns}) > 1:
            raise ValueError("zip() arguments have different lengths")
        return _zip(*columns)

    def _pairwise(iterable: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """As `itertools.pairwise`: each item with the next."""
        items = tuple(iterable)
        return _zip(items, items[1:])

    builtins.zip = _strict_zip  # type: ignore[assignment,misc]
    itertools.pairwise = _pairwise  # type: ignore[attr-defined]

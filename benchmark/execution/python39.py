"""What Python 3.9 lacks of what children use: inf1's libraries end there. Elsewhere loading it does nothing.

The worker of such an interpreter loads it in the server that children are forked from, so that the rest of
the program needn't know how old Python may be.
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

"""The line for an empty answer: which condition no row meets, and which value was meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from benchmark.spelling import nearest, suggest
from benchmark.store.query import Condition
from benchmark.store.results import ResultsStore
from benchmark.store.schema import SCHEMA

_MOST_LISTED: Final = 12
_NAMES_OF_NOTHING: Final = frozenset({"null", "measured"})


def no_rows(store: ResultsStore, conditions: Sequence[Condition]) -> str:
    """Why no row is shown."""
    for one in conditions:
        if one.operator not in {"=", "=="} or SCHEMA.field(one.column).type != pa.string():
            continue
        stored = sorted({*store.table([one.column])[one.column].to_pylist()} - {None})
        for value in one.values:
            if value in stored or value in _NAMES_OF_NOTHING:
                continue
            few = ", ".join(stored) if len(stored) <= _MOST_LISTED else f"{len(stored)} others"
            hint = suggest(nearest(value, stored)) or f"it has {few or 'none'}"
            return f"no rows: {one.column}={value} isn't in this store; {hint}"
    return "no rows: use fewer conditions or another --store"

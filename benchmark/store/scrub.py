"""Hide secrets in rows that older versions of this program stored. Ids and figures stay as they are."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import pyarrow as pa

from benchmark.redaction import public_variables, without_secrets
from benchmark.store.results import ResultsStore

_IDS: Final = frozenset({"run_id", "campaign", "cell_id", "environment_id", "family_id"})
_VARIABLES: Final = "environment_variables"


class Scrubbed(NamedTuple):
    """What was hidden."""

    values: int
    """Texts that held a secret, and variables that were one; of replaced rows too."""
    files: int


def scrub(store: ResultsStore) -> Scrubbed:
    """Hide the secrets in all rows of a store.

    Raises:
        StoreError: the store is being compacted, or can't be read or written.
    """
    hidden = 0

    def change(rows: pa.Table) -> pa.Table:
        nonlocal hidden
        for place, field in enumerate(rows.schema):
            if field.name in _IDS or not _has_texts(field.type):
                continue
            before = rows[field.name].to_pylist()
            after = [_public(field.name, value) for value in before]
            if changes := sum(map(_changes, before, after)):
                hidden += changes
                rows = rows.set_column(place, field, pa.chunked_array([pa.array(after, field.type)]))
        return rows

    files = store.rewrite(change)
    return Scrubbed(hidden, files)


def _has_texts(kind: pa.DataType) -> bool:
    if pa.types.is_map(kind):
        return bool(pa.types.is_string(kind.item_type))
    return bool(pa.types.is_string(kind.value_type if pa.types.is_list(kind) else kind))


def _public(column: str, value: Any) -> Any:
    if column == _VARIABLES and value:
        return [*public_variables(dict(value)).items()]
    return without_secrets(value)


def _changes(before: Any, after: Any) -> int:
    if not isinstance(before, list):
        return int(before != after)
    return sum(one not in after for one in before)

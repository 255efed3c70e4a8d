"""Measured, published or simulated: which stored rows a verb shows, and which it may judge together.

All verbs have one vocabulary. Measured rows are always shown; `--published` and `--simulated` add the others;
a condition on `source`, `document` or `simulated` decides for itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.store.query import Condition

if TYPE_CHECKING:
    import pandas as pd

Origin = Literal["measured", "published", "simulated"]
"""Where the figures of a row come from."""

COLUMNS: Final = ("source", "simulated")
"""Columns that say so."""
OWN: Final = pc.field("source").is_null()
"""Rows of this program, as an expression: measured or simulated."""

SIMULATED: Final = "Include simulated rows."
PUBLISHED: Final = "Include published rows."
JUDGE_SIMULATED: Final = "Judge simulated rows, and only those."
"""Help of the options."""


class Shown(NamedTuple):
    """Rows that a verb shows."""

    rows: pa.Table
    hidden: Mapping[str, int]
    """Number of rows left out, by origin; each is the name of the option that shows them."""

    @property
    def notes(self) -> Iterator[str]:
        """How many rows are hidden, and what shows them."""
        for origin, count in self.hidden.items():
            yield f"{origin} rows hidden: {count} (--{origin} shows them)"


def shown(
    rows: pa.Table, conditions: Sequence[Condition], *, simulated: bool = False, published: bool = False
) -> Shown:
    """Of rows that meet the conditions those whose origin is wanted.

    Args:
        rows: With COLUMNS.
        conditions: That chose the rows.
        simulated: Whether `--simulated` is given.
        published: Whether `--published` is given.
    """
    every = origins(rows)
    wanted = wanted_origins(conditions, simulated=simulated, published=published)
    counts = {origin: pc.sum(pc.equal(every, origin)).as_py() or 0 for origin in get_args(Origin)}
    return Shown(
        rows=rows.filter(pc.is_in(every, pa.array(wanted))),
        hidden={origin: count for origin, count in counts.items() if count and origin not in wanted},
    )


def wanted_origins(
    conditions: Sequence[Condition],
    *,
    simulated: bool = False,
    published: bool = False,
    usual: Collection[str] = ("measured",),
) -> tuple[str, ...]:
    """Origins that options and conditions ask for, and those that a verb always shows."""
    named = {one.column for one in conditions}
    wanted = {
        "published": published or not named.isdisjoint({"source", "document"}),
        "simulated": simulated or "simulated" in named,
    }
    return tuple(origin for origin in get_args(Origin) if origin in usual or wanted.get(origin, False))


def judged(rows: pa.Table, conditions: Sequence[Condition], *, simulated: bool) -> pa.Table:
    """Rows that one verdict may rest on: measured ones, never mixed with simulated ones.

    Simulated rows stand alone where they are requested, or where there are no others. Published rows are in
    only where a condition names them.
    """
    own = shown(rows, conditions, simulated=True).rows
    if "simulated" in {one.column for one in conditions}:
        return own
    pretended = pc.fill_null(own["simulated"], False)  # noqa: FBT003 - pyarrow's signature
    measured = own.filter(pc.invert(pretended))
    return own.filter(pretended) if simulated or not len(measured) else measured


def origin(values: Mapping[str, Any]) -> Origin:
    """Origin of one row."""
    if values.get("source") is not None:
        return "published"
    return "simulated" if values.get("simulated") else "measured"


def origins(rows: pa.Table) -> pa.ChunkedArray:
    """Origin of each row."""
    pretended = pc.fill_null(rows["simulated"], False)  # noqa: FBT003 - pyarrow's signature
    own = pc.if_else(pretended, "simulated", "measured")
    return pc.if_else(pc.is_valid(rows["source"]), "published", own)


def any_simulated(rows: pd.DataFrame) -> bool:
    """Whether any of these rows is simulated."""
    return bool(rows["simulated"].fillna(value=False).any())

"""The errors of published pages, generated from their rows: no rule names a page, a model or a figure.

Each rule is a mistake that a generator would not make: figures typed by hand, costs typed instead of worked
out, numbers sorted as text. They compare what `as_printed` keeps with what the row's figures and the price
book of the document's date give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pandas as pd

from benchmark.published import printed_figures
from benchmark.published.checks import (
    claims,
    orders,
    pairs,
    tables,
)
from benchmark.published.checks.difference import Difference, PublishedRow
from benchmark.published.documents import FILE, LINE, PRINTED, REPEATED, SOURCE
from benchmark.records import frozen

__all__ = ["RULES", "Difference", "differences"]

Rule = Callable[[Sequence[PublishedRow]], Iterator[Difference]]

RULES: Final[tuple[Rule, ...]] = (
    tables.unknown_instances,
    tables.means_under_a_percentile,
    tables.other_files,
    tables.misprints,
    tables.cut_off,
    tables.mixed_digits,
    pairs.same_series,
    pairs.shared_figures,
    pairs.falling,
    tables.blanks,
    tables.wrong_captions,
    claims.wrong_costs,
    claims.unnamed_prices,
    claims.printed_twice,
    claims.more_expensive,
    claims.claimed_costs,
    claims.better_accuracies,
    orders.calls_in_flight,
    orders.costs_sorted_as_text,
    orders.sizes_sorted_as_text,
    orders.tokens_called_inferences,
    orders.means_without_spread,
)
"""In the order in which they are told."""


@frozen
class Comparison:
    """Printed figures against those of the rows, at the printed digits."""

    equal: int
    unequal: tuple[tuple[str, str, str], ...]
    """Cell, figure as printed, figure of the row."""


def compared(rows: pd.DataFrame) -> Comparison:
    """Every printed figure that a row has too: dollars at the price of the document's date."""
    equal, unequal = 0, []
    for entry in _entries(rows):
        for name, text in entry.said.items():
            column = name.removeprefix(PRINTED).removesuffix(REPEATED)
            value = entry.cost if column == "usd_per_1m" else entry.value(column)
            if not name.startswith(PRINTED) or not isinstance(value, (int, float)):
                continue
            figure = printed_figures.rounded(100 * value if "%" in text else value, text)
            if figure == printed_figures.rounded(float(printed_figures.bare(text)), text):
                equal += 1
            else:
                unequal.append((entry.label, text, figure))
    return Comparison(equal=equal, unequal=tuple(unequal))


def differences(rows: pd.DataFrame) -> list[Difference]:
    """What every rule finds in the published rows of a frame as `results.to_frame` makes it."""
    entries = _entries(rows)
    return [found for rule in RULES for found in rule(entries)]


def _entries(rows: pd.DataFrame) -> list[PublishedRow]:
    """Published rows as the document has them: some rules look at neighbours."""
    if "source" not in rows or "as_printed" not in rows:
        return []
    ours = rows[(rows["source"] == SOURCE) & rows["as_printed"].notna()]
    entries = [
        PublishedRow(row={str(name): value for name, value in row.items()}, said=row["as_printed"])
        for row in ours.to_dict(orient="records")
    ]
    return sorted(entries, key=_place)


def _place(entry: PublishedRow) -> tuple[str, str, int]:
    return entry.document, entry.said.get(FILE, ""), int(entry.said.get(LINE, "0"))

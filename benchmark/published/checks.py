"""Checks of published pages: each rule finds one kind of error by comparing rows of a document.

A rule names no page, model or figure. Each is an error that a generated page doesn't have: figures typed by
hand, costs typed instead of computed, numbers sorted as text. The rules compare the printed texts
(`as_printed`) with the figures of the rows, with the files behind the page, and with the price book at the
document's date.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Final

import pandas as pd

from benchmark.published import comparisons
from benchmark.published.comparisons import Rows
from benchmark.published.documents import LINE, PRINTED, REPEATED, SOURCE
from benchmark.published.printed_figures import bare, rounded
from benchmark.published.published_row import COST, PublishedRow
from benchmark.records import frozen


@frozen
class Difference:
    """A place where a page differs from its own figures, or claims what they don't show."""

    kind: str
    """Kind of the error, in a few words."""
    sentence: str
    """The printed text and the figure it should be, with base, direction and the comparison that was made."""


@frozen
class Agreement:
    """Printed figures against those of the rows, at the printed digits."""

    equal: int
    unequal: tuple[tuple[str, str, str], ...]
    """Cell, figure as printed, figure of the row."""


@frozen
class Rule:
    """One kind of error, and which rows are compared to find it."""

    kind: str
    select: Callable[[Rows], Rows] = list
    """Rows that the rule looks at."""
    key: Callable[[PublishedRow], Hashable]
    """Selected rows with the same key are compared with each other; `id` leaves each row by itself."""
    compare: Callable[[Rows], Iterable[str]]
    """A sentence for each error among them."""

    def find(self, rows: Rows) -> Iterator[Difference]:
        """Every error of this kind."""
        for group in comparisons.grouped(self.select(rows), self.key):
            for sentence in self.compare(group):
                yield Difference(kind=self.kind, sentence=sentence)


def differences(rows: pd.DataFrame) -> list[Difference]:
    """Every error of the published rows of a frame made by `results.to_frame`."""
    published = published_rows(rows)
    return [found for rule in RULES for found in rule.find(published)]


def compared(rows: pd.DataFrame) -> Agreement:
    """Every printed figure that a row has too; costs are computed with the price of the document's date."""
    equal, unequal = 0, []
    for row in published_rows(rows):
        for name, text in row.as_printed.items():
            column = name.removeprefix(PRINTED).removesuffix(REPEATED)
            value = row.cost if column == COST else row.value(column)
            if not name.startswith(PRINTED) or not isinstance(value, (int, float)):
                continue
            figure = rounded(100 * value if "%" in text else value, text)
            if figure == rounded(float(bare(text)), text):
                equal += 1
            else:
                unequal.append((row.label, text, figure))
    return Agreement(equal=equal, unequal=tuple(unequal))


def published_rows(rows: pd.DataFrame) -> list[PublishedRow]:
    """Published rows in the order of their document, since some rules compare neighbours."""
    if "source" not in rows or "as_printed" not in rows:
        return []
    chosen = rows[(rows["source"] == SOURCE) & rows["as_printed"].notna()]
    published = [
        PublishedRow(values={str(name): value for name, value in row.items()}, as_printed=row["as_printed"])
        for row in chosen.to_dict(orient="records")
    ]
    return sorted(published, key=lambda row: (row.document, row.file, int(row.as_printed.get(LINE, "0"))))


RULES: Final = (
    Rule(
        kind="instance type not in the catalogue",
        key=comparisons.document_of,
        compare=comparisons.unknown_types,
    ),
    Rule(
        kind="mean under a percentile's heading",
        select=comparisons.of_their_file,
        key=comparisons.column_of,
        compare=comparisons.means_as_percentile,
    ),
    Rule(
        kind="matches no file of its version",
        select=comparisons.with_file,
        key=comparisons.series_of,
        compare=comparisons.other_files,
    ),
    Rule(
        kind="differs from its file", select=comparisons.of_their_file, key=id, compare=comparisons.misprints
    ),
    Rule(
        kind="truncated, not rounded",
        select=comparisons.truncated,
        key=comparisons.document_of,
        compare=comparisons.truncations,
    ),
    Rule(
        kind="mixed number of decimals",
        select=comparisons.with_file,
        key=comparisons.series_of,
        compare=comparisons.mixed_decimals,
    ),
    Rule(
        kind="same figure for two models",
        select=lambda rows: [row for row in rows if row.latency and row.value("sequence_length") is not None],
        key=comparisons.column_of,
        compare=comparisons.same_series,
    ),
    Rule(
        kind="same figure for two models",
        select=lambda rows: [
            row for row in rows if comparisons.significant(row.latency_text) >= comparisons.LONG
        ],
        key=lambda row: (row.document, row.latency, row.latency_text),
        compare=comparisons.shared_figures,
    ),
    Rule(
        kind="latency falls while work grows",
        select=lambda rows: [row for row in rows if row.latency],
        key=lambda row: (row.document, row.value("family_id"), row.value("environment_id")),
        compare=comparisons.falling,
    ),
    Rule(
        kind="no figure and no reason",
        select=lambda rows: [row for row in rows if row.value("status") == "unavailable"],
        key=lambda row: (row.document, row.machine, row.value("error")),
        compare=comparisons.blanks,
    ),
    Rule(kind="caption contradicts its file", key=comparisons.document_of, compare=comparisons.captions),
    Rule(kind="truncated, not rounded", key=id, compare=partial(comparisons.wrong_costs, truncated=True)),
    Rule(
        kind="cost doesn't follow from throughput",
        key=id,
        compare=partial(comparisons.wrong_costs, truncated=False),
    ),
    Rule(
        kind="price not stated",
        select=lambda rows: [row for row in rows if row.text(COST) and not row.text("usd_per_hour")],
        key=comparisons.document_of,
        compare=comparisons.missing_prices,
    ),
    Rule(kind="printed twice, differently", key=id, compare=comparisons.printed_twice),
    Rule(kind="percentage of the wrong base", key=comparisons.model_of, compare=comparisons.percentages),
    Rule(kind="wrong cost in a sentence", key=comparisons.model_of, compare=comparisons.claimed_costs),
    Rule(
        kind="difference within noise",
        select=lambda rows: [row for row in rows if row.value("accuracy_n")],
        key=lambda row: (comparisons.model_of(row), *map(row.value, ("hardware", "batch_size", "dataset"))),
        compare=comparisons.within_noise,
    ),
    Rule(
        kind="throughput doesn't fit latency",
        key=lambda row: (row.document, row.as_printed.get("Application Type") or row.value("scenario")),
        compare=comparisons.calls_in_flight,
    ),
    Rule(kind="numbers sorted as text", key=comparisons.document_of, compare=comparisons.sorted_as_text),
    Rule(
        kind="wrong unit",
        select=lambda rows: [
            row for row in rows if row.value("throughput_unit") == "tokens" and row.value("throughput_per_s")
        ],
        key=comparisons.document_of,
        compare=comparisons.wrong_units,
    ),
    Rule(
        kind="mean without spread",
        select=lambda rows: [
            row
            for row in rows
            if row.as_printed.get("mean_of_runs")
            and row.value("accuracy_lo") is None
            and row.value("latency_std_ms") is None
        ],
        key=lambda row: (row.document, row.as_printed["mean_of_runs"]),
        compare=comparisons.without_spread,
    ),
)
"""In the order of the report."""

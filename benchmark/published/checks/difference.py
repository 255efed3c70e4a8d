"""What a published page got wrong, as a record; and rows as the rules of `errata` look at them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import pandas as pd

from benchmark.cloud import prices
from benchmark.cloud.prices import Price
from benchmark.published import printed_figures
from benchmark.published.documents import EARLIER, PRICE_KIND, PRICE_REGION, PRINTED, RAW
from benchmark.records import frozen


@frozen
class Difference:
    """Where a page differs from its own figures, or says what they don't bear."""

    document: str
    where: str
    """The cells or lines it is about."""
    printed: str
    """What the page says."""
    computed: str
    """What its figures, or the files behind it, give."""
    sentence: str
    """Both, with base, direction and the rule that was applied."""
    kind: str
    """The rule that found it, in a few words."""


class PublishedRow(NamedTuple):
    """A published row with its line."""

    row: Mapping[str, Any]
    said: Mapping[str, str]

    @property
    def document(self) -> str:
        """What it was imported from."""
        return str(self.row["document"])

    @property
    def model(self) -> str:
        """As it is printed."""
        return self.said.get("Model") or self.said.get("model") or str(self.value("model") or "")

    @property
    def machine(self) -> str:
        """As it is printed, else the hardware."""
        return self.said.get("device") or self.said.get("hardware") or str(self.value("instance_type") or "")

    @property
    def size(self) -> str:
        """Batch and length in a few words."""
        words = (("batch", "batch_size"), ("length", "sequence_length"))
        # A page with one batch alone doesn't name it in every cell.
        known = [f"{word} {value}" for word, name in words if (value := self.value(name)) is not None]
        return ", ".join(known[1:] if len(known) > 1 and known[0] == "batch 1" else known)

    @property
    def label(self) -> str:
        """The cell in a few words."""
        cast = self.said.get("fast_math", "")
        fast = f"fast-math {cast}" if cast not in {"", "-", "default"} else ""
        variant = self.said.get("variant", "") if "fast_math" in self.said else ""
        return " ".join(word for word in (self.model, self.machine, self.size, fast, variant) if word)

    def value(self, column: str) -> Any:
        """A column, or None."""
        found = self.row.get(column)
        missing = found is None or found is pd.NA or (isinstance(found, float) and math.isnan(found))
        return None if missing else found

    def text(self, column: str) -> str:
        """What was printed of a column; empty where nothing was."""
        return self.said.get(f"{PRINTED}{column}", "")

    def raw(self, column: str) -> float | None:
        """What the files behind the page say of it."""
        return printed_figures.number(self.said.get(f"{RAW}{column}", ""))

    def earlier(self, column: str) -> float | None:
        """What an earlier version of those files said."""
        return printed_figures.number(self.said.get(f"{EARLIER}{column}", ""))

    @property
    def price(self) -> Price | None:
        """Of an hour of its machine, on the document's day and basis; None where the book has none."""
        kind, region = self.said.get(PRICE_KIND), self.said.get(PRICE_REGION)
        name, day = self.value("instance_type"), self.value("document_date")
        if not (kind and region and name and day):
            return None
        return prices.price(name, kind, region, date.fromisoformat(day))  # type: ignore[arg-type]

    @property
    def cost(self) -> float | None:
        """Dollars per 1M of what is counted."""
        book = self.price
        rate = self.value("throughput_per_s") or self.value("output_tokens_per_s")
        return book.usd_per_hour * 1e6 / 3600 / rate if book and rate else None

    @property
    def basis(self) -> str:
        """The price of an hour in a few words."""
        book = self.price
        if book is None:
            return ""
        return f"{book.usd_per_hour} $/h of {book.instance_type}, {book.kind}, {book.published}"

    @property
    def latency(self) -> str:
        """Column of the first latency that was printed; empty where none was."""
        return next((name[len(PRINTED) :] for name in self.said if name.startswith(f"{PRINTED}latency")), "")


def grouped(
    entries: Iterable[PublishedRow], key: Callable[[PublishedRow], Hashable]
) -> list[list[PublishedRow]]:
    """Entries that have a key in common, in their order."""
    groups: dict[Hashable, list[PublishedRow]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return list(groups.values())


def listed(words: Sequence[str], most: int = 8) -> str:
    """Words with commas; of many the first."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def significant(text: str) -> int:
    """Significant digits of a printed figure, zeros at its end included."""
    return len(printed_figures.bare(text).replace(".", "").replace("-", "").lstrip("0"))

"""A published row with its printed texts: what `checks` compares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

import pandas as pd

from benchmark.cloud import prices
from benchmark.cloud.prices import Price
from benchmark.published import printed_figures
from benchmark.published.documents import CLAIM, EARLIER, FILE, PAGE, PRICE_KIND, PRICE_REGION, PRINTED, RAW

COST = "usd_per_1m"
"""Column of the cost; a row has no figure of it, so `cost` computes it."""


class PublishedRow(NamedTuple):
    """A row of the store with the texts of its document."""

    values: Mapping[str, Any]
    as_printed: Mapping[str, str]

    @property
    def document(self) -> str:
        """Document that it was imported from."""
        return str(self.values["document"])

    @property
    def file(self) -> str:
        """File of the document that has its line."""
        return self.as_printed.get(FILE, "")

    @property
    def model(self) -> str:
        """Model as printed, else its name in the store."""
        return self.as_printed.get("Model") or self.as_printed.get("model") or str(self.value("model") or "")

    @property
    def machine(self) -> str:
        """Machine as printed, else its instance type."""
        printed = self.as_printed.get("device") or self.as_printed.get("hardware")
        return printed or str(self.value("instance_type") or "")

    @property
    def size(self) -> str:
        """Batch and length, such as `batch 4, length 128`."""
        words = (("batch", "batch_size"), ("length", "sequence_length"))
        known = [f"{word} {value}" for word, name in words if (value := self.value(name)) is not None]
        # A page whose only batch is 1 doesn't print it in every cell.
        return ", ".join(known[1:] if len(known) > 1 and known[0] == "batch 1" else known)

    @property
    def label(self) -> str:
        """The cell as a reader finds it on the page."""
        cast = self.as_printed.get("fast_math", "")
        fast = f"fast-math {cast}" if cast not in {"", "-", "default"} else ""
        variant = self.as_printed.get("variant", "") if "fast_math" in self.as_printed else ""
        return " ".join(word for word in (self.model, self.machine, self.size, fast, variant) if word)

    @property
    def price(self) -> Price | None:
        """Price of an hour, of the document's day, kind and region; None where the price book has none."""
        kind, region = self.as_printed.get(PRICE_KIND), self.as_printed.get(PRICE_REGION)
        name, day = self.value("instance_type"), self.value("document_date")
        if not (kind and region and name and day):
            return None
        return prices.price(name, kind, region, date.fromisoformat(day))  # type: ignore[arg-type]

    @property
    def cost(self) -> float | None:
        """Dollars per 1M items, images or tokens; None without a price or a throughput."""
        price = self.price
        rate = self.value("throughput_per_s") or self.value("output_tokens_per_s")
        return price.usd_per_hour * 1e6 / 3600 / rate if price and rate else None

    @property
    def latency(self) -> str:
        """Column of the first printed latency; empty where none is printed."""
        return next(
            (name[len(PRINTED) :] for name in self.as_printed if name.startswith(f"{PRINTED}latency")), ""
        )

    @property
    def latency_text(self) -> str:
        """The first printed latency."""
        return self.text(self.latency)

    def value(self, column: str) -> Any:
        """A column of the row; None where it is missing."""
        found = self.values.get(column)
        missing = found is None or found is pd.NA or (isinstance(found, float) and math.isnan(found))
        return None if missing else found

    def text(self, column: str) -> str:
        """Printed text of a column; empty where none is printed."""
        return self.as_printed.get(f"{PRINTED}{column}", "")

    def raw(self, column: str) -> float | None:
        """Figure of a column in the files behind the page."""
        return printed_figures.number(self.as_printed.get(f"{RAW}{column}", ""))

    def earlier(self, column: str) -> float | None:
        """Figure of a column in an earlier version of those files."""
        return printed_figures.number(self.as_printed.get(f"{EARLIER}{column}", ""))

    def claim(self, name: str) -> str:
        """What a sentence of the page claims of the row; empty where none does."""
        return self.as_printed.get(f"{CLAIM}{name}", "")

    def page(self, name: str) -> str:
        """What holds for the whole page, such as the heading of its costs."""
        return self.as_printed.get(f"{PAGE}{name}", "")

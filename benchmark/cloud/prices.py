"""The dated price book: price of an hour of each cloud instance, as published on a date.

A price is a fact with a date. Costs are computed from it when a report is made, so old rows can be priced
again. `prices.csv` has the repository, file and commit of each price: on-demand prices of us-east-1 from
karpenter-provider-aws, effective hourly rates of reserved instances from the Neuron documentation, spot
prices and us-west-2 from SkyPilot's catalog.

Missing facts are not guessed:

- A price without a stated region counts for us-east-1 only, and only if no price states that region: the page
  about inf1, beside those about inf2 and trn1, states N. Virginia. Its `region` stays `not stated`, so that
  the basis below a table shows it.
- A price without a date (`catalog v8`) is older than every dated one, and doesn't count where `as_of` asks
  for a day.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from benchmark.records import frozen

Kind = Literal["on-demand", "reserved", "spot"]
"""How an instance is paid for; `reserved` is RI-effective in prices.csv."""

NOT_STATED: Final = "not stated"
"""Region of a price whose source states none."""
_ASSUMED: Final = "us-east-1"
"""Region that a price without one may count for."""
_KINDS: Final[Mapping[str, Kind]] = {"on-demand": "on-demand", "RI-effective": "reserved", "spot": "spot"}
BOOK: Final = Path(__file__).with_name("prices.csv")


@frozen
class Price:
    """Price of an hour of an instance, on the day of its publication."""

    instance_type: str
    usd_per_hour: float
    kind: Kind
    """Never mixed. `reserved` is the effective hourly rate of reserved instances, term not stated."""
    region: str
    """`not stated` if the source states none."""
    published: str
    """Date as YYYY-MM-DD, or the source's text instead of one, such as `catalog v8`."""
    source: str
    """Repository, file and commit of the figure."""
    os: str = "linux"
    """Operating system whose licence the price includes."""

    @property
    def day(self) -> date | None:
        """Day of publication; None without a date."""
        try:
            return date.fromisoformat(self.published)
        except ValueError:
            return None


def price(
    instance_type: str, kind: Kind = "on-demand", region: str = "us-east-1", as_of: date | None = None
) -> Price | None:
    """The newest price of this kind and region, published by `as_of` if that is given; None without one."""
    found = [one for one in _book().get(instance_type, ()) if one.kind == kind and _is_by(one, as_of)]
    stated = [one for one in found if one.region == region]
    guessed = [one for one in found if one.region == NOT_STATED and region == _ASSUMED]
    best = stated or guessed
    return best[-1] if best else None


def nearest(instance_type: str, kind: Kind, region: str, as_of: date | None = None) -> Price | None:
    """The most similar price where `price` has none, for a message; None if the book lacks the type.

    Kind counts most, then region, then date: the nearest to `as_of`, or the newest without it.
    """

    def distance(one: Price) -> tuple[bool, bool, bool, bool, int]:
        days = 0 if as_of is None or one.day is None else abs((one.day - as_of).days)
        return one.kind != kind, one.region != region, one.region == NOT_STATED, one.day is None, days

    return min(reversed(_book().get(instance_type, ())), key=distance, default=None)


def regions() -> tuple[str, ...]:
    """Regions of the price book."""
    return tuple(sorted({one.region for prices in _book().values() for one in prices} - {NOT_STATED}))


def _is_by(one: Price, as_of: date | None) -> bool:
    return as_of is None or (one.day is not None and one.day <= as_of)


@lru_cache(maxsize=1)
def _book() -> Mapping[str, tuple[Price, ...]]:
    """Prices of each instance type: those without a date, then from old to new."""
    with BOOK.open(encoding="utf-8", newline="") as file:
        prices = [_price(line) for line in csv.DictReader(file)]
    prices.sort(key=lambda one: one.day or date.min)
    found: dict[str, tuple[Price, ...]] = {}
    for one in prices:
        found[one.instance_type] = (*found.get(one.instance_type, ()), one)
    return found


def _price(line: Mapping[str, str]) -> Price:
    region = line["region"]
    return Price(
        instance_type=line["instance_type"],
        usd_per_hour=float(line["usd_per_hour"]),
        kind=_KINDS[line["kind"]],
        region=NOT_STATED if NOT_STATED in region else region,
        published=line["published"],
        source=f"{line['source_repo']} {line['source_path']} {line['commit']}",
        os=line["os"],
    )

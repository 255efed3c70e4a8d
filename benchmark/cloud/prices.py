"""The dated price book: what an hour of a cloud instance cost, as published on a date.

A price is a fact with a date, never computed: cost is worked out from it when a report is made, so old
rows can be priced anew. `prices.csv` has for each figure the repository, file and commit it was read from:
on-demand prices of us-east-1 from karpenter-provider-aws, effective hourly rates of reserved instances from
the Neuron documentation, spot prices and us-west-2 from SkyPilot's catalog.

What the book doesn't say is not made up:

- A price whose region is not stated answers for us-east-1 only, and only where no price states that region:
  the page about inf1 beside those about inf2 and trn1 states N. Virginia. Its `region` stays `not stated`, so
  that the basis under a table says it. For other regions it answers nothing.
- A price without a date (`catalog v8`) is older than every dated one, and answers no question about a day:
  nobody can say that it was published by then.
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
"""How an instance is paid for; `reserved` is what the book calls RI-effective."""

NOT_STATED: Final = "not stated"
"""Region of a price whose source names none."""
_ANSWERS_FOR: Final = "us-east-1"
"""Region that a price without one may answer for."""
_KINDS: Final[Mapping[str, Kind]] = {"on-demand": "on-demand", "RI-effective": "reserved", "spot": "spot"}
_BOOK: Final = Path(__file__).with_name("prices.csv")


@frozen
class Price:
    """What an hour of an instance cost when it was published."""

    instance_type: str
    usd_per_hour: float
    kind: Kind
    """Never to be mixed. `reserved` is the effective hourly rate of reserved instances, term not stated."""
    region: str
    """`not stated` where the source names none, or only lets one guess."""
    published: str
    """Date as YYYY-MM-DD, or what the source says instead of one, such as `catalog v8`."""
    source: str
    """Repository, file and commit that the figure was read from."""
    os: str = "linux"
    """Operating system whose licence the price has in it."""

    @property
    def day(self) -> date | None:
        """When it was published; null without a date."""
        try:
            return date.fromisoformat(self.published)
        except ValueError:
            return None


def price(
    instance_type: str, kind: Kind = "on-demand", region: str = "us-east-1", as_of: date | None = None
) -> Price | None:
    """The newest price of its kind and region, published by `as_of` where that is given; None without one."""
    found = [one for one in _book().get(instance_type, ()) if one.kind == kind and _is_by(one, as_of)]
    stated = [one for one in found if one.region == region]
    guessed = [one for one in found if one.region == NOT_STATED and region == _ANSWERS_FOR]
    best = stated or guessed
    return best[-1] if best else None


def nearest(instance_type: str, kind: Kind, region: str, as_of: date | None = None) -> Price | None:
    """What the book has where `price` has nothing, to be told to a user; None where it lacks the type.

    Of that kind and region, though of another date; else of that kind, else of that region. Of those the
    nearest date, or the newest where no date is asked for.
    """

    def distance(one: Price) -> tuple[bool, bool, bool, bool, int]:
        days = 0 if as_of is None or one.day is None else abs((one.day - as_of).days)
        return one.kind != kind, one.region != region, one.region == NOT_STATED, one.day is None, days

    return min(reversed(_book().get(instance_type, ())), key=distance, default=None)


def regions() -> tuple[str, ...]:
    """Regions that the book has prices of."""
    return tuple(sorted({one.region for prices in _book().values() for one in prices} - {NOT_STATED}))


def _is_by(one: Price, as_of: date | None) -> bool:
    return as_of is None or (one.day is not None and one.day <= as_of)


@lru_cache(maxsize=1)
def _book() -> Mapping[str, tuple[Price, ...]]:
    """Prices of each instance type, those without a date first, then from old to new."""
    with _BOOK.open(encoding="utf-8", newline="") as file:
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

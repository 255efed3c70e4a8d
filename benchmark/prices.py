"""The dated price book: what an hour of a cloud instance cost, as published on a date.

A price is a fact with a date, never computed: cost is worked out from it when a report is made, so old
rows can be priced anew. `prices.csv` has for each figure the repository, file and commit it was read from:
on-demand prices of us-east-1 from karpenter-provider-aws, effective hourly rates of reserved instances from
the Neuron documentation, spot prices and us-west-2 from SkyPilot's catalog.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final

from benchmark.records import frozen

_BOOK: Final = Path(__file__).with_name("prices.csv")


@frozen
class Price:
    """What an hour of an instance cost when it was published."""

    instance_type: str
    usd_per_hour: float
    kind: str
    """on-demand, spot or RI-effective (a reserved instance, its term not stated): never to be mixed."""
    region: str
    published: str
    """Date as YYYY-MM-DD, or what the source says instead of one, such as `catalog v8`."""
    source: str
    """Repository, file and commit that the figure was read from."""


def price(instance_type: str, kind: str = "on-demand", region: str = "us-east-1") -> Price | None:
    """The newest price of its kind and region; None where the book has none."""
    return _newest().get((instance_type, kind, region))


@lru_cache(maxsize=1)
def _newest() -> Mapping[tuple[str, str, str], Price]:
    with _BOOK.open(encoding="utf-8", newline="") as file:
        prices = [_price(line) for line in csv.DictReader(file)]
    prices.sort(key=lambda one: _day(one.published))
    return {(one.instance_type, one.kind, one.region): one for one in prices}


def _price(line: Mapping[str, str]) -> Price:
    return Price(
        instance_type=line["instance_type"],
        usd_per_hour=float(line["usd_per_hour"]),
        kind=line["kind"],
        region=line["region"],
        published=line["published"],
        source=f"{line['source_repo']} {line['source_path']} {line['commit']}",
    )


def _day(published: str) -> date:
    """When a price was published; one without a date is older than every dated one."""
    try:
        return date.fromisoformat(published)
    except ValueError:
        return date.min

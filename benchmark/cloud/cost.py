"""Cost of a million inferences, images or tokens: join rows with the price book when a report is made.

    usd_per_1m = 1e6 / throughput_per_s x usd_per_hour / 3600

A whole instance is rented: a run on one of four cores is charged the price of all four, as `lines` states. No
row is lost: without a price its cost is NaN and a warning gives the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, get_args

import pandas as pd
from pydantic import ValidationError

from benchmark.cloud import instances, prices
from benchmark.cloud.prices import Kind, Price
from benchmark.errors import ConfigError
from benchmark.formatting import counted
from benchmark.frames import with_columns
from benchmark.records import Names, frozen
from benchmark.spelling import did_you_mean

UNITS: Final[Mapping[str, str]] = {"items": "inferences", "images": "images", "tokens": "tokens"}
"""Noun of a million, by `throughput_unit`."""
NEEDED: Final = ("instance_type", "throughput_per_s", "throughput_unit")
"""Columns that `priced` needs; it also reads `hardware` and `hostname` if they exist."""
_PRICE: Final = ("usd_per_hour", "price_kind", "price_region", "price_published", "price_source")
_WHOLE: Final = "The whole instance is charged, even if a run used only some of its cores or devices."
_TERM: Final = (
    "Reserved prices are the effective hourly rates of the Neuron documentation, which states no term."
)
_FEW: Final = 8
"""Names in a sentence at most."""


@frozen
class PriceBasis:
    """Which prices of the price book count."""

    kind: Kind
    """How the instances are paid for."""
    region: str
    """Cloud region, such as us-east-1."""
    as_of: date | None
    """The newest price published by this day counts; None: the newest of all."""

    @property
    def words(self) -> str:
        """The basis in a few words."""
        return f"{self.kind}, {self.region}" + (f", published by {self.as_of}" if self.as_of else "")


@frozen
class Priced:
    """Rows with their cost, the price basis, and warnings."""

    frame: pd.DataFrame
    """The rows in their order, with `usd_per_hour`, `usd_per_1m` (NaN without a price), `price_kind`,
    `price_region` (may be `not stated`), `price_published` and `price_source`."""
    lines: Names
    """Sentences about the price basis, for below every table; empty if no row has a cost."""
    warnings: Names
    """Rows with a throughput but no cost, with the reason."""


def typed(raw: Mapping[str, Any]) -> PriceBasis:
    """A price basis from the values of YAML or a command line.

    Raises:
        ConfigError: a key is unknown or missing, or a value is invalid.
    """
    keys = list(PriceBasis.__dataclass_fields__)
    if unknown := [key for key in raw if key not in keys]:
        advice = did_you_mean(str(unknown[0]), keys) or f"known: {', '.join(keys)}"
        raise ConfigError(f"price.{unknown[0]}: unknown key; {advice}")
    if missing := [key for key in keys if key not in raw]:
        raise ConfigError(f"price.{missing[0]}: is missing")
    kind, region = raw["kind"], raw["region"]
    if kind not in get_args(Kind):
        raise ConfigError(f"price.kind={_spelled(kind)}: should be one of {', '.join(get_args(Kind))}")
    if region not in prices.regions():
        known = f"known: {', '.join(prices.regions())}"
        advice = " ".join(filter(None, (did_you_mean(str(region), prices.regions()), known)))
        raise ConfigError(f"price.region={_spelled(region)}: the price book has no prices there; {advice}")
    try:
        return PriceBasis(kind=kind, region=region, as_of=_day(raw["as_of"]))
    except (ValueError, ValidationError):
        raise ConfigError(
            f"price.as_of={raw['as_of']}: should be a day such as 2024-09-16, or null"
        ) from None


def _spelled(value: Any) -> str:
    return "null" if value is None else str(value)


def _day(value: Any) -> date | None:
    return value if value is None or isinstance(value, date) else date.fromisoformat(str(value))


def priced(rows: pd.DataFrame, basis: PriceBasis) -> Priced:
    """Rows with the cost of a million of their units; all rows, in their order.

    Raises:
        KeyError: a column of NEEDED is missing.
    """
    codes, names = pd.factorize(rows["instance_type"])
    found = [prices.price(str(name), basis.kind, basis.region, basis.as_of) for name in names]
    columns = (
        pd.DataFrame([_price_columns(one) for one in (*found, None)], columns=_PRICE)
        .take(codes)
        .set_axis(rows.index)
    )
    usd, throughput = columns["usd_per_hour"].astype(float), rows["throughput_per_s"].astype(float)
    cost = 1e6 / throughput.where(throughput > 0) * usd / 3600
    frame = with_columns(
        rows, usd_per_hour=usd, usd_per_1m=cost, **{name: columns[name] for name in _PRICE[1:]}
    )
    units = rows["throughput_unit"][cost.notna()].dropna().unique()
    charged = [one for code in pd.unique(codes[cost.notna().to_numpy()]) if (one := found[code])]
    lines = _lines(sorted(map(str, units)), charged, basis)
    warnings = _warnings(frame[(throughput > 0) & usd.isna()], basis)
    return Priced(frame=frame, lines=tuple(lines), warnings=tuple(warnings))


def _price_columns(one: Price | None) -> tuple[float | str | None, ...]:
    """Values of a price, in the order of _PRICE; None for each without a price."""
    return (
        (one.usd_per_hour, one.kind, one.region, one.published, one.source) if one else (None,) * len(_PRICE)
    )


def unit_words(units: Iterable[str]) -> str:
    """Nouns of one unit or several: `images`, `inferences or tokens`."""
    *first, last = dict.fromkeys(UNITS.get(unit, unit) for unit in units)
    return f"{', '.join(first)} or {last}" if first else last


def _lines(units: Sequence[str], charged: Sequence[Price], basis: PriceBasis) -> Iterator[str]:
    if not charged:
        return
    systems = ", ".join(sorted({one.os.capitalize() for one in charged}))
    rates = ", ".join(
        f"{one.instance_type} {rate(one.usd_per_hour)} ({_published(one)})"
        for one in sorted(charged, key=lambda one: one.instance_type)
    )
    yield f"Cost per 1M {unit_words(units)}: {basis.words}, {systems}; {rates}."
    if basis.kind == "reserved":
        yield _TERM
    yield _WHOLE


def rate(usd_per_hour: float) -> str:
    """Dollars an hour with the published decimals, three at least."""
    plain = f"{usd_per_hour:.6f}".rstrip("0")
    return f"${plain if len(plain.partition('.')[2]) >= 3 else f'{usd_per_hour:.3f}'}/h"  # noqa: PLR2004 - decimals


def _published(one: Price) -> str:
    return one.published + (", region not stated" if one.region == prices.NOT_STATED else "")


def _warnings(rows: pd.DataFrame, basis: PriceBasis) -> Iterator[str]:
    for name, group in rows.groupby("instance_type"):
        problem = f"{name} has no price ({basis.words}), so {_rows(len(group))} no cost"
        yield f"{problem}; {_instead(str(name), basis)}"
    unnamed = rows[rows["instance_type"].isna()]
    if len(unnamed):
        machines = _machines(unnamed)
        yield (
            f"{_rows(len(unnamed))} no instance_type, so no cost ({machines}): "
            "set hardware.instance_type= when you measure"
        )


def _rows(number: int) -> str:
    return f"{counted(number, 'row')} {'has' if number == 1 else 'have'}"


def _instead(name: str, basis: PriceBasis) -> str:
    other = prices.nearest(name, basis.kind, basis.region, basis.as_of)
    if other is None:
        try:
            instances.find(name)
        except ValueError as unknown:
            return str(unknown)
        return "add one to benchmark/cloud/prices.csv, with its source"
    return (
        f"the price book has {other.kind}, {other.region.replace('not stated', 'region not stated')}, "
        f"{rate(other.usd_per_hour)} ({other.published})" + _chosen_by(other, basis)
    )


def _chosen_by(other: Price, basis: PriceBasis) -> str:
    """Overrides that select this price; empty if none do, as for a region that isn't stated."""
    keys: dict[str, str] = {"price": other.kind} if other.kind != basis.kind else {}
    region = "us-east-1" if other.region == prices.NOT_STATED else other.region
    keys |= {"price.region": region} if region != basis.region or keys else {}
    if basis.as_of is not None and (other.day is None or other.day > basis.as_of):
        keys |= {"price.as_of": str(other.day) if other.day else "null"}
    return f": {' '.join(f'{key}={value}' for key, value in keys.items())}" if keys else ""


def _machines(rows: pd.DataFrame) -> str:
    named = rows.reindex(columns=["hardware", "hostname"]).astype(object)
    pairs = named.where(named.notna(), "").drop_duplicates().itertuples(index=False)
    names = [" on ".join(part for part in pair if part) or "machine unknown" for pair in pairs]
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more

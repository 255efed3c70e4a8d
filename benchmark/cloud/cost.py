"""What a million inferences, images or tokens cost: rows joined with the price book when a report is made.

    usd_per_1m = 1e6 / throughput_per_s x usd_per_hour / 3600

An instance is rented whole: a row whose run used one core of four is charged the price of all four, and
`lines` says so. No row is lost: one without a price keeps its place, its cost is NaN and a warning says why.
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
from benchmark.records import Names, frozen
from benchmark.spelling import did_you_mean

UNITS: Final[Mapping[str, str]] = {"items": "inferences", "images": "images", "tokens": "tokens"}
"""What a million is of, by `throughput_unit`."""
NEEDED: Final = ("instance_type", "throughput_per_s", "throughput_unit")
"""Columns that `priced` needs; it also looks at `hardware` and `hostname` where they are."""
_SAID: Final = ("usd_per_hour", "price_kind", "price_region", "price_published", "price_source")
_WHOLE: Final = "The whole instance is charged, also where a run used some of its cores or devices."
_TERM: Final = (
    "Reserved prices are the effective hourly rates of the Neuron documentation, which states no term."
)
_FEW: Final = 8
"""Names that a sentence lists."""


@frozen
class PriceBasis:
    """Which prices of the book count."""

    kind: Kind
    """How the instances are paid for."""
    region: str
    """Of the cloud, such as us-east-1."""
    as_of: date | None
    """The newest price published by this day; null: the newest of all."""

    @property
    def words(self) -> str:
        """In a few words."""
        return f"{self.kind}, {self.region}" + (f", published by {self.as_of}" if self.as_of else "")


@frozen
class Priced:
    """Rows with their cost, and what a reader of them must know."""

    frame: pd.DataFrame
    """The rows as they came, with `usd_per_hour`, `usd_per_1m` (numbers, NaN without a price), `price_kind`,
    `price_region` (`not stated` where it is so), `price_published` and `price_source`."""
    lines: Names
    """Sentences that stand under every table: the basis. Empty where no row has a cost."""
    warnings: Names
    """Rows that have a throughput and no cost, and why."""


def typed(raw: Mapping[str, Any]) -> PriceBasis:
    """A basis of the values that YAML or a command line gave.

    Raises:
        ConfigError: a key is unknown or missing, or a value isn't one of its kind.
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
        raise ConfigError(f"price.region={_spelled(region)}: the price book has none of it; {advice}")
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
    """Rows with what a million of their units costs; as many as came, in their order.

    Raises:
        KeyError: a column of NEEDED is absent.
    """
    codes, names = pd.factorize(rows["instance_type"])
    found = [prices.price(str(name), basis.kind, basis.region, basis.as_of) for name in names]
    said = (
        pd.DataFrame([_said(one) for one in (*found, None)], columns=_SAID).take(codes).set_axis(rows.index)
    )
    usd, throughput = said["usd_per_hour"].astype(float), rows["throughput_per_s"].astype(float)
    cost = 1e6 / throughput.where(throughput > 0) * usd / 3600
    frame = rows.assign(usd_per_hour=usd, usd_per_1m=cost, **{name: said[name] for name in _SAID[1:]})
    units = rows["throughput_unit"][cost.notna()].dropna().unique()
    charged = [one for code in pd.unique(codes[cost.notna().to_numpy()]) if (one := found[code])]
    lines = _lines(sorted(map(str, units)), charged, basis)
    warnings = _warnings(frame[(throughput > 0) & usd.isna()], basis)
    return Priced(frame=frame, lines=tuple(lines), warnings=tuple(warnings))


def _said(one: Price | None) -> tuple[float | str | None, ...]:
    """What a price says, in the order of _SAID; None stands for all of it where there is none."""
    return (
        (one.usd_per_hour, one.kind, one.region, one.published, one.source) if one else (None,) * len(_SAID)
    )


def unit_words(units: Iterable[str]) -> str:
    """What a million is of, of one unit or several: `images`, `inferences or tokens`."""
    *first, last = dict.fromkeys(UNITS.get(unit, unit) for unit in units)
    return f"{', '.join(first)} or {last}" if first else last


def _lines(units: Sequence[str], charged: Sequence[Price], basis: PriceBasis) -> Iterator[str]:
    if not charged:
        return
    systems = ", ".join(sorted({one.os.capitalize() for one in charged}))
    told = ", ".join(
        f"{one.instance_type} {rate(one.usd_per_hour)} ({_published(one)})"
        for one in sorted(charged, key=lambda one: one.instance_type)
    )
    yield f"Cost per 1M {unit_words(units)}: {basis.words}, {systems}; {told}."
    if basis.kind == "reserved":
        yield _TERM
    yield _WHOLE


def rate(usd_per_hour: float) -> str:
    """Dollars an hour as they are published, three decimals at least."""
    plain = f"{usd_per_hour:.6f}".rstrip("0")
    return f"${plain if len(plain.partition('.')[2]) >= 3 else f'{usd_per_hour:.3f}'}/h"  # noqa: PLR2004 - decimals


def _published(one: Price) -> str:
    return one.published + (", region not stated" if one.region == prices.NOT_STATED else "")


def _warnings(rows: pd.DataFrame, basis: PriceBasis) -> Iterator[str]:
    for name, group in rows.groupby("instance_type"):
        told = f"{name} has no price ({basis.words}), so {_rows(len(group))} no cost"
        yield f"{told}; {_instead(str(name), basis)}"
    unnamed = rows[rows["instance_type"].isna()]
    if len(unnamed):
        machines = _machines(unnamed)
        yield (
            f"{_rows(len(unnamed))} no instance_type, so no cost ({machines}): "
            "measure with hardware.instance_type= to have one"
        )


def _rows(number: int) -> str:
    return "1 row has" if number == 1 else f"{number} rows have"


def _instead(name: str, basis: PriceBasis) -> str:
    other = prices.nearest(name, basis.kind, basis.region, basis.as_of)
    if other is None:
        try:
            instances.find(name)
        except ValueError as unknown:
            return str(unknown)
        return "benchmark/cloud/prices.csv has none of any kind: add it there with its source"
    return (
        f"the price book has {other.kind}, {other.region.replace('not stated', 'region not stated')}, "
        f"{rate(other.usd_per_hour)} ({other.published})" + _chosen_by(other, basis)
    )


def _chosen_by(other: Price, basis: PriceBasis) -> str:
    """The overrides that answer with this price; nothing where none do, as for a region that isn't stated."""
    keys: dict[str, str] = {"price": other.kind} if other.kind != basis.kind else {}
    region = "us-east-1" if other.region == prices.NOT_STATED else other.region
    keys |= {"price.region": region} if region != basis.region or keys else {}
    if basis.as_of is not None and (other.day is None or other.day > basis.as_of):
        keys |= {"price.as_of": str(other.day) if other.day else "null"}
    return f": {' '.join(f'{key}={value}' for key, value in keys.items())}" if keys else ""


def _machines(rows: pd.DataFrame) -> str:
    named = rows.reindex(columns=["hardware", "hostname"]).astype(object)
    pairs = named.where(named.notna(), "").drop_duplicates().itertuples(index=False)
    told = [" on ".join(part for part in pair if part) or "machine unknown" for pair in pairs]
    more = f" and {len(told) - _FEW} more" if len(told) > _FEW else ""
    return ", ".join(told[:_FEW]) + more

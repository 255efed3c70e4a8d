"""`nightly check`: which series of the store the last night made slower, confirmed by fresh runs in turns."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import pandas as pd
import pyarrow.compute as pc
import typer
from pydantic import TypeAdapter
from rich.console import Console
from typing_extensions import Self

from benchmark import conditions
from benchmark.cli import duel
from benchmark.cli.compare import REGRESSION
from benchmark.contrast import turns_ratio
from benchmark.errors import ConfigError
from benchmark.nightly import Finding, NightlyDetector
from benchmark.reports.table import print_table
from benchmark.results import DEFAULT_ROOT, ResultsStore, to_frame

app = typer.Typer(help="What the nights of the store tell.", no_args_is_help=True)

_SERIES: Final = ("cell_id", "hardware", "device_name", "instance_type", "hostname", "threads")
"""What stays the same from night to night; versions may change, that is what is looked for."""
_AXES: Final = ("model", "hardware", "compiler", "fast_math", "batch_size", "sequence_length")
_NEEDED: Final = (
    *("run_id", "campaign", "started_at", "latency_p50_ms", "overrides", "config"),
    *dict.fromkeys((*_SERIES, *_AXES)),
)
_ACCEPTED = "Interpreter with the last accepted build; without it suspects are told, but none is confirmed."
_FINDINGS = TypeAdapter(tuple[Finding, ...])


class _Night(NamedTuple):
    """One campaign: its processes' medians by series."""

    campaign: str
    rows: pd.DataFrame

    @property
    def data(self) -> dict[str, list[float]]:
        return {str(name): list(rows["latency_p50_ms"]) for name, rows in self.rows.groupby("series")}


@app.command()
def check(  # noqa: PLR0913, PLR0917 - a command line has that many
    condition: Annotated[
        list[str] | None, typer.Argument(help="Rows to look at, as `results` takes.")
    ] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    night: Annotated[str, typer.Option(metavar="CAMPAIGN", help="Judge this one, not the last.")] = "",
    accepted_python: Annotated[str, typer.Option(metavar="PATH", help=_ACCEPTED)] = "",
    candidate_python: Annotated[
        str, typer.Option(metavar="PATH", help="Interpreter with the new build.", show_default="this one")
    ] = sys.executable,
    turns: Annotated[int, typer.Option(min=1, help="Blocks of calls of each process.")] = 20,
    calls: Annotated[int, typer.Option(min=1, help="Calls of a block at most; slow ones: 0.25 s.")] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Look for series that the last campaign of the store made slower.

    A campaign is a night, in the order of their starts. Suspects, by the thirty nights before, are run anew:
    fresh processes of the accepted and of the new build, in turns. Exit code 3: a slow-down is confirmed.
    """
    console = Console(stderr=as_json)
    rows = ResultsStore(store)
    nights = _nights(rows, " ".join(condition or ()), night)
    detector = NightlyDetector()
    for number, past in enumerate(nights[:-1]):
        detector.learn(number, past.data, _kept(rows, past.campaign))
    tonight = nights[-1]
    pythons = (accepted_python, candidate_python)
    with _Reruns(tonight, pythons, (turns, calls), console) as reruns:
        alarmed = list(detector.night(len(nights) - 1, tonight.data, reruns.rerun))
    findings = detector.findings
    if accepted_python:
        _keep(rows, tonight.campaign, findings)
    _show(tonight, findings, len(nights), console, as_json=as_json, confirming=bool(accepted_python))
    return REGRESSION if alarmed else 0


def _nights(store: ResultsStore, text: str, last: str) -> list[_Night]:
    """Campaigns in the order of their starts, up to the one that is judged.

    Raises:
        ConfigError: there is none, or not the one that was asked for.
    """
    asked = conditions.expression(conditions.parse(text))
    usable = (pc.field("status") == "ok") & pc.field("latency_p50_ms").is_valid()
    rows = to_frame(store.table(list(_NEEDED), usable if asked is None else usable & asked))
    if rows.empty:
        raise ConfigError("no rows that are ok: run `experiment=nightly` first, or give fewer conditions")
    rows["series"] = [" ".join(map(str, key)) for key in rows[[*_SERIES]].itertuples(index=False)]
    starts = rows.groupby("campaign")["started_at"].min().sort_values()
    if last and last not in starts.index:
        raise ConfigError(f"--night {last}: no such campaign; the last are {', '.join(starts.index[-3:])}")
    campaigns = list(starts.index[: list(starts.index).index(last) + 1] if last else starts.index)
    return [_Night(str(name), rows[rows["campaign"] == name]) for name in campaigns]


class _Reruns:
    """Fresh runs of both builds, in turns; a series' sides stay seated until another's are asked for."""

    def __init__(
        self, night: _Night, pythons: tuple[str, str], numbers: tuple[int, int], console: Console
    ) -> None:
        self._night, self._pythons, self._numbers, self._console = night, pythons, numbers, console
        self._seats = ExitStack()
        self._seated = ""
        self._pairs: Iterator[Any] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._seats.close()

    def rerun(self, series: str, rounds: int) -> tuple[list[float], list[float]]:
        """Medians in ms of so many processes of the accepted and the new build; NaN without an accepted one.

        The pair's figure is the median over turns of the ratio of both sides: the accepted side's median
        carries the unit.
        """
        accepted, candidate = self._pythons
        if not accepted:
            return [math.nan] * rounds, [math.nan] * rounds
        if series != self._seated:
            self._seat(series, accepted, candidate)
        before, after = [], []
        for _ in range(rounds):
            pair = next(self._pairs)
            ratio = turns_ratio(pair.a.blocks, pair.b.blocks)
            middle = sorted(ns for block in pair.a.blocks for ns in block)
            before.append(middle[len(middle) // 2] / 1e6)
            after.append(before[-1] * ratio)
            self._console.print(f"{_label(self._row(series))}: new / accepted {ratio:.4f}", highlight=False)
        return before, after

    def _seat(self, series: str, *pythons: str) -> None:
        self._seats.close()
        row = self._row(series)
        wanted = ("run_id", "campaign", "config")
        stored = {name: row[name] for name in wanted} | {"overrides": [*row["overrides"]]}
        sides = [duel.SideSpec(overrides=(), row=json.dumps(stored), python=python) for python in pythons]
        turns, calls = self._numbers
        match = self._seats.enter_context(
            duel.run(
                *sides,
                folder=Path(f"outputs/nightly-{self._night.campaign}/{row['cell_id']}"),
                pairs=sys.maxsize,
                turns=turns,
                calls=calls,
            )
        )
        self._seated, self._pairs = series, match.pairs

    def _row(self, series: str) -> pd.Series[Any]:
        return self._night.rows[self._night.rows["series"] == series].iloc[0]


def _label(row: pd.Series[Any]) -> str:
    return " ".join(str(row[name]) for name in _AXES if not pd.isna(row[name]))


def _kept(store: ResultsStore, campaign: str) -> Sequence[Finding]:
    """What a check of that night found, if there was one."""
    file = store.paths.nightly(campaign)
    return _FINDINGS.validate_json(file.read_bytes()) if store.is_local and file.is_file() else ()


def _keep(store: ResultsStore, campaign: str, findings: Sequence[Finding]) -> None:
    """Later nights are judged by it: what was alarmed starts anew at its new level. URLs keep nothing."""
    if not store.is_local:
        return
    file = store.paths.nightly(campaign)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Not by pydantic, which would write the infinite bounds of a single round as null.
    file.write_text(json.dumps([asdict(finding) for finding in findings], indent=1), encoding="utf-8")


def _show(  # noqa: PLR0913 - what there is to tell
    night: _Night,
    findings: Sequence[Finding],
    nights: int,
    console: Console,
    *,
    as_json: bool,
    confirming: bool,
) -> None:
    told = [_told(night, finding, confirming=confirming) for finding in findings]
    series = night.rows["series"].nunique()
    if as_json:
        values = [{**line, **_plain(asdict(one))} for line, one in zip(told, findings, strict=True)]
        print(json.dumps({"night": night.campaign, "nights": nights, "series": series, "findings": values}))
        return
    console.print(f"night {night.campaign}: {series} series, {nights - 1} nights before it", highlight=False)
    if told:
        print_table(pd.DataFrame(told), console=console)
    confirmed = sum(finding.confirmed for finding in findings)
    console.print(f"{confirmed} confirmed slower of {len(findings)} suspected", highlight=False)
    if findings and not confirming:
        console.print("nothing is confirmed without --accepted-python", style="dim", highlight=False)


def _told(night: _Night, finding: Finding, *, confirming: bool) -> dict[str, Any]:
    row = night.rows[night.rows["series"] == finding.series].iloc[0]
    verdict = "slower" if finding.confirmed else "not confirmed" if confirming else "suspected"
    reran = math.isfinite(finding.ratio)
    return {
        "series": _label(row),
        "tonight": f"{finding.night_ratio - 1:+.1%}",
        "rounds": finding.rounds if confirming else 0,
        "new / accepted": f"{finding.ratio - 1:+.1%}" if reran else "?",
        "95 % interval": f"{finding.low - 1:+.1%} … {finding.high - 1:+.1%}" if finding.low > 0 else "?",
        "verdict": verdict,
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it: what is no finite number is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }

"""What a check of a night tells: on the terminal, as JSON, as Markdown and as marks in a job."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console

from benchmark.analysis.nights import Night, label, standing
from benchmark.formatting import finite
from benchmark.report.display import job_summary
from benchmark.report.display.job_summary import Summary
from benchmark.report.display.table import print_table
from benchmark.report.document import Span, Table
from benchmark.stats.regression_detector import Finding
from benchmark.timing.interleaved import Side

_AGAINST_NIGHTS, _AGAINST_ACCEPTED = "against the nights before", "new / accepted"


class Checked(NamedTuple):
    """A night as it was judged."""

    nights: Sequence[Night]
    findings: Sequence[Finding]
    failed: pd.DataFrame
    """Cells of the night that failed: status, stage, error and axes."""
    confirming: bool
    """Whether there was an accepted build to run against."""
    judged: bool
    """Whether there were nights enough to tell what is usual."""
    sides: tuple[Side, Side] | None
    """The accepted and the new build, where anything was rerun."""

    @property
    def night(self) -> Night:
        """The night that was judged."""
        return self.nights[-1]

    @property
    def confirmed(self) -> list[Finding]:
        """The slowest first."""
        return sorted((one for one in self.findings if one.confirmed), key=lambda one: -one.ratio)


def show(checked: Checked, console: Console, *, as_json: bool) -> None:
    """Print a table, or JSON."""
    findings, night = checked.findings, checked.night
    told = [_told(checked, finding) for finding in findings]
    series, before = night.rows["series"].nunique(), len(checked.nights) - 1
    if as_json:
        values = [
            {**line, "label": line["series"], **finite(asdict(one))}
            for line, one in zip(told, findings, strict=True)
        ]
        whole = {"night": night.campaign, "nights": before + 1, "series": series, "findings": values}
        print(json.dumps({**whole, "failed": len(checked.failed), "simulated": night.simulated}))
        return
    pretended = ", simulated" if night.simulated else ""
    console.print(
        f"night {night.campaign}: {series} series, {before} nights before it{pretended}",
        highlight=False,
        markup=False,
    )
    if told:
        print_table(pd.DataFrame(told), console=console)
    console.print(f"{len(checked.confirmed)} confirmed slower of {len(findings)} suspected", highlight=False)
    for hint in _hints(checked):
        console.print(hint, style="dim", highlight=False, markup=False)


def summary(checked: Checked, pictures: str) -> Summary:
    """What a reviewer reads; `pictures` names the folder of the charts, if they were drawn."""
    notes = [*_hints(checked), *([f"Charts: {pictures}"] if pictures and checked.findings else [])]
    return Summary(
        title=f"Night {checked.night.campaign}",
        verdict=tuple(_verdict(checked)),
        changes=_suspected(checked),
        notes=tuple(notes),
        folded=(_failures(checked.failed), _others(checked)),
        footer=tuple(_footer(checked)),
    )


def marks(checked: Checked) -> list[tuple[str, str]]:
    """Title and message of each confirmed slow-down."""
    return [
        (
            f"{label(checked.night.row(one.series))} is {one.ratio - 1:.1%} slower",
            f"new / accepted build {one.ratio - 1:+.1%} (95 % interval {_bounds(one)}), {one.rounds} rounds",
        )
        for one in checked.confirmed
    ]


def _verdict(checked: Checked) -> Iterator[Span]:
    series, found = checked.night.rows["series"].nunique(), checked.confirmed
    if checked.night.simulated:
        yield Span(text="Simulated: ")
    if found:
        yield Span(text=f"{len(found)} of {series} series {'is' if len(found) == 1 else 'are'} slower: ")
        yield Span(text=label(checked.night.row(found[0].series)), code=True)
        yield Span(text=f" by {found[0].ratio - 1:.1%} (95 % interval {_bounds(found[0])}), confirmed by ")
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        yield Span(text=f"{found[0].rounds} rounds of both builds in turns{more}")
    elif not checked.judged:
        count = len(checked.nights)
        yield Span(
            text=f"Nothing can be judged yet: {count} {'night tells' if count == 1 else 'nights tell'} "
        )
        yield Span(text="too little of what is usual")
    elif not checked.findings:
        yield Span(text=f"Nothing is slower: {series} series, {len(checked.nights) - 1} nights before")
    elif checked.confirming:
        yield Span(text=f"Nothing is confirmed slower: of {series} series {len(checked.findings)} were run ")
        yield Span(text="anew against the accepted build, and held")
    else:
        yield Span(text=f"{len(checked.findings)} of {series} series may be slower, none of it is confirmed")
    lost = len(checked.failed)
    yield Span(text=f"; {lost} {'cell' if lost == 1 else 'cells'} failed." if lost else ".")


def _hints(checked: Checked) -> Iterator[str]:
    if checked.findings and not checked.confirming:
        yield "nothing is confirmed without --accepted-python"


def _told(checked: Checked, finding: Finding) -> dict[str, Any]:
    verdict = "slower" if finding.confirmed else "not confirmed" if checked.confirming else "suspected"
    reran = math.isfinite(finding.ratio)
    return {
        "series": label(checked.night.row(finding.series)),
        "tonight": f"{finding.night_ratio - 1:+.1%}",
        "rounds": finding.rounds if checked.confirming else 0,
        "new / accepted": f"{finding.ratio - 1:+.1%}" if reran else "?",
        "95 % interval": _bounds(finding),
        "verdict": verdict,
    }


def _bounds(finding: Finding) -> str:
    return f"{finding.low - 1:+.1%} … {finding.high - 1:+.1%}" if finding.low > 0 else "?"


def _suspected(checked: Checked) -> Table:
    ordered = sorted(checked.findings, key=lambda one: (not one.confirmed, -one.night_ratio))
    heads = {
        "series": False,
        _AGAINST_NIGHTS: True,
        "rounds": True,
        _AGAINST_ACCEPTED: True,
        "95 % interval": True,
        "verdict": False,
    }
    lines = [[str(text) for text in _told(checked, finding).values()] for finding in ordered]
    return job_summary.table("suspects", "Suspects", heads, lines)


def _failures(failed: pd.DataFrame) -> Table:
    """Each reason once."""
    heads = {"status": False, "cells": True, "first of them": False, "reason": False}
    texts = failed.assign(
        **{name: failed[name].fillna("").astype(str) for name in ("status", "stage", "error")}
    )
    lines = []
    for (status, stage, error), rows in texts.groupby(["status", "stage", "error"], sort=False):
        reason = str(error).strip().partition("\n")[0]
        lines.append([f"{status} at {stage}", str(len(rows)), label(rows.iloc[0]), reason])
    lines.sort(key=lambda line: -int(line[1]))
    return job_summary.table("failed", "Cells that failed", heads, lines)


def _others(checked: Checked) -> Table:
    """Series that nobody suspects, those first that changed most."""
    suspected = {finding.series for finding in checked.findings}
    rest = standing(checked.nights)
    rest = rest[~rest.index.isin(suspected)]
    rest = rest.assign(change=rest["tonight"] / rest["usual"] - 1)
    rest = rest.sort_values("change", key=lambda change: change.abs(), ascending=False, na_position="last")
    lines = [
        [label(checked.night.row(str(name))), f"{tonight:.4g}", _share(change), _spread(spread)]
        for name, tonight, change, spread in zip(
            rest.index, *(rest[one].tolist() for one in ("tonight", "change", "spread")), strict=True
        )
    ]
    heads = {"series": False, "p50 ms": True, _AGAINST_NIGHTS: True, "usual spread": True}
    return job_summary.table("others", "All other series" if suspected else "All series", heads, lines)


def _share(change: float) -> str:
    return "?" if math.isnan(change) else f"{change:+.1%}"


def _spread(spread: float) -> str:
    return "?" if math.isnan(spread) else f"± {spread:.1%}"


def _footer(checked: Checked) -> Iterator[str]:
    rows = checked.night.rows
    processes = rows.groupby("series").size()
    calls = rows["samples"].dropna()
    n = f", {job_summary.between(calls)} calls each" if len(calls) else ""
    yield (
        f"p50 of a call; {job_summary.between(processes)} processes a series{n}; usual: the middle of "
        "at most 30 nights before, ± one standard deviation of a night. Confirmed: t test on ratios of fresh "
        "processes in turns, false discovery rate 1 %."
    )
    yield job_summary.hardware(rows)
    if checked.sides:
        accepted, new = ({"commit": (side.git_commit or "?")[:12], **side.versions} for side in checked.sides)
        yield from job_summary.builds(accepted, new, ("Accepted build", "New build"))
    elif len(checked.nights) > 1:
        before, tonight = (job_summary.build(night.rows) for night in checked.nights[-2:])
        yield from job_summary.builds(before, tonight, ("The night before", "This night"))

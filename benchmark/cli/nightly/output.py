"""Output of `nightly check`: terminal, JSON, Markdown summary, and annotations of a job on GitHub."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console

from benchmark.analysis.nights import Night, label, standing
from benchmark.formatting import counted, finite
from benchmark.frames import with_columns
from benchmark.report.display import job_summary
from benchmark.report.display.job_summary import Summary
from benchmark.report.display.table import print_table
from benchmark.report.document import Span, Table
from benchmark.report.sanitize import say
from benchmark.stats.regression_detector import Finding
from benchmark.timing.interleaved import Side

_AGAINST_NIGHTS, _AGAINST_ACCEPTED = "against the nights before", "new / accepted"


_MOST_RATIO, _MOST_SPREAD = 2.0, 0.5
"""A bound and a spread above these say only that nothing is known."""


class Checked(NamedTuple):
    """Results of checking one night."""

    nights: Sequence[Night]
    findings: Sequence[Finding]
    failed: pd.DataFrame
    """Cells of the night that failed: status, stage, error and axes."""
    confirming: bool
    """Whether there is an accepted build to rerun against."""
    judged: int
    """Number of series with enough nights before to know what is usual."""
    needed: int
    """Nights that this takes, this one among them."""
    no_nights: int
    """Campaigns that have too few of the night's series to count as nights."""
    sides: tuple[Side, Side] | None
    """The accepted and the new build; null if nothing was rerun."""

    @property
    def night(self) -> Night:
        """The night that is judged."""
        return self.nights[-1]

    @property
    def confirmed(self) -> list[Finding]:
        """Confirmed findings, slowest first."""
        return sorted((one for one in self.findings if one.confirmed), key=lambda one: -one.ratio)


def show(checked: Checked, console: Console, *, as_json: bool) -> None:
    """Print the findings as a table or as JSON."""
    findings, night = checked.findings, checked.night
    lines = [_finding_line(checked, finding) for finding in findings]
    series, before = night.rows["series"].nunique(), len(checked.nights) - 1
    if as_json:
        values = [
            {**line, "label": line["series"], **finite(asdict(one))}
            for line, one in zip(lines, findings, strict=True)
        ]
        document = {"night": night.campaign, "nights": before + 1, "series": series, "findings": values}
        say(json.dumps({**document, "failed": len(checked.failed), "simulated": night.simulated}))
        return
    simulated = ", simulated" if night.simulated else ""
    history = f"{counted(before, 'night')} before it"
    console.print(
        f"night {night.campaign}: {series} series, {history}, {checked.judged} series judged{simulated}",
        highlight=False,
        markup=False,
    )
    if lines:
        print_table(pd.DataFrame(lines), console=console)
    console.print("".join(span.text for span in _verdict(checked)), highlight=False, markup=False)
    for hint in _hints(checked):
        console.print(hint, style="dim", highlight=False, markup=False)


def summary(checked: Checked, charts: str) -> Summary:
    """Summary for a reviewer. `charts` names the folder of the charts; it is empty if there are none."""
    notes = [*_hints(checked), *([f"Charts: {charts}"] if charts and checked.findings else [])]
    return Summary(
        title=f"Night {checked.night.campaign}",
        verdict=tuple(_verdict(checked)),
        changes=_suspected(checked),
        notes=tuple(notes),
        folded=(_failures(checked.failed), _others(checked)),
        footer=tuple(_footer(checked)),
    )


def marks(checked: Checked) -> list[tuple[str, str]]:
    """Title and message of an annotation for each confirmed slow-down."""
    return [
        (
            f"{label(checked.night.row(one.series))} is {one.ratio - 1:.1%} slower",
            _against_accepted(one),
        )
        for one in checked.confirmed
    ]


def _against_accepted(one: Finding) -> str:
    interval = f"95 % interval {_bounds(one)}"
    return f"new / accepted build {one.ratio - 1:+.1%} ({interval}), {counted(one.rounds, 'round')}"


def _verdict(checked: Checked) -> Iterator[Span]:
    series, slower = checked.night.rows["series"].nunique(), checked.confirmed
    if checked.night.simulated:
        yield Span(text="Simulated: ")
    if slower:
        worst = slower[0]
        yield Span(text=f"{len(slower)} of {series} series {'is' if len(slower) == 1 else 'are'} slower: ")
        yield Span(text=label(checked.night.row(worst.series)), code=True)
        yield Span(text=f" by {worst.ratio - 1:.1%} (95 % interval {_bounds(worst)}), confirmed by ")
        more = f", and {len(slower) - 1} more" if len(slower) > 1 else ""
        yield Span(text=f"{counted(worst.rounds, 'round')} of alternating builds{more}")
    elif not checked.judged:
        count = len(checked.nights)
        night = "the first night" if count == 1 else f"night {count}"
        these = "this series" if series == 1 else f"these {series} series"
        yield Span(text=f"No verdict: {night} of {these}; a verdict needs {checked.needed}")
    elif not checked.findings:
        some = f"{series} series" if checked.judged == series else f"{checked.judged} of {series} series"
        before = counted(len(checked.nights) - 1, "earlier night")
        yield Span(text=f"No slow-down: {some}, compared with {before}")
    elif checked.confirming:
        yield Span(text=f"No slow-down is confirmed: {len(checked.findings)} of {series} series were ")
        yield Span(text="suspicious, but not slower than the accepted build when rerun")
    else:
        yield Span(text=f"{len(checked.findings)} of {series} series may be slower; none is confirmed")
    lost = len(checked.failed)
    yield Span(text=f"; {counted(lost, 'cell')} failed." if lost else ".")


def _hints(checked: Checked) -> Iterator[str]:
    if 0 < checked.judged < (series := checked.night.rows["series"].nunique()):
        new = series - checked.judged
        yield f"no verdict on {new} series, which {_have(new)} fewer than {checked.needed} nights"
    if checked.no_nights:
        campaigns = counted(checked.no_nights, "campaign")
        yield f"not counted as nights: {campaigns} with fewer than half of these series"
    if checked.findings and not checked.confirming:
        yield "no slow-down can be confirmed without --accepted-python"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _finding_line(checked: Checked, finding: Finding) -> dict[str, Any]:
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
    if not finding.low > 0:
        return "?"
    high = f"{finding.high - 1:+.1%}" if finding.high <= _MOST_RATIO else ">+100%"
    return f"{finding.low - 1:+.1%} … {high}"


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
    lines = [[str(text) for text in _finding_line(checked, finding).values()] for finding in ordered]
    return job_summary.table("suspects", "Suspects", heads, lines)


def _failures(failed: pd.DataFrame) -> Table:
    """Failed cells, each reason once."""
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
    """Series without a suspicion, largest change first."""
    suspected = {finding.series for finding in checked.findings}
    rest = standing(checked.nights)
    rest = rest[~rest.index.isin(suspected)]
    rest = with_columns(rest, change=rest["tonight"] / rest["usual"] - 1)
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
    if math.isnan(spread):
        return "?"
    return f"± {spread:.1%}" if spread <= _MOST_SPREAD else f"> {_MOST_SPREAD:.0%}"


def _footer(checked: Checked) -> Iterator[str]:
    rows = checked.night.rows
    processes = rows.groupby("series").size()
    calls = rows["samples"].dropna()
    n = f", {job_summary.between(calls)} calls each" if len(calls) else ""
    yield (
        f"p50 of a call; {job_summary.between(processes)} processes per series{n}. Usual: median of at most "
        "30 nights before, ± one standard deviation of a night. Confirmed: t test on ratios of alternating "
        "fresh processes, false discovery rate 1 %."
    )
    yield job_summary.hardware(rows)
    if checked.sides:
        accepted, new = ({"commit": (side.git_commit or "?")[:12], **side.versions} for side in checked.sides)
        yield from job_summary.builds(accepted, new, ("Accepted build", "New build"))
    elif len(checked.nights) > 1:
        before, tonight = (job_summary.build(night.rows) for night in checked.nights[-2:])
        yield from job_summary.builds(before, tonight, ("The night before", "This night"))

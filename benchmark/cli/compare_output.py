"""Output of a comparison: on the terminal, as JSON, as Markdown and as annotations of a job."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd
from rich.console import Console

from benchmark import axes
from benchmark.analysis.comparison import Compared
from benchmark.cli import md_option
from benchmark.formatting import finite, significant
from benchmark.report.display import job_summary
from benchmark.report.display.job_summary import Summary
from benchmark.report.display.table import print_table
from benchmark.report.document import Span, Table
from benchmark.report.sanitize import one_line
from benchmark.stats.ratio_test import RatioTest
from benchmark.store import selection
from benchmark.timing.interleaved import Side

NEEDED: Final = ("device_name", "instance_type", "hostname", "samples", "git_commit", "framework_versions")
"""Columns that a summary reads, beside those of the comparison."""
_APART: Final = (
    "apart: the sides ran in no common rounds, so a verdict is only a suspicion. To confirm it, use compare "
    "--run, or measure both sides in one campaign with sampling.repeats=8"
)


class Output(NamedTuple):
    """Output targets: console, Markdown, JSON."""

    console: Console
    md: str
    """File of the summary, or `-`; empty for none."""
    as_json: bool

    def line(self, text: str, *, style: str | None = None) -> None:
        """Print a line as it is."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def finish(self, summary: Summary, marks: Sequence[tuple[str, str]]) -> None:
        """Write the summary, and annotate the job with confirmed regressions."""
        md_option.put(summary, self.md)
        md_option.annotate(marks, aside=self.as_json or self.md == md_option.STDOUT)


class Stored(NamedTuple):
    """Stored rows, compared."""

    found: Sequence[Compared]
    names: tuple[str, str]
    """Text of each side, as typed."""
    sides: tuple[pd.DataFrame, pd.DataFrame]
    percentile: int
    threshold: float

    @property
    def simulated(self) -> bool:
        """Whether any row is simulated."""
        return any(map(selection.any_simulated, self.sides))

    def shown(self, *always: str) -> list[str]:
        """Axes that a table or a label shows: these, and those that differ between the cells."""
        return [
            name
            for name in axes.COLUMNS
            if name in always or len({str(one.cell.get(name)) for one in self.found}) > 1
        ]

    def label(self, one: Compared) -> str:
        """A cell in a few words."""
        names = self.shown(*axes.USUAL, *axes.SIZES)
        known = {name: one.cell[name] for name in names if not pd.isna(one.cell.get(name))}
        return one_line(axes.label(known)) or "the cell"


class Taken(NamedTuple):
    """Sides that took turns."""

    found: RatioTest
    ratios: Sequence[float]
    seconds: float
    sides: tuple[Side, Side]
    threshold: float


def show_stored(stored: Stored, output: Output) -> None:
    """Show each cell."""
    if output.as_json:
        print(json.dumps([_record(one) for one in stored.found]))
    else:
        _print_cells(stored, output)
    slower = [
        one for one in _by_size(stored.found) if one.confirmed and one.ratio_test.verdict == "regression"
    ]
    marks = [(f"{stored.label(one)} is slower", _effect(one.ratio_test)) for one in slower]
    output.finish(_of_stored(stored, slower), marks)


def show_duel(taken: Taken, output: Output) -> None:
    """Show the verdict on two sides that took turns."""
    found, (a, b) = taken.found, taken.sides
    simulated = a.simulated or b.simulated
    if output.as_json:
        about = {"ratios": taken.ratios, "seconds": taken.seconds, "a": a.label, "b": b.label}
        print(json.dumps({**finite(found._asdict()), **about, "simulated": simulated}))
    else:
        output.line(f"{found.verdict}: {_effect(found)}, {taken.seconds:.0f} s")
    label = a.label if a.label == b.label else f"{a.label} / {b.label}"
    verdict = (
        *_simulated_prefix(simulated=simulated),
        Span(text=f"{found.verdict}: "),
        Span(text=label, code=True),
    )
    builds = [{"commit": (side.git_commit or "?")[:12], **side.versions} for side in taken.sides]
    summary = Summary(
        title="Comparison in turns",
        verdict=(*verdict, Span(text=f": {_effect(found)}.")),
        folded=(
            job_summary.table(
                "pairs",
                "Pairs of fresh processes",
                {"pair": True, "B / A": True},
                [[str(number), f"{ratio:.4f}"] for number, ratio in enumerate(taken.ratios, start=1)],
            ),
        ),
        footer=(
            f"p50 of a call; medians of turns; 99 % interval of the change; threshold {taken.threshold:.1%}.",
            f"A: {a.label}. B: {b.label}.",
            *job_summary.builds(builds[0], builds[1], ("A", "B")),
        ),
    )
    marks = [(f"{label} is slower", _effect(found))] if found.verdict == "regression" else []
    output.finish(summary, marks)


def _of_stored(stored: Stored, slower: Sequence[Compared]) -> Summary:
    ordered = _by_size(stored.found)
    moved = [one for one in ordered if one.ratio_test.verdict in {"regression", "improvement"}]
    others = [one for one in ordered if one not in moved]
    all_confirmed = all(one.confirmed for one in stored.found)
    return Summary(
        title=f"{stored.names[1]} against {stored.names[0]}",
        verdict=tuple(_verdict(stored, slower, moved)),
        changes=_table("changes", "Changes", moved, stored),
        notes=() if all_confirmed else (_APART,),
        folded=(_table("others", "The same, or inconclusive", others, stored),),
        footer=tuple(_footer(stored)),
    )


def _verdict(stored: Stored, slower: Sequence[Compared], moved: Sequence[Compared]) -> Iterator[Span]:
    cells = len(stored.found)
    yield from _simulated_prefix(simulated=stored.simulated)
    suspected = [one for one in moved if one.ratio_test.verdict == "regression" and not one.confirmed]
    faster = sum(one.ratio_test.verdict == "improvement" for one in moved)
    if slower:
        yield Span(text=f"{len(slower)} of {cells} cells {'is' if len(slower) == 1 else 'are'} slower: ")
        yield Span(text=stored.label(slower[0]), code=True)
        yield Span(text=f": {_effect(slower[0].ratio_test)}, confirmed in common rounds.")
    elif suspected:
        yield Span(text=f"{len(suspected)} of {cells} cells may be slower, but none is confirmed: ")
        yield Span(text=stored.label(suspected[0]), code=True)
        yield Span(text=f": {_effect(suspected[0].ratio_test)}, measured apart.")
    elif faster:
        yield Span(
            text=f"Nothing is slower; {faster} of {cells} cells {'is' if faster == 1 else 'are'} faster."
        )
    else:
        same = sum(one.ratio_test.verdict == "same" for one in stored.found)
        yield Span(text=f"Nothing is known to be slower: {same} of {cells} cells are the same, ")
        yield Span(text=f"{cells - same} inconclusive.")


def _simulated_prefix(*, simulated: bool) -> tuple[Span, ...]:
    return (Span(text="Simulated: "),) if simulated else ()


def _by_size(found: Sequence[Compared]) -> list[Compared]:
    """Confirmed changes first, each group by size."""
    return sorted(found, key=lambda one: (not one.confirmed, -abs(math.log(one.ratio_test.ratio))))


def _table(name: str, caption: str, found: Sequence[Compared], stored: Stored) -> Table:
    heads = {
        "cell": False,
        f"A p{stored.percentile} ms": True,
        f"B p{stored.percentile} ms": True,
        "B is": False,
    }
    lines = [
        [
            stored.label(one),
            f"{one.base:.4g}",
            f"{one.candidate:.4g}",
            _change(one.ratio_test),
            _interval(one.ratio_test),
            str(one.ratio_test.rounds),
            _judged(one),
        ]
        for one in found
    ]
    more = {"99 % interval": True, "rounds": True, "verdict": False}
    return job_summary.table(name, caption, {**heads, **more}, lines)


def _footer(stored: Stored) -> Iterator[str]:
    both = pd.concat(stored.sides)
    processes = [side.groupby("cell_id").size() for side in stored.sides]
    counts = " and ".join(map(job_summary.between, processes))
    calls = both["samples"].dropna()
    n = f", {job_summary.between(calls)} calls each" if len(calls) else ""
    yield (
        f"p{stored.percentile} of a call, geometric means over processes: {counts} a cell{n}; 99 % interval "
        f"of the change; threshold {stored.threshold:.1%}. A: {stored.names[0]}. B: {stored.names[1]}."
    )
    yield job_summary.hardware(both)
    a, b = (job_summary.build(side) for side in stored.sides)
    yield from job_summary.builds(a, b, ("A", "B"))


def _print_cells(stored: Stored, output: Output) -> None:
    found, shown = stored.found, stored.shown("model", "hardware")
    lines = [
        {
            **{axes.BY_COLUMN[name].header: one.cell.get(name) for name in shown},
            "A ms": one.base,
            "B ms": one.candidate,
            "B is": _change(one.ratio_test),
            "99 % interval": _interval(one.ratio_test),
            "verdict": _judged(one),
        }
        for one in found
    ]
    print_table(pd.DataFrame(lines), console=output.console)
    if not all(one.confirmed for one in found):
        output.console.print(_APART, style="dim", highlight=False)


def _judged(one: Compared) -> str:
    return one.ratio_test.verdict if one.confirmed else f"{one.ratio_test.verdict} (apart)"


def _effect(found: RatioTest) -> str:
    """Such as `B is 30 times faster (99 %: 5.4-170), 8 rounds`."""
    bounds = "no interval" if math.isnan(found.lo) else f"99 %: {_interval(found)}"
    return f"B is {_change(found)} ({bounds}), {found.rounds} rounds"


def _change(found: RatioTest) -> str:
    """Such as `5.0 % slower` or `30 times faster`."""
    (size, _, _), unit = _sizes(found)
    return f"{size} {unit} {'slower' if found.ratio >= 1 else 'faster'}"


def _interval(found: RatioTest) -> str:
    """Bounds of the change; they are negative where B may also have changed the other way."""
    (_, low, high), unit = _sizes(found)
    if math.isnan(found.lo):
        return "?"
    return f"{low}-{high}" if unit == "times" else f"{low} to {high} %"


def _sizes(found: RatioTest) -> tuple[list[str], str]:
    """The change of B with its bounds, and their unit: percent of A's time or, from 2 on, factors."""
    slower = found.ratio >= 1
    ratios = (found.ratio, found.lo, found.hi) if slower else (found.ratio, found.hi, found.lo)
    if max(found.ratio, 1 / found.ratio) >= 2:  # noqa: PLR2004 - where percents become hard to read
        return [significant(ratio if slower else 1 / ratio, 2) for ratio in ratios], "times"
    return [f"{100 * (ratio - 1 if slower else 1 - ratio):.1f}" for ratio in ratios], "%"


def _record(one: Compared) -> dict[str, Any]:
    cell = {name: None if pd.isna(value) else value for name, value in one.cell.items()}
    figures = {"baseline_ms": one.base, "candidate_ms": one.candidate, "evidence": one.evidence}
    return {"cell": json.loads(pd.Series(cell).to_json()), **figures, **finite(one.ratio_test._asdict())}

"""Output of a comparison: on the terminal, as JSON, as Markdown and as annotations of a job."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import pandas as pd
from rich.console import Console

from benchmark import axes
from benchmark.analysis.comparison import Compared
from benchmark.cli import md_option
from benchmark.formatting import counted, finite, significant
from benchmark.report.display import job_summary
from benchmark.report.display.job_summary import Summary
from benchmark.report.display.table import print_table
from benchmark.report.document import Span, Table
from benchmark.report.sanitize import one_line, say
from benchmark.stats.ratio_test import RatioTest
from benchmark.store import selection
from benchmark.timing.interleaved import Side

NEEDED: Final = ("device_name", "instance_type", "hostname", "samples", "git_commit", "framework_versions")
"""Columns that a summary reads, beside those of the comparison."""
_APART: Final = (
    "apart: the sides were measured at different times, so a verdict is only a suspicion. To confirm it, use "
    "compare --run, or measure both sides in one campaign with sampling.repeats=8"
)
_UNKNOWN: Final = "?: no interval: it needs the cell's latency at five earlier times"
_MOST_PERCENT: Final = 100
_MOST_TIMES: Final = 1000
"""A bound beyond these says only that it is unknown."""


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

    @property
    def shown(self) -> list[str]:
        """Axes that a label shows: the usual ones, and others where cells would look equal without them."""
        names = [name for name in axes.COLUMNS if name in {*axes.USUAL, *axes.SIZES}]
        for name in axes.COLUMNS:
            if self._kinds([*names, name]) > self._kinds(names):
                names.append(name)
        return names

    def _kinds(self, names: Sequence[str]) -> int:
        return len({tuple(str(one.cell.get(name)) for name in names) for one in self.found})

    def label(self, one: Compared) -> str:
        """A cell in a few words."""
        names = self.shown
        known = {name: one.cell[name] for name in names if not pd.isna(one.cell.get(name))}
        return one_line(axes.label(known)) or "the cell"


class MeasuredPair(NamedTuple):
    """One process of each side, which took turns."""

    a_ms: float
    b_ms: float
    """Medians of their calls."""
    ratio: float
    """B / A: the median of the ratios of turns."""
    seconds: float


class Taken(NamedTuple):
    """Sides that took turns."""

    found: RatioTest
    pairs: Sequence[MeasuredPair]
    sides: tuple[Side, Side]
    threshold: float

    @property
    def p50s(self) -> tuple[float, float]:
        """Medians of both sides over all pairs, in ms."""
        return median(pair.a_ms for pair in self.pairs), median(pair.b_ms for pair in self.pairs)

    @property
    def effect(self) -> str:
        """What was found, in one sentence without a full stop."""
        a_ms, b_ms = map(significant, self.p50s)
        change = f"B ({b_ms} ms) is {_change(self.found)} than A ({a_ms} ms)"
        return f"{change}{_certainty(self.found, 'pair')}"


def show_stored(stored: Stored, output: Output) -> None:
    """Show each cell."""
    if output.as_json:
        say(json.dumps([_record(one) for one in stored.found]))
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
    seconds = sum(pair.seconds for pair in taken.pairs)
    if output.as_json:
        about = {
            "ratios": [pair.ratio for pair in taken.pairs],
            "a_ms": [pair.a_ms for pair in taken.pairs],
            "b_ms": [pair.b_ms for pair in taken.pairs],
            "seconds": seconds,
            "a": a.label,
            "b": b.label,
        }
        say(json.dumps({**finite(found._asdict()), **about, "simulated": simulated}))
    else:
        output.line(f"{found.verdict}: {taken.effect}, {seconds:.0f} s")
    label = b.label if a.label == b.label else f"{b.label} against {a.label}"
    verdict = (*_simulated_prefix(simulated=simulated), Span(text=f"{found.verdict}: {taken.effect}."))
    builds = [{"commit": (side.git_commit or "?")[:12], **side.versions} for side in taken.sides]
    summary = Summary(
        title=label,
        verdict=verdict,
        folded=(
            job_summary.table(
                "pairs",
                "Pairs of fresh processes",
                {"pair": True, "A ms": True, "B ms": True, "B / A": True},
                [
                    [str(number), significant(pair.a_ms), significant(pair.b_ms), f"{pair.ratio:.4f}"]
                    for number, pair in enumerate(taken.pairs, start=1)
                ],
            ),
        ),
        footer=(
            f"p50 of a call. B / A is the median over turns. Threshold of a change: {taken.threshold:.1%}.",
            f"A: {a.label}. B: {b.label}.",
            *job_summary.builds(builds[0], builds[1], ("A", "B")),
        ),
    )
    marks = [(f"{b.label} is slower", taken.effect)] if found.verdict == "regression" else []
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
        notes=() if all_confirmed else (_APART, *_unknown(stored.found)),
        folded=(_table("others", "The same, or inconclusive", others, stored),),
        footer=tuple(_footer(stored)),
    )


def _verdict(stored: Stored, slower: Sequence[Compared], moved: Sequence[Compared]) -> Iterator[Span]:
    cells = len(stored.found)
    yield from _simulated_prefix(simulated=stored.simulated)
    suspected = [one for one in moved if one.ratio_test.verdict == "regression" and not one.confirmed]
    faster = sum(one.ratio_test.verdict == "improvement" for one in moved)
    if slower:
        yield Span(text=f"{len(slower)} of {counted(cells, 'cell')} {_are(len(slower))} slower: ")
        yield Span(text=stored.label(slower[0]), code=True)
        yield Span(text=f": {_effect(slower[0].ratio_test)}, confirmed in common rounds.")
    elif suspected:
        yield Span(
            text=f"{len(suspected)} of {counted(cells, 'cell')} may be slower, but none is confirmed: "
        )
        yield Span(text=stored.label(suspected[0]), code=True)
        yield Span(text=f": {_effect(suspected[0].ratio_test)}, measured apart.")
    elif faster:
        many = counted(cells, "cell")
        yield Span(text=f"{faster} of {many} {_are(faster)} faster, none is known to be slower.")
    else:
        yield Span(text=_undecided(sum(one.ratio_test.verdict == "same" for one in stored.found), cells))


def _undecided(same: int, cells: int) -> str:
    """The verdict where no cell is known to be slower or faster."""
    if same == cells:
        return f"No difference: {'the cell is' if cells == 1 else f'all {cells} cells are'} the same."
    if not same:
        which = {1: "the comparison is", 2: "both comparisons are"}.get(cells, f"all {cells} comparisons are")
        return f"No verdict: {which} inconclusive."
    rest = f"{same} of {cells} cells {_are(same)} the same, {cells - same} inconclusive"
    return f"None is known to be slower: {rest}."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


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
    found = stored.found
    mixed = len({one.evidence for one in found}) > 1
    lines = [
        {
            "cell": stored.label(one),
            "A ms": one.base,
            "B ms": one.candidate,
            "B is": _change(one.ratio_test),
            "99 % interval": _interval(one.ratio_test),
            "verdict": _judged(one) if mixed else one.ratio_test.verdict,
        }
        for one in found
    ]
    print_table(pd.DataFrame(lines), console=output.console)
    if not all(one.confirmed for one in found):
        for text in (_APART, *_unknown(found)):
            output.console.print(text, style="dim", highlight=False)


def _unknown(found: Sequence[Compared]) -> list[str]:
    """What `?` means, where it stands."""
    return [_UNKNOWN] * any(math.isnan(one.ratio_test.lo) for one in found)


def _judged(one: Compared) -> str:
    return one.ratio_test.verdict if one.confirmed else f"{one.ratio_test.verdict} (apart)"


def _effect(found: RatioTest) -> str:
    """Such as `B is 30 times faster than A; 99 % interval 5.4x to 170x, 8 rounds`."""
    return f"B is {_change(found)} than A{_certainty(found, 'round')}"


def _certainty(found: RatioTest, noun: str) -> str:
    """Such as `; 99 % interval 5.4x to 170x, 8 rounds`."""
    bounds = "no interval" if math.isnan(found.lo) else f"99 % interval {_interval(found)}"
    return f"; {bounds}, {counted(found.rounds, noun)}"


def _change(found: RatioTest) -> str:
    """Such as `5.0 % slower` or `30 times faster`."""
    (size, _, _), unit = _sizes(found)
    return f"{size} {unit} {'slower' if found.ratio >= 1 else 'faster'}"


def _interval(found: RatioTest) -> str:
    """Bounds of the change; they are negative where B may also have changed the other way."""
    if math.isnan(found.lo):
        return "?"
    (_, low, high), unit = _sizes(found)
    return f"{low}x to {high}x" if unit == "times" else f"{low} to {high} %"


def _sizes(found: RatioTest) -> tuple[list[str], str]:
    """The change of B with its bounds, and their unit: percent of A's time or, from 2 on, factors."""
    slower = found.ratio >= 1
    ratios = (found.ratio, found.lo, found.hi) if slower else (found.ratio, found.hi, found.lo)
    if max(found.ratio, 1 / found.ratio) >= 2:  # noqa: PLR2004 - where percents become hard to read
        return [_capped(ratio if slower else 1 / ratio, _MOST_TIMES) for ratio in ratios], "times"
    percents = [100 * (ratio - 1 if slower else 1 - ratio) for ratio in ratios]
    return [_capped(percent, _MOST_PERCENT) for percent in percents], "%"


def _capped(value: float, most: int) -> str:
    if abs(value) > most:
        return f">{most}" if value > 0 else f"<-{most}"
    return significant(value, 2) if most == _MOST_TIMES else f"{value:.1f}"


def _record(one: Compared) -> dict[str, Any]:
    cell = {name: None if pd.isna(value) else value for name, value in one.cell.items()}
    figures = {"baseline_ms": one.base, "candidate_ms": one.candidate, "evidence": one.evidence}
    return {"cell": json.loads(pd.Series(cell).to_json()), **figures, **finite(one.ratio_test._asdict())}

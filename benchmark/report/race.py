"""Page of a race that `tune` ran: the answer, every look by round, and who left when and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmark.formatting import counted, significant
from benchmark.records import frozen
from benchmark.report.charts import FAINT, INK, completed
from benchmark.report.document import Chart, Document, Field, Head, Section, Span, Table
from benchmark.report.sanitize import one_line

_UNITS: Final[Mapping[str, str]] = {
    "latency": "latency of a call [ms]",
    "throughput": "throughput [per s]",
    "usd": "cost per million [$]",
}
_FATES: Final[Mapping[str, str]] = {
    "winner": "#1b7837",
    "no better": "#2166ac",
    "undecided": "#b35806",
    "worse": FAINT,
    "outside a limit": "#b2182b",
    "refused": "#762a83",
    "no look": INK,
}
"""How a candidate ended, and its colour."""
_RULE: Final = (
    "A candidate leaves when it is surely worse than a leader by more than {tolerance:.1%}, or surely "
    "outside a limit; it rests while it is surely no better by more than that. Bounds hold at every look."
)
_OF_DROPPED: Final = {"worse": "worse", "outside": "outside a limit", "refused": "refused"}


@frozen
class RaceRun:
    """One candidate as the log has it."""

    label: str
    fate: str
    """One of _FATES."""
    rounds: tuple[int, ...]
    """Rounds with a look, from 1."""
    looks: tuple[tuple[float, ...], ...]
    """Of each look, the objectives in their units."""
    left: int | None
    """Round after which it was dropped."""
    reason: str

    @property
    def means(self) -> tuple[float, ...]:
        """Geometric mean of each objective."""
        return tuple(float(one) for one in np.exp(np.mean(np.log(self.looks), axis=0)))


def page(log: Mapping[str, Any], campaign: str, rows: pd.DataFrame, command: str) -> Document:
    """Document of a race. `log` is its race.json; `rows` are its rows, for the filterable table."""
    objectives = log["asked"]["objective"]
    runs = _runs(log, objectives)
    fates = pd.Series([one.fate for one in runs]).value_counts()
    counts = ", ".join(f"{count} {fate}" for fate, count in fates.items())
    charts = [_by_round(runs, objectives[0]), *([_front(runs, objectives)] if len(objectives) > 1 else [])]
    empty = Table(name="failures", caption="", heads=(), lines=())
    return Document(
        name="tune",
        title=f"Race {campaign}",
        made_at=datetime.now(timezone.utc),
        intro=(
            f"{counted(len(runs), 'candidate')} in {counted(len(log['rounds']), 'round')}: {counts}.",
            _RULE.format(tolerance=log["asked"]["tolerance"]),
        ),
        findings=(log["sentence"],),
        coverage=_fates_table(fates),
        sections=(
            Section(title=(Span(text="Every look"),), charts=tuple(charts)),
            Section(title=(Span(text="Who left, when and why"),), tables=(_table(runs, objectives),)),
        ),
        failures=empty,
        provenance=Table(name="provenance", caption="", heads=(), lines=()),
        reproduce=(command,),
        rows=rows,
    )


def _runs(log: Mapping[str, Any], objectives: Sequence[str]) -> list[RaceRun]:
    looks: dict[int, list[tuple[int, tuple[float, ...]]]] = {}
    for number, one in enumerate(log["rounds"], 1):
        for index, values in one["looks"].items():
            if values:
                inverted = tuple(
                    1 / v if o == "throughput" else v for o, v in zip(objectives, values, strict=True)
                )
                looks.setdefault(int(index), []).append((number, inverted))
    runs = []
    for index, label in enumerate(log["labels"]):
        dropped = log["dropped"].get(str(index))
        own = looks.get(index, [])
        runs.append(
            RaceRun(
                label=one_line(label),
                fate=_fate(index, log, looked=bool(own)),
                rounds=tuple(number for number, _ in own),
                looks=tuple(values for _, values in own),
                left=dropped["round"] + 1 if dropped else None,
                reason=dropped["reason"] if dropped else "",
            )
        )
    return runs


def _fate(index: int, log: Mapping[str, Any], *, looked: bool) -> str:
    if str(index) in log["dropped"]:
        return _OF_DROPPED[log["dropped"][str(index)]["why"]]
    if index in log["front"]:
        return "winner"
    if index in log["resting"]:
        return "no better"
    return "undecided" if looked else "no look"


def _by_round(runs: Sequence[RaceRun], objective: str) -> Chart:
    """A line for each candidate, which ends with its last look."""
    rows = [
        {
            "candidate": run.label,
            "name": run.label if run.fate == "winner" else None,
            "round": number,
            "value": values[0],
            "fate": run.fate,
            "last": number == run.rounds[-1],
        }
        for run in runs
        for number, values in zip(run.rounds, run.looks, strict=True)
    ]
    title = "Every look, by round"
    scale = {"domain": [*_FATES], "range": [*_FATES.values()]}
    known = {row["fate"] for row in rows}
    color = {
        "field": "fate",
        "type": "nominal",
        "title": "at the end",
        "scale": scale,
        "legend": {"values": [fate for fate in _FATES if fate in known]},
    }
    x = {
        "field": "round",
        "type": "quantitative",
        "title": "round",
        "axis": {"tickMinStep": 1, "format": "d"},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": _UNITS[objective],
        "scale": {"type": "log", "nice": True},
    }
    lines = {
        "mark": {"type": "line", "opacity": 0.7},
        "encoding": {"x": x, "y": y, "color": color, "detail": {"field": "candidate", "type": "nominal"}},
    }
    ends = {
        "transform": [{"filter": "datum.last"}],
        "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.9},
        "encoding": {"x": x, "y": y, "color": color, "shape": {"value": "circle"}},
    }
    names = {
        "transform": [{"filter": "datum.last && datum.fate === 'winner'"}],
        "mark": {"type": "text", "align": "right", "dy": 14, "fontWeight": 600},
        "encoding": {"x": x, "y": y, "text": {"field": "name"}},
    }
    vega = {
        "title": {
            "text": title,
            "subtitle": "a dot is a candidate's last look: it was dropped, rests, or has won",
        },
        "width": 680,
        "height": 380,
        "layer": [lines, ends, names],
    }
    alt = f"{title}: {len(rows)} looks at {counted(len(runs), 'candidate')}. " + " ".join(_winners(runs))
    return completed("tune-race", title, alt, vega, rows)


def _front(runs: Sequence[RaceRun], objectives: Sequence[str]) -> Chart:
    """Both objectives of every candidate."""
    rows = [
        {"name": run.label, "first": run.means[0], "second": run.means[1], "fate": run.fate}
        for run in runs
        if run.looks
    ]
    title = f"{objectives[0].capitalize()} and {objectives[1]}"
    known = {row["fate"] for row in rows}
    legend = {"values": [fate for fate in _FATES if fate in known]}
    scale = {"domain": [*_FATES], "range": [*_FATES.values()]}
    encoding = {
        "x": {
            "field": "first",
            "type": "quantitative",
            "title": _UNITS[objectives[0]],
            "scale": {"type": "log"},
        },
        "y": {
            "field": "second",
            "type": "quantitative",
            "title": _UNITS[objectives[1]],
            "scale": {"type": "log"},
        },
    }
    color = {"field": "fate", "type": "nominal", "title": "at the end", "scale": scale, "legend": legend}
    points = {
        "mark": {"type": "point", "filled": True, "size": 60},
        "encoding": {**encoding, "color": color, "shape": {"value": "circle"}},
    }
    names = {
        "transform": [{"filter": "datum.fate === 'winner'"}],
        "mark": {"type": "text", "align": "left", "dx": 7},
        "encoding": {**encoding, "text": {"field": "name"}},
    }
    vega = {"title": title, "width": 680, "height": 380, "layer": [points, names]}
    alt = f"{title} of {counted(len(rows), 'candidate')}. " + " ".join(_winners(runs))
    return completed("tune-front", title, alt, vega, rows)


def _winners(runs: Sequence[RaceRun]) -> Iterator[str]:
    for run in runs:
        if run.fate == "winner":
            yield f"{run.label} won with {significant(run.means[0])}."


def _table(runs: Sequence[RaceRun], objectives: Sequence[str]) -> Table:
    heads = [Head(text="candidate"), *(Head(text=_UNITS[one], figures=True) for one in objectives)]
    heads += [Head(text="looks", figures=True), Head(text="left after round", figures=True), Head(text="why")]
    order = sorted(
        runs, key=lambda run: ([*_FATES].index(run.fate) if run.left is None else 9, -(run.left or 0))
    )
    lines = []
    for run in order:
        means = run.means if run.looks else (None,) * len(objectives)
        figures = [Field(text="" if one is None else significant(one), value=one) for one in means]
        left = Field(text="" if run.left is None else str(run.left), value=run.left)
        looks = Field(text=str(len(run.rounds)), value=len(run.rounds))
        why = one_line(run.reason) if run.reason else run.fate
        lines.append((Field(text=run.label), *figures, looks, left, Field(text=why)))
    return Table(name="tune-candidates", caption="Candidates", heads=tuple(heads), lines=tuple(lines))


def _fates_table(fates: pd.Series[int]) -> Table:
    return Table(
        name="coverage",
        caption="Candidates by how they ended",
        heads=(Head(text="at the end"), Head(text="candidates", figures=True)),
        lines=tuple(
            (Field(text=str(fate)), Field(text=str(count), value=float(count)))
            for fate, count in fates.items()
        ),
    )

"""`lint`: look through stored rows for results that can't be right."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console

from benchmark.analysis.lint import COLUMNS, RULES, Finding, findings
from benchmark.analysis.lint_pairs import lookalikes
from benchmark.store import query, selection
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame

_CONDITION = "Which rows to look at, as for `results`, such as 'model=vit campaign=nightly'."
_FOUND = 2
"""Exit code where something can't be right."""
_FINDINGS, _IDS = 10, 6
"""So many findings of a rule are shown, and so many runs of a finding."""
_SHORTEST = 8
_MEANING = {rule.name: f"note: {rule.meaning}" if rule.note else rule.meaning for rule in RULES}


def lint(  # noqa: PLR0913, PLR0917 - a command line has that many
    condition: Annotated[list[str] | None, typer.Argument(help=_CONDITION)] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: rows, findings.")] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help=selection.SIMULATED)] = False,
    published: Annotated[bool, typer.Option("--published", help=selection.PUBLISHED)] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Only list the rules and what they mean.")] = False,
) -> None:
    """Look for results that can't be right: copied, contradictory, or measured too little or in disquiet.

    Exit code 0 where nothing is found, 2 with findings; notes, of what honest rows can be like, don't count.
    """
    if rules:
        _print_rules(as_json=as_json)
        return
    conditions = query.parse(" ".join(condition or ()))
    shelf = ResultsStore(store)
    stored = shelf.table(COLUMNS, query.expression(conditions))
    shown = selection.shown(stored, conditions, simulated=simulated, published=published)
    rows = to_frame(shown.rows)
    found = findings(_with_samples(rows, shelf))
    if as_json:
        typer.echo(json.dumps({"rows": len(rows), "findings": [asdict(one) for one in found]}, indent=1))
    else:
        for line in _lines(found, len(rows), _shortened(shelf), Console().width):
            typer.echo(line)
        for note in shown.notes:
            typer.echo(note)
    if any(not _is_note(one) for one in found):
        raise typer.Exit(_FOUND)


def _with_samples(rows: pd.DataFrame, store: ResultsStore) -> pd.DataFrame:
    """Samples are by far the widest column: only rows that look alike need them."""
    samples = to_frame(store.of_runs(lookalikes(rows), ["run_id", "latency_ns"]))
    return rows.merge(samples, on="run_id", how="left")


def _lines(found: Sequence[Finding], rows: int, shortened: Callable[[str], str], width: int) -> Iterator[str]:
    for rule, group in groupby(found, key=lambda one: one.rule):
        ours = list(group)
        yield from textwrap.wrap(f"{rule} - {_MEANING[rule]}", width)
        for one in ours[:_FINDINGS]:
            ids = [shortened(run_id) for run_id in one.rows[:_IDS]]
            ids += [f"… {len(one.rows)} in all"] * (len(one.rows) > _IDS)
            yield from textwrap.wrap(one.reason, width, initial_indent="  ", subsequent_indent="  ")
            yield from textwrap.wrap(" ".join(ids), width, initial_indent="    ", subsequent_indent="    ")
        if len(ours) > _FINDINGS:
            yield f"  … {len(ours)} in all, --json has them"
        yield ""
    if not rows:
        yield "no rows: fewer conditions, or another --store, may find some"
        return
    notes = sum(map(_is_note, found))
    told = f", {notes} note{'s' * (notes > 1)}" if notes else ""
    wrong = len(found) - notes
    yield f"{wrong or 'no'} finding{'s' * (wrong != 1)}{told} in {rows} row{'s' * (rows != 1)}"


def _shortened(store: ResultsStore) -> Callable[[str], str]:
    """How runs are shown: by so many characters as tell each from all others, as `explain` asks for."""
    known = set(store.table(["run_id"])["run_id"].to_pylist())
    longest = max(map(len, known), default=0)
    lengths = range(_SHORTEST, max(longest, _SHORTEST) + 1)
    length = next((one for one in lengths if len({run_id[:one] for run_id in known}) == len(known)), longest)
    return lambda run_id: run_id[:length]


def _is_note(found: Finding) -> bool:
    return any(rule.note for rule in RULES if rule.name == found.rule)


def _print_rules(*, as_json: bool) -> None:
    if as_json:
        table = [{"name": rule.name, "meaning": rule.meaning, "note": rule.note} for rule in RULES]
        typer.echo(json.dumps(table, indent=1))
        return
    wide = max(map(len, _MEANING))
    indent = " " * (wide + 2)
    for name, meaning in _MEANING.items():
        typer.echo(textwrap.fill(f"{name:{wide}}  {meaning}", Console().width, subsequent_indent=indent))

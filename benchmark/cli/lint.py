"""`lint`: find stored results that can't be right."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import pandas as pd
import typer

from benchmark.analysis.lint import COLUMNS, RULES, Finding, findings
from benchmark.analysis.lint_pairs import lookalikes
from benchmark.cli.no_rows import no_rows
from benchmark.formatting import counted
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.store import query, selection
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame

_CONDITION = "Rows to check, as for `results`, such as 'model=vit campaign=nightly'."
_FOUND = 2
"""Exit code where there are findings."""
_FINDINGS, _IDS = 10, 6
"""Findings shown of a rule, and runs shown of a finding."""
_SHORTEST = 8
_MEANING = {rule.name: f"note: {rule.meaning}" if rule.note else rule.meaning for rule in RULES}


def lint(  # noqa: PLR0913, PLR0917 - a command line has that many
    condition: Annotated[list[str] | None, typer.Argument(help=_CONDITION)] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: rows, findings.")] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help=selection.SIMULATED)] = False,
    published: Annotated[bool, typer.Option("--published", help=selection.PUBLISHED)] = False,
    rules: Annotated[
        bool, typer.Option("--rules", help="List the rules and what they mean, and stop.")
    ] = False,
) -> None:
    """Find results that can't be right: copied, contradictory, too few samples, or measured on a noisy host.

    Exit code 0: no findings. Exit code 2: findings. Notes are hints and don't change the exit code.
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
        say(json.dumps({"rows": len(rows), "findings": [asdict(one) for one in found]}, indent=1))
    else:
        for line in _lines(found, len(rows), _shortened(shelf), Screen().width):
            say(line)
        if not len(rows):
            say(no_rows(shelf, conditions))
        for note in shown.notes:
            say(note)
    if any(not _is_note(one) for one in found):
        raise typer.Exit(_FOUND)


def _with_samples(rows: pd.DataFrame, store: ResultsStore) -> pd.DataFrame:
    """Add the samples, by far the widest column, to the rows that need them: those that look alike."""
    samples = to_frame(store.of_runs(lookalikes(rows), ["run_id", "latency_ns"]))
    return rows.merge(samples, on="run_id", how="left")


def _lines(found: Sequence[Finding], rows: int, shortened: Callable[[str], str], width: int) -> Iterator[str]:
    for rule, group in groupby(found, key=lambda one: one.rule):
        of_rule = list(group)
        yield from textwrap.wrap(f"{rule} - {_MEANING[rule]}", width)
        for one in of_rule[:_FINDINGS]:
            ids = [shortened(run_id) for run_id in one.rows[:_IDS]]
            ids += [f"… {len(one.rows)} in all"] * (len(one.rows) > _IDS)
            yield from textwrap.wrap(one.reason, width, initial_indent="  ", subsequent_indent="  ")
            yield from textwrap.wrap(" ".join(ids), width, initial_indent="    ", subsequent_indent="    ")
        if len(of_rule) > _FINDINGS:
            yield f"  … {len(of_rule)} in all, --json has them"
        yield ""
    if not rows:
        return
    notes = sum(map(_is_note, found))
    noted = f", {counted(notes, 'note')}" if notes else ""
    wrong = len(found) - notes
    yield f"{counted(wrong, 'finding') if wrong else 'no findings'}{noted} in {counted(rows, 'row')}"


def _shortened(store: ResultsStore) -> Callable[[str], str]:
    """Shorten a run_id to as few characters as identify each run of the store; `explain` takes them."""
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
        say(json.dumps(table, indent=1))
        return
    wide = max(map(len, _MEANING))
    indent = " " * (wide + 2)
    for name, meaning in _MEANING.items():
        say(textwrap.fill(f"{name:{wide}}  {meaning}", Screen().width, subsequent_indent=indent))

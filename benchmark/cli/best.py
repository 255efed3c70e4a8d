"""`best`: the cheapest or the fastest cell within limits, its alternatives, and a fleet of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any

import pandas as pd
import typer
from rich.text import Text

from benchmark.analysis import best_wording
from benchmark.analysis.best import NEEDED, Answer, Cells, SloLimits, Wanted, answers, cells
from benchmark.analysis.best_table import front, summary, word
from benchmark.cli.no_rows import no_rows
from benchmark.cli.price_options import basis, split
from benchmark.cloud.cost import PriceBasis, Priced, priced
from benchmark.errors import ConfigError
from benchmark.formatting import counted
from benchmark.records import frozen
from benchmark.report.display import table
from benchmark.report.sanitize import inert, one_line, say
from benchmark.report.screen import Screen
from benchmark.store import accuracies, query, selection
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame

_WORDS = "Conditions such as 'model=vit batch<=4', and prices: price=reserved price.as_of=2024-09-16."
_DETAILED = 3
"""Works that are described in full; more get a line each."""
_MOST_NOTES = 10
"""Notes shown for a table of works."""
_NO_ANSWER = 2
"""Exit code where no cell keeps the limits."""


@frozen
class _Found:
    """Answers with everything that their output needs."""

    wanted: Wanted
    basis: PriceBasis
    cells: Cells
    priced: Priced
    answers: tuple[Answer, ...]
    shown: selection.Shown
    contested: tuple[str, ...]
    """Data sets whose accuracies don't count, since the same compiled models answered several."""


def best(  # noqa: PLR0913, PLR0917 - a command line has that many
    words: Annotated[list[str] | None, typer.Argument(help=_WORDS)] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    p95_ms: Annotated[float | None, typer.Option(help="Highest p95 of a call.")] = None,
    p99_ms: Annotated[float | None, typer.Option(help="Highest p99 of a call.")] = None,
    accuracy_floor: Annotated[float | None, typer.Option(help="Lowest accuracy, 0 to 1.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Take accuracies of this data set, where rows have several.")
    ] = None,
    cosine_floor: Annotated[float | None, typer.Option(help="Lowest cosine to fp32.")] = None,
    usd_per_1m: Annotated[float | None, typer.Option(help="Highest cost per million, in dollars.")] = None,
    fastest: Annotated[bool, typer.Option("--fastest", help="Choose the lowest p95.")] = False,
    cheapest: Annotated[bool, typer.Option("--cheapest", help="Choose the lowest cost (default).")] = False,
    requests_per_s: Annotated[
        float | None, typer.Option(help="Size a fleet for this many requests per second.")
    ] = None,
    utilisation: Annotated[
        float, typer.Option(help="Load of a machine, as a share of its throughput.")
    ] = 0.7,
    limit: Annotated[int, typer.Option(min=0, help="Most lines of a table; 0: all.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with every cell of the front.")
    ] = False,
    as_md: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help=selection.SIMULATED)] = False,
    published: Annotated[bool, typer.Option("--published", help=selection.PUBLISHED)] = False,
) -> None:
    """Choose the cheapest cell within limits, or the fastest: one for each model, task and size of its items.

    A cell is one combination of model, machine, compiler, flags and sizes.
    Exit code 0: at least one answer. Exit code 1: no rows match. Exit code 2: no cell keeps the limits.
    """
    if fastest and cheapest:
        raise ConfigError("--fastest and --cheapest exclude each other: choose one")
    if as_json and as_md:
        raise ConfigError("--json and --md exclude each other: choose one")
    limits = SloLimits(
        p95_ms=_above_zero("p95-ms", p95_ms),
        p99_ms=_above_zero("p99-ms", p99_ms),
        accuracy_floor=_share("accuracy-floor", accuracy_floor, 0),
        cosine_floor=_share("cosine-floor", cosine_floor, -1),
        usd_per_1m=_above_zero("usd-per-1m", usd_per_1m),
    )
    wanted = Wanted(
        limits=limits,
        aim="fastest" if fastest else "cheapest",
        requests_per_s=_above_zero("requests-per-s", requests_per_s),
        utilisation=_share("utilisation", _above_zero("utilisation", utilisation), 0) or utilisation,
    )
    found = _found(words or [], store, wanted, dataset, simulated=simulated, published=published)
    if as_json:
        say(json.dumps(_object(found)))
    else:
        _show(found, limit, _markdown if as_md else _terminal())
    if all(one.chosen is None for one in found.answers):
        raise typer.Exit(_NO_ANSWER)


def _above_zero(option: str, value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise ConfigError(f"--{option} {value:g}: must be above 0")
    return value


def _share(option: str, value: float | None, least: float) -> float | None:
    if value is not None and not least <= value <= 1:
        raise ConfigError(f"--{option} {value:g}: must be from {least:g} to 1")
    return value


def _found(  # noqa: PLR0913 - what the command line says
    words: Sequence[str],
    store: str,
    wanted: Wanted,
    dataset: str | None,
    *,
    simulated: bool,
    published: bool,
) -> _Found:
    about, others = split(words)
    prices = basis(about)
    conditions = query.parse(" ".join(others))
    reader = ResultsStore(store)
    stored = reader.table(NEEDED, query.expression(conditions))
    shown = selection.shown(stored, conditions, simulated=simulated, published=published)
    if not len(shown.rows):
        raise ConfigError("; ".join([no_rows(reader, conditions), *shown.notes]))
    rows = to_frame(shown.rows)
    if dataset is not None:
        rows = accuracies.only(rows, dataset)
    chosen_of = cells(rows)
    if not len(chosen_of.done):
        raise ConfigError(f"no row that matches is ok: {_failed_words(chosen_of)}")
    cost = priced(chosen_of.done, prices)
    found = tuple(answers(cost.frame, wanted))
    return _Found(
        wanted=wanted,
        basis=prices,
        cells=chosen_of,
        priced=cost,
        answers=found,
        shown=shown,
        contested=accuracies.contested(rows),
    )


Writer = Callable[[Any], None]
"""Writes a sentence, or a frame as a table."""


def _terminal() -> Writer:
    console = Screen()

    def write(content: Any) -> None:
        if isinstance(content, pd.DataFrame):
            table.print_table(content, console=console)
        else:
            console.print(Text(one_line(content)), soft_wrap=not console.is_terminal)

    return write


def _markdown(content: Any) -> None:
    if isinstance(content, pd.DataFrame):
        say(f"\n{table.markdown_rows(content)}\n")
    else:
        say(f"- {inert(content)}")


def _show(found: _Found, limit: int, write: Writer) -> None:
    wanted = found.wanted
    if len(found.answers) <= _DETAILED:
        _show_each(found, limit, write)
    else:
        limits = f" within {wanted.limits.words}" if wanted.limits.words else ""
        write(
            f"{len(found.answers)} kinds of work (model, task, size): the {wanted.aim} cell of each{limits}"
        )
        write(summary(found.answers, wanted, limit))
        notes = list(_shared_notes(found))
        for note in notes[:_MOST_NOTES]:
            write(f"! {note}")
        if len(notes) > _MOST_NOTES:
            write(f"! and {counted(len(notes) - _MOST_NOTES, 'more note')}: --json has all")
        write("conditions such as model= and sequence_length= show the alternatives of an answer")
    for line in _below(found):
        write(line)


def _show_each(found: _Found, limit: int, write: Writer) -> None:
    """Print each answer; works without one come last, a line each. A note on all of them is printed once."""
    wanted = found.wanted
    chosen = [one for one in found.answers if one.chosen is not None]
    noted = [best_wording.notes(one, wanted, found.cells.failed) for one in chosen]
    shared = {note for note in chain(*noted) if len(chosen) > 1 and all(note in notes for notes in noted)}
    for number, (answer, notes) in enumerate(zip(chosen, noted, strict=True)):
        if number:
            say()
        _show_one(answer, [note for note in notes if note not in shared], found, limit, write)
    for note in dict.fromkeys(chain(*noted)):
        if note in shared:
            write(f"! {note}")
    for answer in found.answers:
        if answer.chosen is not None:
            continue
        notes = best_wording.notes(answer, wanted, found.cells.failed)
        if chosen:
            write(f"{best_wording.headline(answer, wanted)} ({'; '.join(notes)})")
        else:
            _show_one(answer, notes, found, limit, write)


def _show_one(answer: Answer, notes: Sequence[str], found: _Found, limit: int, write: Writer) -> None:
    write(best_wording.headline(answer, found.wanted))
    for note in notes:
        write(f"! {note}")
    if len(answer.front):
        write(_front_words(answer))
        write(front(answer, found.wanted, limit))


def _front_words(answer: Answer) -> str:
    other = {
        "usd_per_1m": "cost per 1M",
        "usd_per_month": "cost per month",
        "throughput_per_s": "throughput",
    }[answer.by]
    mark = "; > = chosen" if answer.chosen is not None else ""
    return f"Best trade-offs of p95 and {other} ({len(answer.front)} of {len(answer.cells)} cells{mark}):"


def _shared_notes(found: _Found) -> Iterator[str]:
    """Each note once, with the works that it concerns."""
    about: dict[str, list[str]] = {}
    for answer in found.answers:
        for note in best_wording.notes(answer, found.wanted, found.cells.failed):
            about.setdefault(note, []).append(best_wording.work_words(answer))
    for note, works in about.items():
        yield f"{works[0] if len(works) == 1 else f'{len(works)} of them'}: {note}"


def _below(found: _Found) -> Iterator[str]:
    """Lines below every table: how the fleet is calculated, the price basis, hidden rows, failed cells."""
    if found.wanted.requests_per_s is not None and found.answers:
        yield best_wording.fleet_note(found.wanted)
    yield from found.priced.lines
    for warning in found.priced.warnings:
        yield f"! {warning}"
    if found.contested:
        several = " and ".join(found.contested)
        yield f"accuracies are of {several}, so none counts: choose one by --dataset"
    yield from found.shown.notes
    if len(failed := found.cells.failed):
        yield f"left out: {counted(len(failed), 'failed cell')} ({_failed_words(found.cells)})"


def _failed_words(of: Cells) -> str:
    """Such as `2 crashed, 1 timeout`."""
    return ", ".join(f"{number} {status}" for status, number in of.failed["status"].value_counts().items())


def _object(found: _Found) -> dict[str, Any]:
    wanted = found.wanted
    return {
        "price": {
            "kind": found.basis.kind,
            "region": found.basis.region,
            "as_of": word(found.basis.as_of) or None,
        },
        "aim": wanted.aim,
        "limits": {name: getattr(wanted.limits, name) for name in SloLimits.__dataclass_fields__},
        "requests_per_s": wanted.requests_per_s,
        "utilisation": wanted.utilisation,
        "answers": [_answer(one, found) for one in found.answers],
        "basis": list(found.priced.lines),
        "warnings": list(found.priced.warnings),
        "left_out": dict(found.shown.hidden),
        "failed": {
            str(name): int(number) for name, number in found.cells.failed["status"].value_counts().items()
        },
    }


def _answer(answer: Answer, found: _Found) -> dict[str, Any]:
    return {
        "work": dict(answer.work),
        "aim": answer.aim,
        "front_by": ["latency_p95_ms", answer.by],
        "chosen": None if answer.chosen is None else _records(answer.cells.iloc[[answer.chosen]])[0],
        "front": _records(answer.front),
        "cells": len(answer.cells),
        "sentence": best_wording.headline(answer, found.wanted),
        "notes": list(best_wording.notes(answer, found.wanted, found.cells.failed)),
    }


def _records(lines: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(
        lines.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)
    )
    return records

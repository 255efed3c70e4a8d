"""Markdown for job summaries and comments: the verdict first, less urgent tables folded, length limited.

Every text is untrusted: names of models and errors may hold Markdown, HTML or terminal codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from benchmark.records import Names, frozen
from benchmark.report.document import Chart, Field, Head, Span, Table
from benchmark.report.sanitize import inert, one_line

MOST_CHARACTERS: Final = 65_536
"""Limit of a comment by GitHub's API; a step's summary may have 1 MiB (docs.github.com,
"Workflow commands for GitHub Actions", 2026-11)."""
_MOST_IN_A_FIELD, _MOST_IN_A_SENTENCE = 300, 2_000
_HARDWARE: Final = ("device_name", "instance_type", "hostname")
_MOST_MACHINES: Final = 3
_FOR_THE_REST: Final = 200
"""Characters reserved for the count of omitted lines, and for closing tags."""


@frozen
class Summary:
    """Content of a summary, in reading order."""

    title: str
    verdict: tuple[Span, ...]
    """One sentence."""
    changes: Table | None = None
    """Biggest change first."""
    notes: Names = ()
    """Sentences below it."""
    folded: tuple[Table, ...] = ()
    """The rest, each under its caption."""
    footer: Names = ()
    """Meaning of the figures: counts, percentile, interval, hardware, builds."""


def markdown(summary: Summary, most: int = MOST_CHARACTERS) -> str:
    """Write GitHub's Markdown of at most `most` characters; lines that don't fit are counted."""
    head = [f"### {escaped(summary.title)}", f"**{''.join(map(_span, summary.verdict))}**"]
    notes = [escaped(note, _MOST_IN_A_SENTENCE) for note in summary.notes]
    foot = [f"<sub>{'<br>'.join(escaped(line, _MOST_IN_A_SENTENCE) for line in summary.footer)}</sub>"]
    left = most - sum(len(block) + 2 for block in (*head, *notes, *foot)) - 1
    blocks: list[str] = []
    for table, fold in _tables(summary):
        block = _table(table, left, fold=fold)
        blocks.append(block)
        left -= len(block) + 2
    shown = 1 if summary.changes and summary.changes.lines else 0
    return "\n\n".join([*head, *blocks[:shown], *notes, *blocks[shown:], *foot]) + "\n"


def gallery(title: str, charts: Sequence[Chart]) -> str:
    """Write a page that shows pictures lying beside it, PNG before SVG, each with its alternative text."""
    blocks = [f"# {escaped(title)}"]
    for chart in charts:
        blocks += [
            f"## {escaped(chart.title)}",
            f"[![{escaped(chart.alt, _MOST_IN_A_SENTENCE)}]({chart.name}.png)]({chart.name}.svg)",
            escaped(chart.alt, _MOST_IN_A_SENTENCE),
        ]
    return "\n\n".join(blocks) + "\n"


def annotation(title: str, message: str) -> str:
    """Return the line by which a job on GitHub marks an error.

    Escaped as `actions/toolkit` does it (packages/core/src/command.ts, 2026-11).
    """
    escaped_message, named = (one_line(text).replace("%", "%25") for text in (message, title))
    return f"::error title={named.replace(':', '%3A').replace(',', '%2C')}::{escaped_message}"


def escaped(text: str, most: int = _MOST_IN_A_FIELD) -> str:
    """Return a text as Markdown that shows just its characters, on one line; a long one is cut."""
    line = one_line(text)
    line = line if len(line) <= most else f"{line[: most - 1]}…"
    return inert(line)


def _span(span: Span) -> str:
    if span.code:
        return f"<code>{escaped(span.text)}</code>"
    before, after = (" " * edge.isspace() for edge in (span.text[:1], span.text[-1:]))
    return before + escaped(span.text, _MOST_IN_A_SENTENCE) + after


def _tables(summary: Summary) -> Iterator[tuple[Table, bool]]:
    if summary.changes and summary.changes.lines:
        yield summary.changes, False
    for table in summary.folded:
        if table.lines:
            yield table, True


def _table(table: Table, room: int, *, fold: bool) -> str:
    """As many lines as fit."""
    count = len(table.lines)
    opening = f"<details><summary>{escaped(table.caption)} ({count})</summary>\n\n" if fold else ""
    closing = "\n\n</details>" if fold else ""
    heads = [escaped(head.text) for head in table.heads]
    rules = ["---:" if head.figures else "---" for head in table.heads]
    lines = [_line(heads), _line(rules)]
    left = room - len(opening) - len(closing) - sum(len(line) + 1 for line in lines) - _FOR_THE_REST
    for number, fields in enumerate(table.lines):
        line = _line([escaped(field.text) for field in fields])
        left -= len(line) + 1
        if left < 0:
            rest = f"\n\n{count - number} more: too long for a summary."
            return opening + "\n".join(lines) * bool(number) + rest + closing
        lines.append(line)
    notes = "".join(f"\n\n{escaped(note)}" for note in table.notes)
    return opening + "\n".join(lines) + notes * (len(notes) <= left) + closing


def _line(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |"


def table(
    name: str,
    caption: str,
    heads: Mapping[str, bool],
    lines: Sequence[Sequence[str]],
    notes: tuple[str, ...] = (),
) -> Table:
    """Table of texts; `heads` says for each column whether it holds figures."""
    return Table(
        name=name,
        caption=caption,
        heads=tuple(Head(text=text, figures=figures) for text, figures in heads.items()),
        lines=tuple(tuple(Field(text=text) for text in line) for line in lines),
        notes=notes,
    )


def between(values: pd.Series[Any]) -> str:
    """Range of values: one number, or `LEAST to MOST`."""
    least, most = values.min(), values.max()
    return str(least) if least == most else f"{least} to {most}"


def hardware(rows: pd.DataFrame) -> str:
    """Sentence that names the machines on which rows were measured."""
    places = rows[[*_HARDWARE]].drop_duplicates().itertuples(index=False)
    machines = [" ".join(str(part) for part in place if not pd.isna(part)) or "unknown" for place in places]
    more = f" and {len(machines) - _MOST_MACHINES} more" if len(machines) > _MOST_MACHINES else ""
    return f"Hardware: {', '.join(machines[:_MOST_MACHINES])}{more}."


def build(rows: pd.DataFrame) -> dict[str, str]:
    """Commit of the program and versions of the libraries of rows; several values are joined by ` / `."""
    values: dict[str, dict[str, None]] = {}
    for commit, versions in rows[["git_commit", "framework_versions"]].itertuples(index=False):
        named = {"commit": None if pd.isna(commit) else commit[:12], **(versions or {})}
        for library, version in named.items():
            values.setdefault(library, {})[version or "?"] = None
    return {library: " / ".join(versions) for library, versions in values.items()}


def builds(before: Mapping[str, str], after: Mapping[str, str], names: tuple[str, str]) -> list[str]:
    """Describe two builds: the commit, and the versions that differ."""
    differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    listed = ["commit", *(name for name in differing if name != "commit")]
    lines = []
    for name, facts in zip(names, (before, after), strict=True):
        versions = ", ".join(f"{one} {facts.get(one, '?')}" for one in listed)
        lines.append(f"{name}: {versions}.")
    same = [] if differing else ["Both have the same commit and versions."]
    return [one_line(line) for line in (*lines, *same)]

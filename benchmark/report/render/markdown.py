"""A report as GitHub Markdown: aligned tables, linked pictures, and texts that are never markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from urllib.parse import quote

from benchmark.report.document import (
    MEANINGS,
    Document,
    Field,
    Head,
    Section,
    Span,
    Table,
    must_mark,
    of_document,
    of_table,
)
from benchmark.report.sanitize import clean, inert, one_line

_OPENS_BLOCK = re.compile(r"^([-+=#]|\d{1,9}(?=[.)]))")
_PLAIN_SCALAR = re.compile(r"[A-Za-z][\w ./-]*")


def page(document: Document, pictures: Mapping[str, str] | None = None) -> str:
    """Write a report as Markdown; `pictures` are relative addresses by name of chart."""
    blocks = [
        _front_matter(document.front_matter),
        f"# {inert(document.title)}",
        *map(_paragraph, document.intro),
        _legend(document),
        *_listed("Findings", document.findings),
        *_listed("Warnings", document.warnings),
    ]
    for section in document.sections:
        blocks += _section(section, pictures or {}, marked=must_mark(of_document(document)))
    blocks += [*_tabled("Coverage", document.coverage), *_tabled("Failures", document.failures)]
    blocks += _tabled("Provenance", document.provenance)
    if document.reproduce:
        blocks += ["## How to reproduce", _code("\n".join(document.reproduce))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def table(it: Table, *, marked: bool | None = None) -> str:
    """Write one table with aligned columns; `marked`: whether figures show their origin."""
    marked = must_mark(of_table(it)) if marked is None else marked
    heads = [inert(head.text) for head in it.heads]
    lines = [[_field(field, marked=marked) for field in line] for line in it.lines]
    widths = [max(3, *map(len, column)) for column in zip_longest(heads, *lines, fillvalue="")]
    ruled = [
        f"{'-' * (width - 1)}:" if head.figures else "-" * width
        for head, width in zip(it.heads, widths, strict=True)
    ]
    return "\n".join(_line(cells, it.heads, widths) for cells in (heads, ruled, *lines))


def _line(cells: Sequence[str], heads: Sequence[Head], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if head.figures else cell.ljust(width)
        for cell, head, width in zip(cells, heads, widths, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _field(field: Field, *, marked: bool) -> str:
    text = inert(field.text)
    if not text:
        return ""
    stars = "**" * field.best + "*" * (marked and field.origin == "published")
    note = " (simulated)" if marked and field.origin == "simulated" else ""
    return f"{stars}{text}{stars}{note}"


def _section(section: Section, pictures: Mapping[str, str], *, marked: bool) -> Iterator[str]:
    yield f"{'#' * section.level} {' '.join(map(_span, section.title))}"
    yield from map(_paragraph, section.sentences)
    for it in section.tables:
        yield from _whole_table(it, marked=marked)
    for chart in section.charts:
        if chart.name in pictures:
            yield f"![{inert(chart.alt)}]({quote(pictures[chart.name], safe='/._-')})"


def _whole_table(it: Table, *, marked: bool | None = None) -> Iterator[str]:
    yield _paragraph(it.caption)
    yield table(it, marked=marked) if it.lines else "None."
    yield from map(_paragraph, it.notes)


def _tabled(title: str, it: Table) -> list[str]:
    return [f"## {title}", *_whole_table(it)] if it.lines else []


def _listed(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {_paragraph(one)}" for one in sentences)] if sentences else []


def _legend(document: Document) -> str:
    if not must_mark(origins := of_document(document)):
        return ""
    looks = {
        "measured": "Plain: measured",
        "published": "*Italic*: published",
        "simulated": "Marked (simulated):",
    }
    return f"{'. '.join(f'{looks[origin]} {MEANINGS[origin]}' for origin in origins)}."


def _span(span: Span) -> str:
    text = _code_span(span.text) if span.code else inert(span.text)
    if not span.link.startswith(("https://", "http://")):
        return text
    return f"[{text}]({quote(clean(span.link), safe=':/?#=&%@+,;~.-_')})"


def _code_span(text: str) -> str:
    inside = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", inside)), default=0))
    room = " " if inside.startswith("`") or inside.endswith("`") else ""
    return f"{fence}{room}{inside}{room}{fence}"


def _code(text: str) -> str:
    inside = clean(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", inside)), default=0))
    return f"{fence}sh\n{inside}\n{fence}"


def _paragraph(text: str) -> str:
    """A text on a line of its own, where more characters are markup."""
    words = inert(text)
    return _OPENS_BLOCK.sub(lambda f: f"\\{f[0]}" if not f[0].isdigit() else f"{f[0]}\\", words)


def _front_matter(entries: Mapping[str, str]) -> str:
    if not entries:
        return ""
    lines = [f"{key}: {_scalar(one_line(value))}" for key, value in entries.items()]
    return "\n".join(["---", *lines, "---"])


def _scalar(value: str) -> str:
    return value if _PLAIN_SCALAR.fullmatch(value) else json.dumps(value, ensure_ascii=False)

"""Assemble a report's document from its YAML and the stored rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final

import pandas as pd

from benchmark.host import machine
from benchmark.published.checks import Agreement, Difference
from benchmark.records import Names, frozen
from benchmark.report.document import Document, Field, Head, Section, Table
from benchmark.report.query import NEWEST_FIRST, Relation
from benchmark.report.spec import Report, SectionSpec, SentenceSpec
from benchmark.report.tables import charts, table
from benchmark.report.text import NONE, filled, spans

ROWS: Final = (
    *("origin", "model", "task", "hardware", "instance_type", "compiler", "fast_math", "batch_size"),
    *("sequence_length", "image_size", "status", "latency_p50_ms", "latency_p95_ms", "throughput_per_s"),
    *("throughput_unit", "usd_per_1m", "accuracy", "cosine", "compile_s", "error", "document", "run_id"),
)
"""Columns of the filterable table, unless the report names others."""
_DOUBTS: Final = ("latency_p50_ms_lo", "latency_p50_ms_hi", "steady", "noise_flags")
"""Columns that go with a median latency."""
_MOST_COMMANDS, _MOST_RUNS = 8, 4


@frozen
class Making:
    """How a document is made."""

    command: str
    """Command that makes the document again."""
    differences: tuple[Difference, ...] = ()
    """Errors of the published page."""
    agreement: Agreement | None = None
    """Its printed figures against those of the rows."""


def document(report: Report, cells: Relation, making: Making) -> Document:
    """Run the report's queries and assemble their results.

    Raises:
        ConfigError: a query is no SQL, or a text names an unknown value.
    """
    sections = [section for spec in report.sections for section in _sections(cells, spec)]
    if making.agreement is not None:
        sections.append(_differences(making.differences, making.agreement))
    return Document(
        name=report.name,
        title=report.title,
        made_at=datetime.now(timezone.utc),
        intro=report.intro,
        findings=(*_sentences(cells, report.findings), *_counts(cells)),
        coverage=_coverage(cells),
        sections=tuple(_unique(sections)),
        failures=_failures(cells),
        provenance=_provenance(cells),
        reproduce=tuple(_commands(cells, making, report)),
        rows=_rows(cells, report),
        warnings=tuple(_warnings(cells)),
        front_matter=report.front_matter,
    )


def _sections(cells: Relation, spec: SectionSpec) -> Iterator[Section]:
    if not spec.each:
        yield from _section(cells, spec, spec.where, {})
        return
    keys = ", ".join(spec.each)
    order = spec.order or "min(started_at)"
    for group in cells.records(
        f"select {keys} from cells where ({spec.where}) group by {keys} order by {order}"
    ):
        match = " and ".join(
            f"{name} is not distinct from {_literal(value)}" for name, value in group.items()
        )
        where = f"({spec.where}) and {match}"
        (values,) = cells.records(
            f"select * exclude (framework_versions) from cells where {where} order by {NEWEST_FIRST} limit 1"
        )
        yield from _section(cells, spec, where, values)


def _section(cells: Relation, spec: SectionSpec, where: str, values: Mapping[str, Any]) -> Iterator[Section]:
    """A section; none if its tables, charts and sentences are all without rows."""
    tables = tuple(made for one in spec.tables if (made := table(cells, one, where, values)))
    drawn = [charts(cells, one, where, values) for one in spec.charts]
    pictures = tuple(chart for made, _ in drawn for chart in made)
    sentences = (*_sentences(cells, spec.say), *(note for _, notes in drawn for note in notes))
    if tables or pictures or sentences or not (spec.tables or spec.charts or spec.say):
        text = tuple(filled(paragraph, values) for paragraph in spec.text)
        yield Section(
            title=spans(spec.title, values),
            level=spec.level,
            sentences=(*text, *sentences),
            tables=tables,
            charts=pictures,
        )


def _sentences(cells: Relation, specs: tuple[SentenceSpec, ...]) -> Names:
    return tuple(filled(spec.say, values) for spec in specs for values in cells.records(spec.query))


def _unique(sections: list[Section]) -> Iterator[Section]:
    """Number tables and charts of the same name, since their files are named after them."""
    seen: dict[str, int] = {}

    def renamed(one: Any) -> Any:
        seen[one.name] = number = seen.get(one.name, 0) + 1
        return one if number == 1 else replace(one, name=f"{one.name}-{number}")

    for section in sections:
        tables, charts = (tuple(map(renamed, made)) for made in (section.tables, section.charts))
        yield replace(section, tables=tables, charts=charts)


def _literal(value: Any) -> str:
    if pd.isna(value):
        return "null"
    return str(value) if isinstance(value, (bool, int, float)) else "'" + str(value).replace("'", "''") + "'"


def _counts(cells: Relation) -> Names:
    """Configurations with results, and the others by status."""
    query = "select status, count(*) as n from cells group by status order by n desc, status"
    counts = {row["status"]: row["n"] for row in cells.records(query)}
    total, fine = sum(counts.values()), counts.pop("ok", 0)
    if fine == total:
        return (
            "The only configuration has results."
            if total == 1
            else f"All {total} configurations have results.",
        )
    rest = ", ".join(f"{count} {str(status).replace('_', ' ')}" for status, count in counts.items())
    return (f"{fine} of {total} configurations have results; the others: {rest}.",)


def _coverage(cells: Relation) -> Table:
    found = cells.records(
        "select origin, coalesce(hardware, '') as hardware, compiler, count(*) as n, "
        "count(*) filter (status = 'ok') as fine, "
        "count(distinct model) as models from cells group by all order by all"
    )
    heads = ("origin", "hardware", "compiler", "models", "configurations", "with results")
    lines = [
        [row["origin"], row["hardware"], row["compiler"], row["models"], row["n"], row["fine"]]
        for row in found
    ]
    return _plain(
        "coverage", "Configurations by origin, hardware and compiler", heads, lines, figures={3, 4, 5}
    )


def _failures(cells: Relation) -> Table:
    found = cells.records(
        "select status, coalesce(stage, '') as stage, "
        "coalesce(split_part(trim(error), chr(10), 1), '') as reason, count(*) as n, "
        "string_agg(distinct model, ', ' order by model) as models, list(run_id order by run_id) as runs "
        "from cells where status <> 'ok' group by all order by n desc, status, reason"
    )
    lines = []
    for row in found:
        runs = [str(run)[:8] for run in row["runs"]]
        more = f" … {len(runs)} in total" if len(runs) > _MOST_RUNS else ""
        where = f"{row['status']} at {row['stage']}" if row["stage"] else row["status"]
        lines.append([where, row["reason"], row["models"], row["n"], " ".join(runs[:_MOST_RUNS]) + more])
    return _plain(
        "failures",
        "Failed configurations",
        ("status", "reason", "models", "configurations", "runs"),
        lines,
        figures={3},
    )


def _provenance(cells: Relation) -> Table:
    found = cells.records(
        """select origin, case when origin = 'published'
          then concat_ws(', ', document, document_commit, document_date, document_licence)
          else concat_ws(', ', coalesce(device_name, cpu_model), instance_type, os, hostname) end as place,
        case when origin = 'published' then '' else array_to_string(list_transform(list_filter(
          map_entries(framework_versions), lambda e: e.key in ('python', 'torch', 'transformers', compiler)),
          lambda e: e.key || ' ' || e.value), ', ') end as versions,
        case when origin = 'published' then '' else coalesce(git_commit[:10], '') end as commit,
        count(*) as n, min(started_at) as first, max(started_at) as last
        from cells group by all order by origin, n desc, place, versions"""
    )
    lines = [
        [
            *(row[name] or "" for name in ("origin", "place", "versions", "commit")),
            row["n"],
            _days(row["first"], row["last"]),
        ]
        for row in found
    ]
    heads = ("origin", "machine or document", "versions", "program", "configurations", "when")
    made = _plain("provenance", "Where the results come from", heads, lines, figures={4})
    return replace(made, notes=cells.priced.lines)


def _days(first: pd.Timestamp, last: pd.Timestamp) -> str:
    days = [f"{day:%Y-%m-%d}" for day in (first, last)]
    return days[0] if days[0] == days[1] else " to ".join(days)


def _commands(cells: Relation, making: Making, report: Report) -> Iterator[str]:
    if report.document and "published" in cells.frame("select distinct origin from cells")["origin"].tolist():
        yield f"{machine.program()} store import {report.document}"
    found = cells.frame(
        "select command, count(*) as n from cells where command is not null and origin <> 'published' "
        "group by command order by n desc, command"
    )
    yield from itertools.islice(found["command"].tolist(), _MOST_COMMANDS)
    if len(found) > _MOST_COMMANDS:
        yield f"# and {len(found) - _MOST_COMMANDS} more commands: see column command of the rows"
    yield making.command


def _rows(cells: Relation, report: Report) -> pd.DataFrame:
    names = report.rows or ROWS
    known = {*cells.frame("select * from cells limit 0").columns}
    doubted = _DOUBTS if "latency_p50_ms" in names else ()
    wanted = [name for name in dict.fromkeys(("origin", *names, *doubted)) if name in known]
    texts = {"noise_flags": "nullif(array_to_string(noise_flags, ' '), '') as noise_flags"}
    shown = ", ".join(texts.get(name, f'"{name}"') for name in wanted)
    order = f"order by {NEWEST_FIRST}, run_id limit {report.most_rows}"
    found = cells.frame(f"select {shown} from cells {order}")
    return found.dropna(axis="columns", how="all")


def _warnings(cells: Relation) -> Iterator[str]:
    yield from cells.priced.warnings
    advice = {
        "simulated": "--simulated",
        "published": "source=measured,published",
        "measured": "source=measured",
    }
    for origin, count in cells.hidden.items():
        yield f"{count} {origin} rows are left out ({advice[origin]} shows them)"
    (noisy,) = cells.records("select count(*) as n from cells where len(noise_flags) > 0 and status = 'ok'")
    if noisy["n"]:
        results = "1 result is" if noisy["n"] == 1 else f"{noisy['n']} results are"
        yield f"{results} noisy: other load disturbed the calls; see All rows"


def _differences(found: tuple[Difference, ...], agreement: Agreement) -> Section:
    equal, unequal = agreement.equal, len(agreement.unequal)
    counts = f"{equal} of {equal + unequal} printed numbers equal those of the rows at the printed digits"
    lines = [[one.kind, one.sentence] for one in found]
    made = _plain("differences", "Errors of the published page", ("error", "where"), lines)
    return Section(
        title=spans("Differences in the published page", {}),
        sentences=(f"{counts}{f', {unequal} differ' if unequal else ''}.",),
        tables=(made,) if found else (),
    )


def _plain(
    name: str,
    caption: str,
    heads: Names,
    lines: list[list[Any]],
    figures: set[int] = frozenset(),  # type: ignore[assignment]
) -> Table:
    return Table(
        name=name,
        caption=caption,
        heads=tuple(Head(text=text, figures=at in figures) for at, text in enumerate(heads)),
        lines=tuple(
            tuple(
                Field(
                    text=NONE if value is None else str(value), value=float(value) if at in figures else None
                )
                for at, value in enumerate(line)
            )
            for line in lines
        ),
    )

"""Published figures as rows: the figures of a document for each cell, in the columns of the store.

Importers (`importers/`) read a file and know no store. This module gives their figures ids, so that
importing a document twice leaves the same rows. A row has `source=published` and keeps its line in
`as_printed`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import Field, NonNegativeInt, field_validator

from benchmark import axes
from benchmark.errors import ConfigError
from benchmark.published.printed_figures import Line, Rejected
from benchmark.records import Names, Row, frozen
from benchmark.redaction import without_secrets
from benchmark.store.schema import SCHEMA_VERSION

FOLDER: Final = Path(__file__).with_name("figures")
"""Folder of the files of shipped documents."""
SOURCE: Final = "published"
FILE, LINE, REPEATED = "(file)", "(line)", " (again)"
"""Keys of `as_printed` besides the document's headers; the last ends the key of a figure printed twice."""
PRINTED, RAW, EARLIER, CLAIM = "printed ", "raw ", "earlier ", "claim "
"""Prefixes of keys of `as_printed`: a column's text on the page, in the files behind the page, in an earlier
version of those files, and what the page's sentences claim."""
PAGE, PRICE_KIND, PRICE_REGION = "(page) ", "(price kind)", "(price region)"
"""Keys for the whole page: how it sorts and heads its columns, and the price basis of its costs."""

_WHERE: Final = (
    *("hardware", "instance_type", "device_name", "cpu_model", "os", "driver_version", "framework_versions"),
)
_FAMILY: Final = (*axes.without(*axes.GROWING), "compiler_flags", "model_dtype")
"""What the cells of a family share."""


@frozen
class Figures:
    """Figures of a document for one cell."""

    line: NonNegativeInt
    """Line of the file, the first being 1; 0 where the file has no lines."""
    key: str
    """Identifies the cell within the document."""
    values: Mapping[str, Any]
    """Columns of the schema, in their units."""
    as_printed: Mapping[str, str]
    """Texts by header, and by the keys that `PRINTED` and the other prefixes begin."""
    environment: str = ""
    """Where it was measured, as far as the machine's columns don't have it."""


@frozen
class Reading:
    """Lines of a document: figures, rejected and repeated ones."""

    lines: NonNegativeInt
    figures: tuple[Figures, ...]
    rejected: tuple[Rejected, ...]
    repeated: NonNegativeInt = 0
    """Lines with the same cell and the same figures as an earlier line."""
    corrections: Names = ()
    """What rows have other than the document prints, a sentence each."""


@runtime_checkable
class Importer(Protocol):
    """Reader of one format; the fields of the frozen dataclass are its options."""

    def read(self, file: Path) -> Reading:
        """All figures of the file.

        Raises:
            ConfigError: the file doesn't have this format.
        """


@frozen
class Document:
    """A document whose figures are imported."""

    name: str
    """Rows get the campaign `published-<name>`."""
    document: str
    """Its citation. One that ends in / is a folder, and each file in it is a document of its own."""
    commit: str | None = None
    """Commit of its repository."""
    date: str
    """Day of this version, as YYYY-MM-DD."""
    licence: str | None = None
    files: Names
    """Relative to benchmark/published/figures, or absolute."""
    importer: Importer
    constants: Mapping[str, Any] = Field(default_factory=dict)
    """Columns that are the same in every row; a line's own value wins."""
    prices: Mapping[str, str] = Field(default_factory=dict)
    """`kind` and `region` of the prices behind its costs, as in conf/price."""
    pages: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """By stem of a file: how its page sorts and heads the columns; `*` is for all files."""

    @field_validator("date")
    @classmethod
    def _is_a_day(cls, text: str) -> str:
        date.fromisoformat(text)
        return text

    @property
    def campaign(self) -> str:
        """Campaign of its rows."""
        return f"published-{self.name}"


def read(document: Document) -> Reading:
    """Figures of all its files; lines with the same cell and figures count once.

    Raises:
        ConfigError: a file is missing, or doesn't have its importer's format.
    """
    kept: dict[tuple[str, str], Figures] = {}
    rejected: list[Rejected] = []
    corrections: list[str] = []
    lines = repeated = 0
    for name in document.files:
        file = Path(name) if Path(name).is_absolute() else FOLDER / name
        if not file.is_file():
            raise ConfigError(f"{document.name}: no such file: {file}: correct `files`")
        found = document.importer.read(file)
        lines += found.lines
        rejected += found.rejected
        corrections += [f"{file.name}: {one}" for one in found.corrections]
        for one in found.figures:
            placed = _placed(one, file, document)
            key = (_cited(document, file.name), one.key)
            if (before := kept.get(key)) is None:
                kept[key] = placed
            elif before.values == placed.values:
                repeated += 1
            else:
                place = f"{before.as_printed[FILE]} line {before.as_printed[LINE]}"
                reason = f"differs from {place}, which has the same cell"
                rejected.append(Rejected(file=file.name, line=one.line, reason=reason))
    figures = tuple(kept.values())
    return Reading(
        lines=lines,
        figures=figures,
        rejected=tuple(rejected),
        repeated=repeated,
        corrections=tuple(corrections),
    )


def rows(document: Document, figures: Sequence[Figures], finished_at: datetime) -> list[Row]:
    """Rows of these figures. `finished_at` is the time of the import: the newest row of a run counts."""
    started_at = datetime.fromisoformat(document.date).replace(tzinfo=timezone.utc)
    common = {
        "schema_version": SCHEMA_VERSION,
        "campaign": document.campaign,
        "repeat": 0,
        "started_at": started_at,
        "finished_at": finished_at,
        "simulated": False,
        "source": SOURCE,
        "document_commit": document.commit,
        "document_date": document.date,
        "document_licence": document.licence,
    }
    return [Row(values=without_secrets({**common, **_row(document, one)})) for one in figures]


def read_lines(
    file: Path, lines: Iterable[Line], figures: Callable[[Line], Figures]
) -> tuple[list[Figures], list[Rejected]]:
    """Figures of each line; a ValueError rejects the line and is the reason."""
    read, rejected = [], []
    for line in lines:
        try:
            read.append(figures(line))
        except ValueError as error:
            rejected.append(Rejected(file=file.name, line=line.number, reason=str(error)))
    return read, rejected


def whole_line(
    line: Line, values: Mapping[str, Any], printed: Mapping[str, str], environment: str = ""
) -> Figures:
    """Figures of a line that is a cell of its own; `printed` has the printed text of each column."""
    return Figures(
        line=line.number,
        key=json.dumps(sorted(line.texts.items())),
        values={name: value for name, value in values.items() if value is not None},
        as_printed={**line.texts, **{f"{PRINTED}{column}": text for column, text in printed.items()}},
        environment=environment,
    )


def wilson(share: float, items: int) -> tuple[float, float]:
    """95 % interval of a share of correct answers (Wilson score)."""
    from scipy.stats import binomtest

    interval = binomtest(round(share * items), items).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _row(document: Document, one: Figures) -> dict[str, Any]:
    constants = {
        name: [*value.items()] if isinstance(value, Mapping) else value
        for name, value in document.constants.items()
    }
    values = {"status": "ok", **constants, **one.values}
    if values.get("accuracy") is not None and values.get("accuracy_n"):
        values["accuracy_lo"], values["accuracy_hi"] = wilson(values["accuracy"], values["accuracy_n"])
    family = [str(values.get(name)) for name in _FAMILY]
    cited = _cited(document, one.as_printed[FILE])
    return {
        **values,
        "document": cited,
        "run_id": _hash(cited, document.commit, one.key),
        "cell_id": _hash(cited, one.key),
        "family_id": _hash(cited, *family),
        "environment_id": _hash(*(str(values.get(name)) for name in _WHERE), one.environment),
        "as_printed": list(one.as_printed.items()),
    }


def _cited(document: Document, file: str) -> str:
    return f"{document.document}{file}" if document.document.endswith("/") else document.document


def _placed(one: Figures, file: Path, document: Document) -> Figures:
    """Add the place in the document, and what holds for the whole page."""
    page = {**document.pages.get("*", {}), **document.pages.get(file.stem, {})}
    keys = {"kind": PRICE_KIND, "region": PRICE_REGION}
    place = {
        FILE: file.name,
        LINE: str(one.line),
        **{f"{PAGE}{name}": text for name, text in page.items()},
        **{keys[name]: text for name, text in document.prices.items()},
    }
    return Figures(
        line=one.line,
        key=one.key,
        values=one.values,
        as_printed={**one.as_printed, **place},
        environment=one.environment,
    )


def _hash(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

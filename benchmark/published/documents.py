"""Published figures as rows: what a document says of each cell, in the columns of the store.

Importers (`importers/`) read a file and know no store; here their figures get an identity, so that importing
a document twice leaves the same rows. A row says `source=published` and keeps its line in `as_printed`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import Field, NonNegativeInt, field_validator

from benchmark import axes
from benchmark.errors import ConfigError
from benchmark.published.printed_figures import Rejected
from benchmark.records import Names, Row, frozen
from benchmark.store.schema import SCHEMA_VERSION

FOLDER: Final = Path(__file__).with_name("figures")
"""Where the files of shipped documents lie."""
SOURCE: Final = "published"
FILE, LINE, REPEATED = "(file)", "(line)", " (again)"
"""Keys of `as_printed` beside the document's headers; the last ends the key of a figure printed twice."""
PRINTED, RAW, EARLIER, CLAIM = "printed ", "raw ", "earlier ", "claim "
"""What begins a key of `as_printed`: a column's text on the page, the same in the files behind the page, the
same in an earlier version of those files, and what the page's sentences claim."""
PAGE, PRICE_KIND, PRICE_REGION = "(page) ", "(price kind)", "(price region)"
"""Keys for what is true of the whole page: how it sorts and heads its columns, and the basis of its costs."""

_WHERE: Final = ("hardware", "instance_type", "device_name", "os", "driver_version", "framework_versions")
_FAMILY: Final = (*axes.without(*axes.GROWING), "compiler_flags", "model_dtype")
"""What the cells of a family share."""


@frozen
class Figures:
    """What a document says of one cell."""

    line: NonNegativeInt
    """Where it stands in its file, the first line being 1; 0 where the file has no lines."""
    key: str
    """What tells the cell from all others of the document."""
    values: Mapping[str, Any]
    """Columns of the schema, in their units."""
    as_printed: Mapping[str, str]
    """Headers to texts, and what else `PRINTED` and its like name."""
    environment: str = ""
    """What besides the machine's columns tells where it was measured."""


@frozen
class Reading:
    """What became of a document's lines."""

    lines: NonNegativeInt
    figures: tuple[Figures, ...]
    rejected: tuple[Rejected, ...]
    repeated: NonNegativeInt = 0
    """Lines that say again, in another place, what a line before them said."""


@runtime_checkable
class Importer(Protocol):
    """A format that figures are published in; the frozen dataclass is its options."""

    def read(self, file: Path) -> Reading:
        """Everything the file says.

        Raises:
            ConfigError: the file is none of this format.
        """


@frozen
class Document:
    """A document whose figures are imported."""

    name: str
    """Rows get the campaign `published-<name>`."""
    document: str
    """As people cite it; one that ends in / is a folder, and each file in it a document of its own."""
    commit: str | None = None
    """Of its repository."""
    date: str
    """Day of this version, as YYYY-MM-DD."""
    licence: str | None = None
    files: Names
    """Relative to benchmark/figures, or absolute."""
    importer: Importer
    constants: Mapping[str, Any] = Field(default_factory=dict)
    """Columns that are the same in every row, unless a line says otherwise."""
    prices: Mapping[str, str] = Field(default_factory=dict)
    """`kind` and `region` that its costs are worked out with, as benchmark/prices.csv names them."""
    pages: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """By stem of a file how the page that shows it sorts and heads its columns; `*` is for all files."""

    @field_validator("date")
    @classmethod
    def _is_a_day(cls, text: str) -> str:
        date.fromisoformat(text)
        return text

    @property
    def campaign(self) -> str:
        """Of its rows."""
        return f"published-{self.name}"


def read(document: Document) -> Reading:
    """Figures of all its files; what several lines of a document say alike is there once.

    Raises:
        ConfigError: a file is missing, or none of its importer's format.
    """
    kept: dict[tuple[str, str], Figures] = {}
    rejected: list[Rejected] = []
    lines = repeated = 0
    for name in document.files:
        file = Path(name) if Path(name).is_absolute() else FOLDER / name
        if not file.is_file():
            raise ConfigError(f"{document.name}: there is no file {file}: correct `files`")
        found = document.importer.read(file)
        lines += found.lines
        rejected += found.rejected
        for one in found.figures:
            placed = _placed(one, file, document)
            key = (_cited(document, file.name), one.key)
            if (before := kept.get(key)) is None:
                kept[key] = placed
            elif before.values == placed.values:
                repeated += 1
            else:
                place = f"{before.as_printed[FILE]} line {before.as_printed[LINE]}"
                reason = f"says otherwise than {place} of the same cell"
                rejected.append(Rejected(file=file.name, line=one.line, reason=reason))
    figures = tuple(kept.values())
    return Reading(lines=lines, figures=figures, rejected=tuple(rejected), repeated=repeated)


def rows(document: Document, figures: Sequence[Figures], finished_at: datetime) -> list[Row]:
    """Rows of these figures; `finished_at` is when they are imported, for the newest row of a run counts."""
    started_at = datetime.fromisoformat(document.date).replace(tzinfo=timezone.utc)
    about = {
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
    return [Row(values={**about, **_row(document, one)}) for one in figures]


def wilson(share: float, items: int) -> tuple[float, float]:
    """95 % interval of a share of right answers."""
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
    """With its place, and what is true of its page."""
    page = {**document.pages.get("*", {}), **document.pages.get(file.stem, {})}
    keys = {"kind": PRICE_KIND, "region": PRICE_REGION}
    besides = {
        FILE: file.name,
        LINE: str(one.line),
        **{f"{PAGE}{name}": text for name, text in page.items()},
        **{keys[name]: text for name, text in document.prices.items()},
    }
    return Figures(
        line=one.line,
        key=one.key,
        values=one.values,
        as_printed={**one.as_printed, **besides},
        environment=one.environment,
    )


def _hash(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

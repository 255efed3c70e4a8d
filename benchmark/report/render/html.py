"""A report as one HTML file that needs no network, no server and no second file.

The policy in its head allows one style and two scripts, ours and Vega, by their hashes. Vega and the rows are
compressed; the browser unpacks them. Charts stand there as SVG too, for print and where no script runs.
Texts from outside are escaped by Jinja, or stand in data blocks that the script shows as text only.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from benchmark.errors import LibraryMissing
from benchmark.host import libraries
from benchmark.report import all_rows
from benchmark.report.document import MEANINGS, Chart, Document, Section, Table, of_table
from benchmark.report.sanitize import clean, one_line
from benchmark.report.text import NONE

_DIGITS, _FEWER_DIGITS = 5, 4
"""Digits of figures in the table of all rows: each costs 0.1 MB for 100,000 rows."""
_PLACES = {"cosine": 6}
"""Columns whose figures all have so many decimal places, as in the terminal."""
_MANY_ROWS = 20_000
"""From this number of rows on figures have fewer digits."""
_FEW_VALUES = 256
"""A column with at most so many different figures is stored as codes, and is a filter."""
_FEW_LINES = 4
_MOST_SHOWN = 80
"""A chart with at most so many points has them below it as a table too."""
_MISSING, _MINUS = 9999, 5000
"""Stands for a missing figure instead of its power of ten; is subtracted from the power of a negative one."""
_LETTERS = string.ascii_letters
"""One for each power of ten; page.js has the same."""
_HARMLESS = str.maketrans("<>&`", "/.,:")
_INSTALL = libraries.command_for("report")


def page(document: Document, pictures: Mapping[str, str]) -> str:
    """Write the whole report as one HTML file.

    `pictures` has an SVG for each chart, by its name. It stands there until the script draws the chart.

    Raises:
        LibraryMissing: jinja2 or vl-convert-python is not installed.
    """
    try:
        import jinja2
        import markupsafe
    except ImportError as error:
        raise LibraryMissing(f"HTML needs jinja2, which is not installed: {_INSTALL}") from error

    def shown(value: Any) -> Any:
        return clean(value) if type(value) is str else value

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, finalize=shown)
    css, vega, script = _part("page.css"), _bundle(), _part("page.js")
    charts = [chart for section in document.sections for chart in section.charts]
    shown_rows = all_rows.of(document.rows)
    specs = {chart.name: {**chart.spec, "title": None} for chart in charts}
    return environment.from_string(_part("page.html.jinja")).render(
        document=document,
        sections=_numbered(document.sections),
        policy=_policy(css, script, vega),
        css=markupsafe.Markup(css),  # noqa: S704 - ours
        script=markupsafe.Markup(script),  # noqa: S704 - ours
        still={name: markupsafe.Markup(svg) for name, svg in pictures.items()},  # noqa: S704 - by Vega
        charts=markupsafe.Markup(_data_block(specs)),  # noqa: S704 - escaped for a data block
        vega=_gzipped(vega),
        rows=packed(shown_rows.frame),
        shared=shown_rows.shared,
        digits=_digits(document.rows),
        linked=_linked,
        shared_columns=_shared_columns,
        shared_words=_shared_words,
        of_table=of_table,
        meanings=MEANINGS,
        subtitle=_subtitle,
        behind=_behind,
    )


def packed(rows: pd.DataFrame) -> str:
    """Rows as gzipped JSON in letters, for page.js: by column, words as codes."""
    columns = [_column(str(name), rows[name], _digits(rows)) for name in rows.columns]
    text = json.dumps({"count": len(rows), "columns": columns}, ensure_ascii=False, separators=(",", ":"))
    return _gzipped(text)


def _digits(rows: pd.DataFrame) -> int:
    return _DIGITS if len(rows) < _MANY_ROWS else _FEWER_DIGITS


def _gzipped(text: str) -> str:
    """Compressed, as base 85 without characters of HTML markup; a sixteenth shorter than base 64."""
    letters = base64.b85encode(gzip.compress(text.encode(), compresslevel=7, mtime=0)).decode()
    return letters.translate(_HARMLESS)


def _column(name: str, column: pd.Series[Any], digits: int) -> dict[str, Any]:
    column = column.infer_objects()  # figures among nulls are often kept as objects
    figures = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    digits = _PLACES.get(name, digits)
    values = _rounded(column, digits) if figures else _texts(column)
    codes, words = pd.factorize(values)
    head: dict[str, Any] = {"name": one_line(name), "figures": bool(figures)}
    if name in _PLACES:
        head["places"] = _PLACES[name]
    if figures and len(words) > _FEW_VALUES:
        if split := _split(values, digits):
            return {**head, **split}
        return {**head, "values": [None if value != value else value for value in _plain(values)]}  # noqa: PLR0124
    kept = _plain(words) if figures else [clean(word) for word in words.tolist()]
    if len(words) == len(column):  # all different: codes save nothing
        return {**head, "values": kept}
    return {**head, "words": kept, "codes": codes.tolist()}


def _split(values: Any, digits: int) -> dict[str, Any] | None:
    """Figures as digits, and separately sign and power of ten as letters: a fifth shorter than JSON.

    None where that changes a figure: whole numbers of more digits, and too many or too extreme powers.
    """
    there = np.isfinite(values) & (values != 0)
    known = values[there]
    with np.errstate(all="ignore"):
        powers = np.floor(np.log10(np.abs(known))) - digits + 1
        numbers = np.rint(np.abs(known) / 10.0**powers)
        same = np.isclose(np.sign(known) * numbers * 10.0**powers, known, rtol=1e-12, atol=0)
    if not same.all() or not (numbers < 10**digits).all():
        return None
    whole, kinds = np.zeros(len(values), dtype=int), np.where(np.isnan(values), _MISSING, 0)
    whole[there], kinds[there] = numbers, np.where(known < 0, powers - _MINUS, powers)
    codes, marks = pd.factorize(kinds)
    if len(marks) > len(_LETTERS):
        return None
    letters = np.array(list(_LETTERS))[codes]
    shown = np.char.zfill(whole.astype(str), digits)
    return {"digits": "".join(shown), "width": digits, "kinds": "".join(letters), "marks": marks.tolist()}


def _rounded(column: pd.Series[Any], digits: int) -> np.ndarray[Any, Any]:
    """Figures with so many significant digits; NaN where they are missing or infinite."""
    values = column.to_numpy(dtype=float, na_value=np.nan)
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.floor(np.log10(np.abs(values)))
    places = np.where(np.isfinite(power), digits - 1 - power, 0)
    whole = (values == np.trunc(values)) & (np.abs(values) < 2**53)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = 10.0 ** np.abs(places)
        rounded = np.where(places >= 0, np.round(values * scale) / scale, np.round(values / scale) * scale)
    return np.where(whole | ~np.isfinite(rounded), values, rounded)


def _plain(values: Any) -> list[float | int]:
    """Numbers in the shortest form for JSON: 8 instead of 8.0."""
    return [int(one) if one.is_integer() else one for one in values.tolist()]


def _texts(column: pd.Series[Any]) -> pd.Series[Any]:
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.dt.strftime("%Y-%m-%d %H:%M:%S")
    texts: pd.Series[Any] = column.astype(object).where(column.isna(), column.astype(str))
    return texts


def _numbered(sections: Sequence[Section]) -> list[Mapping[str, Any]]:
    """Sections with addresses within the page; the first has level 2, since no level may be skipped."""
    found: list[Mapping[str, Any]] = []
    for number, section in enumerate(sections, 1):
        words = " ".join(one_line(span.text) for span in section.title)
        level = section.level if found else 2
        parts = {"spans": section.title, "sentences": section.sentences}
        shown = {"tables": section.tables, "charts": section.charts}
        found.append({"id": f"s{number}", "level": level, "words": words, **parts, **shown})
    return found


def _policy(css: str, *scripts: str) -> str:
    """Content security policy: run these scripts, apply this style, load nothing."""

    def known(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {' '.join(map(known, scripts))}; style-src {known(css)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


@lru_cache(maxsize=1)
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script with a single global name."""
    try:
        import vl_convert
    except ImportError as error:
        raise LibraryMissing(f"HTML needs vl-convert-python, which is not installed: {_INSTALL}") from error
    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;"))
    return f"(()=>{{{bundle}}})();".replace("\r\n", "\n")  # else minified names collide with the page's


def _part(name: str) -> str:
    return (resources.files("benchmark.report.render") / "page" / name).read_text(encoding="utf-8")


def _data_block(content: Any) -> str:
    """JSON for a data block: it ends no element and opens no comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for one in "<>&\u2028\u2029":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return text


def _shared_columns(table: Table) -> Sequence[int]:
    """Places of columns whose words are the same in all lines, which cards need not repeat."""
    if len(table.lines) < _FEW_LINES:
        return ()
    words = [place for place, head in enumerate(table.heads) if place and not head.figures]
    return [place for place in words if len({line[place].text for line in table.lines}) == 1]


def _shared_words(table: Table, places: Sequence[int]) -> Sequence[str]:
    """Heads and words of such columns; an empty one needs none."""
    texts = {table.heads[place].text: table.lines[0][place].text for place in places}
    return [f"{head} {text}" for head, text in texts.items() if text not in {"", NONE}]


def _linked(text: str) -> Any:
    """A warning that names the table of all rows, with a link to it."""
    import markupsafe

    before, named, after = text.partition("All rows")
    link = markupsafe.Markup('<a href="#rows">All rows</a>') if named else ""
    return markupsafe.escape(before) + link + after


def _subtitle(chart: Chart) -> str:
    heading = chart.spec.get("title")
    return str(heading.get("subtitle", "")) if isinstance(heading, Mapping) else ""


def _behind(chart: Chart) -> Sequence[Mapping[str, Any]]:
    """Points of a small chart, for readers who can't see it."""
    rows: Sequence[Mapping[str, Any]] = chart.spec.get("datasets", {}).get("rows", ())
    return rows if len(rows) <= _MOST_SHOWN else ()

"""Tables and rows as CSV: figures unrounded, and texts that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv as library
import io
import re

import pandas as pd

from benchmark.report.document import Field, Table, of_table
from benchmark.report.sanitize import clean, one_line

_FORMULA = re.compile(r"\s*[=+\-@]|[\t\r]")
"""Start of a formula in spreadsheets (OWASP, "CSV Injection", 2024)."""


def csv(table: Table) -> str:
    """A table as CSV with a head; where origins are mixed, the last column has those of the line."""
    mixed = len(of_table(table)) > 1
    target = io.StringIO()
    writer = library.writer(target, lineterminator="\n")
    heads = [harmless(one_line(head.text)) for head in table.heads]
    writer.writerow([*heads, "origin"] if mixed else heads)
    for line in table.lines:
        cells = [_cell(field) for field in line]
        writer.writerow([*cells, _origin(line)] if mixed else cells)
    return target.getvalue()


def rows(frame: pd.DataFrame) -> str:
    """Every row behind the report, without terminal codes."""
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    safe = {
        str(name): frame[name].astype("string").map(lambda text: harmless(clean(text)), na_action="ignore")
        for name in texts
    }
    return frame.assign(**safe).to_csv(index=False)


def _cell(field: Field) -> str:
    if field.value is None:
        return harmless(clean(field.text))
    whole = field.value.is_integer() and abs(field.value) < 2**53
    return str(int(field.value)) if whole else repr(float(field.value))


def _origin(line: tuple[Field, ...]) -> str:
    """The origin of the line, or those of its fields in their order."""
    found = [field.origin for field in line if field.origin]
    return found[0] if len({*found}) == 1 else " ".join(found)


def harmless(text: str) -> str:
    """A text that a spreadsheet takes for no formula."""
    return f"'{text}" if _FORMULA.match(text) else text

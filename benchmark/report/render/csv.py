"""Tables as CSV: the figures unrounded, and texts that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv as library
import io
import re

from benchmark.report.document import Field, Table, of_table
from benchmark.report.sanitize import clean, one_line

_FORMULA = re.compile(r"\s*[=+\-@]|[\t\r]")
"""What spreadsheets start a formula with (OWASP, "CSV Injection", 2024)."""


def csv(table: Table) -> str:
    """Write a table as CSV with a head; where origins are mixed a last column names those of the line."""
    mixed = len(of_table(table)) > 1
    target = io.StringIO()
    writer = library.writer(target, lineterminator="\n")
    heads = [_harmless(one_line(head.text)) for head in table.heads]
    writer.writerow([*heads, "origin"] if mixed else heads)
    for line in table.lines:
        cells = [_cell(field) for field in line]
        writer.writerow([*cells, _origin(line)] if mixed else cells)
    return target.getvalue()


def _cell(field: Field) -> str:
    if field.value is None:
        return _harmless(clean(field.text))
    whole = field.value.is_integer() and abs(field.value) < 2**53
    return str(int(field.value)) if whole else repr(float(field.value))


def _origin(line: tuple[Field, ...]) -> str:
    """One word, or one for each field that has an origin, in their order."""
    found = [field.origin for field in line if field.origin]
    return found[0] if len({*found}) == 1 else " ".join(found)


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text

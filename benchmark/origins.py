"""Who stands behind the figures of tables and documents, and how outputs say so."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.document import Document, Origin, Table

MEANINGS: Mapping[Origin, str] = {
    "measured": "by this program",
    "published": "by others, not measured here",
    "simulated": "made up to try the program: no hardware was measured",
}
"""In the order in which they are told."""


def of_table(table: Table) -> tuple[Origin, ...]:
    """Origins that occur in a table, in a fixed order."""
    found = {field.origin for line in table.lines for field in line} | {head.origin for head in table.heads}
    return tuple(origin for origin in MEANINGS if origin in found)


def of_document(document: Document) -> tuple[Origin, ...]:
    """Origins that occur in any table of its sections, in a fixed order."""
    found = {
        origin for section in document.sections for table in section.tables for origin in of_table(table)
    }
    return tuple(origin for origin in MEANINGS if origin in found)

"""Rows of the shipped documents, and differences.md: the errors that `published/checks.py` finds in them.

`python tests/importers/shipped.py` writes differences.md anew.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow as pa

from benchmark.config.folder import file_of, load_object, options
from benchmark.published import checks, documents
from benchmark.store.results import to_frame
from benchmark.store.schema import SCHEMA

GOLDEN = Path(__file__).with_name("differences.md")
NAMES = options("published")
DAY = datetime(2026, 11, 24, tzinfo=timezone.utc)


def document(name: str) -> documents.Document:
    return load_object(file_of("published", name), documents.Document)


@cache
def reading(name: str) -> documents.Reading:
    return documents.read(document(name))


def frame_of(rows: list) -> pd.DataFrame:
    return to_frame(pa.Table.from_pylist([dict(row.values) for row in rows], SCHEMA))


@cache
def frame(*names: str) -> pd.DataFrame:
    return frame_of(
        [row for name in names for row in documents.rows(document(name), reading(name).figures, DAY)]
    )


def text() -> str:
    lines = [
        "<!-- Generated: python tests/importers/shipped.py -->",
        "# What is wrong in the shipped documents",
        "",
        "Every difference that the rules of `benchmark/published/checks.py` find, by document.",
    ]
    for name in NAMES:
        lines += ["", f"## {name}", ""]
        lines += [f"- **{one.kind}**: {one.sentence}" for one in checks.differences(frame(name))] or [
            "- none"
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")

"""Models by compilers: what became of each pair, newest row first, as a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from benchmark.formatting import floored, significant

NEEDED = (
    *("model", "compiler", "fast_math", "model_dtype", "status", "stage", "error", "started_at", "hardware"),
    *(
        "compile_s",
        "artifact_bytes",
        "load_s",
        "latency_p50_ms",
        "cosine",
        "task",
        "cpu_model",
        "noise_flags",
    ),
)
"""Columns that it is made of."""
FIGURES = {
    "p50": "median of one call, ms",
    "compile": "seconds to compile",
    "size": "artefact, MB",
    "load": "seconds to load",
    "cosine": "least cosine to the fp32 reference",
}
"""What can stand in a field, and what it is."""


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """The newest row of every pair, `compiler` telling its arithmetic too."""
    named = rows.assign(compiler=[_column(row) for row in rows.itertuples()]).sort_values("started_at")
    return named.drop_duplicates(["model", "compiler"], keep="last").sort_values(["model", "compiler"])


def matrix(pairs: pd.DataFrame, figures: Iterable[str]) -> pd.DataFrame:
    """A row for each model and a column for each compiler, by what `newest` found.

    A field has the figures that were asked for, or the word for what became of the pair; it is empty where
    nothing was tried.
    """
    shown = [*figures]
    fields = [
        " / ".join(_figure(row, name) for name in shown) if row.status == "ok" else _word(row)
        for row in pairs.itertuples()
    ]
    table = pairs.assign(field=fields).pivot_table(
        index="model", columns="compiler", values="field", aggfunc="last"
    )
    return table.fillna("").reset_index()


def caption(pairs: pd.DataFrame, figures: Iterable[str]) -> str:
    """Where and when it was measured, and what stands in a field."""
    first, last = (f"{pairs['started_at'].agg(which):%Y-%m-%d}" for which in ("min", "max"))
    days = first if first == last else f"{first} to {last}"
    hosts = ", ".join(dict.fromkeys(pairs["cpu_model"].dropna()))
    legend = " / ".join(FIGURES[name] for name in figures)
    done = (pairs["status"] == "ok").sum()
    noisy = "p50" in figures and any(map(_is_noisy, pairs.itertuples()))
    doubt = " ~: something disturbed the calls." if noisy else ""
    return f"{days}, {hosts}: {done} of {len(pairs)} ok. A field: {legend}.{doubt}"


def _column(row: Any) -> str:
    """The compiler, and what its arithmetic is where that is not fp32."""
    if row.fast_math != "none":
        return f"{row.compiler} {row.fast_math}"
    plain = pd.isna(row.model_dtype) or row.model_dtype == "fp32"
    return str(row.compiler) if plain else f"{row.compiler} {row.model_dtype}"


def _word(row: Any) -> str:
    return "N/A" if row.status == "incompatible" else str(row.status)


def _figure(row: Any, name: str) -> str:
    value = {
        "p50": row.latency_p50_ms,
        "compile": row.compile_s,
        "size": None if pd.isna(row.artifact_bytes) else row.artifact_bytes / 1e6,
        "load": row.load_s,
        "cosine": row.cosine,
    }[name]
    if pd.isna(value):
        return "-"
    if name == "cosine":
        return floored(value, 4)
    return "~" * (name == "p50" and _is_noisy(row)) + significant(value)


def _is_noisy(row: Any) -> bool:
    return row.noise_flags is not None and len(row.noise_flags) > 0

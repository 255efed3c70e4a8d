"""Models by compilers as a table: the result of each pair, by its newest row."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from benchmark import axes
from benchmark.formatting import floored, significant
from benchmark.frames import with_columns
from benchmark.report.display import swept

_PAIR: Final = ("model", "compiler")
_SETUP: Final = axes.without(*_PAIR, "fast_math", "quantization")
"""Axes that may differ between the rows of a pair."""
NEEDED = (
    *swept.NEEDED,
    *("status", "stage", "error", "sequence", "started_at"),
    *("compile_s", "artifact_bytes", "load_s", "latency_p50_ms", "cosine", "cpu_model", "noise_flags"),
)
"""Columns that the table is made of."""
FIGURES = {
    "p50": "median of one call, ms",
    "compile": "seconds to compile",
    "size": "size of the artefact, MB",
    "load": "seconds to load",
    "cosine": "lowest cosine to the fp32 reference",
}
"""What a table can show, with its meaning."""
_NONE = "-"


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Newest row of every pair; its `compiler` includes quantisation or arithmetic other than fp32."""
    named = _named(rows).sort_values(["sequence", "started_at"], na_position="first")
    return named.drop_duplicates([*_PAIR], keep="last").sort_values([*_PAIR])


def of_one_batch(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows of the batch size that most pairs have, the smallest in a tie, and how to see the others.

    A table that mixed batch sizes would compare what can't be compared. Rows without a batch size stay.
    """
    pairs = _named(rows).dropna(subset="batch_size").drop_duplicates([*_PAIR, "batch_size"])
    counts = pairs["batch_size"].value_counts().sort_index()
    if len(counts) < 2:  # noqa: PLR2004 - several
        return rows, ""
    chosen = counts.idxmax()
    others = ",".join(str(size) for size in counts.index if size != chosen)
    kept = rows[rows["batch_size"].isna() | (rows["batch_size"] == chosen)]
    return kept, f"only batch {chosen} is shown; the condition batch={others} shows others"


def hidden(rows: pd.DataFrame) -> str:
    """How many pairs have rows of several configurations, and what differs; empty if none has."""
    options = {
        axes.BY_COLUMN[name].header: rows[name].astype(str).tolist() for name in _SETUP if name in rows
    }
    options |= {name: texts for name, texts in swept.swept(rows).items() if name not in options}
    named = _named(rows)
    pairs = pd.DataFrame(options, index=rows.index).groupby([named[key] for key in _PAIR])
    differ = pairs.nunique().gt(1)
    names = ", ".join(str(name) for name in differ if differ[name].any())
    if not names:
        return ""
    return (
        f"{differ.any(axis=1).sum()} of {len(differ)} pairs have rows that differ in {names}: "
        "the newest row is shown; conditions choose others"
    )


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose `compiler` includes quantisation or arithmetic other than fp32."""
    return with_columns(rows, compiler=[_column(row) for row in rows.itertuples()])


def matrix(pairs: pd.DataFrame, figure: str) -> pd.DataFrame:
    """Make a row for each model and a column for each compiler from the rows of `newest`.

    A field has the figure, or the status of a run that has none; it is empty where there is no row. Compilers
    without any such figure are left out, as eager of the time to compile.
    """
    fields = [_figure(row, figure) if row.status == "ok" else _word(row) for row in pairs.itertuples()]
    table = pairs.assign(field=fields).pivot_table(
        index="model", columns="compiler", values="field", aggfunc="last"
    )
    table = table.fillna("")
    return table.loc[:, ~table.isin(["", _NONE]).all()].reset_index()


def caption(pairs: pd.DataFrame) -> str:
    """Place and time of the measurements, and how many pairs work."""
    first, last = (f"{pairs['started_at'].agg(which):%Y-%m-%d}" for which in ("min", "max"))
    days = first if first == last else f"{first} to {last}"
    hosts = ", ".join(dict.fromkeys(pairs["cpu_model"].dropna()))
    done = (pairs["status"] == "ok").sum()
    return f"{days}, {hosts}: {done} of {len(pairs)} ok."


def legend(pairs: pd.DataFrame, figure: str) -> str:
    """What a field shows, and its marks, as far as they occur."""
    noisy = figure == "p50" and any(map(_is_noisy, pairs.itertuples()))
    marks = {
        "~": "other load disturbed the calls" if noisy else "",
        "N/A": "can't work anywhere" if (pairs["status"] == "incompatible").any() else "",
    }
    known = "".join(f"; {mark}: {meaning}" for mark, meaning in marks.items() if meaning)
    return f"{FIGURES[figure][:1].upper()}{FIGURES[figure][1:]}{known}"


def _column(row: Any) -> str:
    """Compiler, with its quantisation or its arithmetic where that is not fp32."""
    if not pd.isna(row.quantization):
        return f"{row.compiler} {row.quantization}"
    if not pd.isna(row.fast_math) and row.fast_math != "none":
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
        return _NONE
    if name == "cosine":
        return floored(value, 4)
    return "~" * (name == "p50" and _is_noisy(row)) + significant(value)


def _is_noisy(row: Any) -> bool:
    return row.noise_flags is not None and len(row.noise_flags) > 0

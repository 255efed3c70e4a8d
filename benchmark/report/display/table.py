"""Rows as text: a table that fits 80 columns, records or Markdown; failures, each reason once."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from benchmark import axes
from benchmark.formatting import counted, floored, significant
from benchmark.records import FastMath
from benchmark.report.display import accuracy, computed, swept
from benchmark.report.display.computed import BASE, FASTER, WIDTH
from benchmark.report.sanitize import inert
from benchmark.store import accuracies
from benchmark.store.repeats import KEYS, PROCESSES
from benchmark.store.schema import VERIFY_FLAGS

_LOWEST = "min\nms"
HEADERS: Mapping[str, str] = {
    **{name: axes.BY_COLUMN[name].header for name in axes.USUAL},
    "latency_min_ms": _LOWEST,
    "latency_p50_ms": "p50\nms",
    WIDTH: "±",
    "latency_p95_ms": "p95\nms",
    FASTER: "faster",
    "throughput_per_s": "per s",
    "cosine": "cosine",
    "status": "status",
}
"""Columns shown by default, with short headers; `--sort` takes both."""
OTHER_FIGURES: Mapping[str, str] = {
    "latency_mean_ms": "mean\nms",
    "latency_p90_ms": "p90\nms",
    "latency_p99_ms": "p99\nms",
    "first_token_p50_ms": "first\ntoken",
    "token_latency_p50_ms": "token\nms",
    "output_tokens_per_s": "tokens\nper s",
    "throughput_peak_per_s": "peak\nper s",
    "accuracy": "accuracy",
    "speedup_lo": "speedup",
}
"""Columns shown where a row has a figure there, but none by default: documents print what they like."""
_CHECK: Mapping[str, str] = {"relative_error": "relative\nerror", "verify_flags": "check"}
"""Columns shown where the comparison with the reference says little in a row."""
USUAL = tuple(name for name in HEADERS if name not in {WIDTH, FASTER})
"""Those of them that are columns of a row."""
NEEDED = (
    *dict.fromkeys(
        (
            *USUAL,
            *("samples", "steady", "noise_flags"),
            *("stage", "error", "repeat", *KEYS),
            *computed.NEEDED,
            *OTHER_FIGURES,
            *_CHECK,
            *accuracies.NEEDED,
            *swept.NEEDED,
        )
    ),
)
"""Columns that `print_rows` reads; any of them may be absent."""

_NAMES = ("model", "hardware", "compiler")
_FIGURES = ("latency_p50_ms", "latency_p95_ms", "throughput_per_s")
_LAST = ("cosine", "status")
_WHOLE = {"fast_math", "math", "±", "status", accuracy.FIGURE, accuracy.AGAINST}
"""Columns whose texts are never wrapped; names are wrapped instead."""
_FIGURE = re.compile(r"[<>]?[\d.,]+[%x]?°?")
"""Figures may stand among words: their column isn't folded either."""
_ANY_WIDTH = 10_000
_MOST_WIDTH = 160
"""Width up to which no option is left out, also where the terminal has less."""
_LEAST_WIDTH = 10
"""Characters that the column of a name or an option keeps, if its texts are that long."""
_FOLDED_WIDTH = 4
"""Characters that the column of a text keeps where figures need the width."""
_FEW = "few"
_ONE = "°"
"""Behind the width of an interval of one process."""
_WIDEST = 0.5
"""Half width above which an interval is no figure to go by."""
_WIDE = 0.1
"""Half width above which the lowest latency stands beside the median. Of the same cells of two commands, on a
host whose speed changes, the medians differed by 13 to 16 %, the lowest latencies by 1 to 8 % (2026-12)."""
_NOT_APPLICABLE = "N/A"
"""Word for `incompatible` in tables, as in the published ones."""
_SAME_ANSWERS = 0.9999
"""Cosine from which on the heading may say it of all rows: the limit of fp32 in `verify.min_cosine`."""
_LEGEND: Mapping[str, str] = {
    _FEW: "p95 needs at least 72 calls; try sampling=default or sampling.max_s=",
    _NOT_APPLICABLE: "incompatible: can't work anywhere; the reason is below",
    "noisy": "other load or throttling disturbed the calls; see noise_flags",
    "unsteady": "latency drifted or jumped within processes; try sampling.warmup_s=2",
}
_BASES: Mapping[str, str] = {
    "eager": "eager of the same model, size and machine",
    "slowest": "the slowest of the same model and size",
}
_LIST_HEAD = 8
"""Entries of a long list that a record shows."""


def print_rows(frame: pd.DataFrame, *, console: Console) -> None:
    """Print the usual columns and every option that differs, then every failure.

    Values that all rows share are printed once, above. The processes of a cell are one line; doubts about a
    figure stand beside it.
    """
    lines = computed.in_lines_of_cells(frame)
    swept_options = _options(lines)
    marked = _with_arithmetic(_marked(lines), lines, swept_options)
    headers = {**HEADERS, **_other_figures(lines)}
    check = _check(lines)
    shown = marked[[name for name in headers if name in marked and marked[name].notna().any()]]
    shown = shown.drop(columns=_spare(lines), errors="ignore")
    shown = shown[
        [*(name for name in shown if name not in _LAST), *(name for name in shown if name in _LAST)]
    ]
    answered = accuracy.columns(lines)
    shown, options = _with_options(shown, swept_options), [*swept_options]
    shown = _with_check(_with_check(shown, check), answered)
    names = {**headers, **_CHECK}
    shared = _above(shown, names, console)
    shown = shown.drop(columns=list(shared)).rename(columns=names)
    shown, agreement = _with_room(shown, lines, console)
    if shared or agreement or len(lines) < len(frame):
        heading = _heading(len(frame), len(lines), shared) + agreement
        console.print(Text(heading, style="dim"))
    table = _table(shown, lines=console.is_terminal, options=options)
    if _widths(table, console).maximum > console.width:
        narrow, hidden = _narrowed(shown), list[str]()
        table = _table(narrow, lines=console.is_terminal, options=options)
        while options and _least(narrow, table, console) > max(console.width, _MOST_WIDTH):
            hidden.insert(0, options.pop())
            narrow = narrow.drop(columns=hidden[0])
            table = _table(narrow, lines=console.is_terminal, options=options)
        least = _least(narrow, table, console) if options else 0
        if least > console.width:  # then nothing needs to be folded
            least = max(least, min(_widths(table, console).maximum, _MOST_WIDTH))
        _print_wide(table, max(least, _uncut(table, console)), console=console)
        if hidden:
            console.print(Text(f"differ too: {', '.join(hidden)}: choose fewer rows, or --md", style="dim"))
    else:
        console.print(table)
    for text in (*_legend(lines, shown), *accuracy.legend(lines, answered)):
        console.print(Text(text, style="dim"))
    for flags in check.get("verify_flags", pd.Series()).unique():
        for flag in filter(None, flags.split(", ")):
            console.print(Text(f"{flag}: {VERIFY_FLAGS.get(flag, flag)}".replace("`", ""), style="dim"))
    print_failures(frame, console=console)


def _widths(table: Table, console: Console) -> Measurement:
    return console.measure(table, options=console.options.update_width(_ANY_WIDTH))


def _least(frame: pd.DataFrame, table: Table, console: Console) -> int:
    """Width that a table needs if its names are folded and nothing else is."""
    names = [name for name in _NAMES if name in frame]
    longest = (max(len(_text(name, value)) for value in frame[name]) for name in names)
    return _widths(table, console).minimum - sum(max(0, length - _LEAST_WIDTH) for length in longest)


def _uncut(table: Table, console: Console) -> int:
    """Width that a table needs to show every figure as it is, and some characters a line of every text."""
    foldable = [column for column in table.columns if not column.no_wrap]
    words = (
        max((len(word) for cell in _cells_of(column) for word in cell.split()), default=0)
        for column in foldable
    )
    return _widths(table, console).minimum - sum(max(0, longest - _FOLDED_WIDTH) for longest in words)


def _cells_of(column: Column) -> list[str]:
    return [str(column.header), *map(str, column.cells)]


def _print_wide(table: Table, least: int, *, console: Console) -> None:
    """Print a table in the console's width, or in the least that it needs."""
    width = console.width
    console.width = max(width, least)
    console.print(table)
    console.width = width


def _other_figures(lines: pd.DataFrame) -> dict[str, str]:
    """Headers of the figures of rows that have none of the usual ones."""
    usual = [name for name in _FIGURES if name in lines]
    bare = lines[lines[usual].isna().all(axis=1)]
    return {
        name: header for name, header in OTHER_FIGURES.items() if name in bare and bare[name].notna().any()
    }


def markdown_usual(frame: pd.DataFrame) -> str:
    """The usual columns, and what `print_rows` adds, as a Markdown table: a line for each cell."""
    lines = computed.in_lines_of_cells(frame)
    options = _options(lines)
    marked = _with_arithmetic(_marked(lines), lines, options)
    usual = marked[[name for name in HEADERS if name in marked]].drop(columns=_spare(lines), errors="ignore")
    shown = _with_options(usual, options)
    return markdown_rows(_with_check(_with_check(shown, _check(lines)), accuracy.columns(lines)))


def _with_room(shown: pd.DataFrame, lines: pd.DataFrame, console: Console) -> tuple[pd.DataFrame, str]:
    """Make room for the lowest latency: what is shown, and what the heading says in place of a column."""

    def fits(frame: pd.DataFrame) -> bool:
        return _widths(_table(frame, lines=console.is_terminal), console).maximum <= console.width

    if _LOWEST not in shown or fits(shown):
        return shown, ""
    if "cosine" in shown and (lines["cosine"] >= _SAME_ANSWERS).all():
        without = shown.drop(columns="cosine")
        if fits(without):
            return without, f", cosine {_SAME_ANSWERS} or more"
    return shown.drop(columns=_LOWEST), ""


def _spare(lines: pd.DataFrame) -> list[str]:
    """Columns that say nothing more: the lowest latency where every median is known well."""
    wide = WIDTH in lines and (lines[WIDTH] > _WIDE).any()
    return [] if wide else ["latency_min_ms"]


def _options(lines: pd.DataFrame) -> pd.DataFrame:
    """The options that differ."""
    return pd.DataFrame(swept.swept(lines), index=lines.index)


def _with_arithmetic(shown: pd.DataFrame, lines: pd.DataFrame, options: pd.DataFrame) -> pd.DataFrame:
    """Show quantisation as the arithmetic, where it has no column of its own."""
    if "quantization" not in lines or "quantization" in options or "fast_math" not in shown:
        return shown
    return shown.assign(fast_math=lines["quantization"].astype(object).fillna(shown["fast_math"]))


def _check(lines: pd.DataFrame) -> pd.DataFrame:
    """Error and flags of the comparison with the reference; no columns where no row has a flag."""
    if "verify_flags" not in lines:
        return pd.DataFrame(index=lines.index)
    flags = lines["verify_flags"].map(lambda flags: "" if pd.api.types.is_scalar(flags) else ", ".join(flags))
    check = lines.reindex(columns=[*_CHECK]).assign(verify_flags=flags)
    return check if flags.any() else check[[]]


def _with_check(shown: pd.DataFrame, check: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of the comparison behind the cosine."""
    place = [*shown, "cosine"].index("cosine") + 1
    return pd.concat([shown.iloc[:, :place], check, shown.iloc[:, place:]], axis=1)


def _with_options(shown: pd.DataFrame, options: pd.DataFrame) -> pd.DataFrame:
    """Add the options that differ, after the sizes of the call."""
    place = sum(name in axes.USUAL for name in shown)
    return pd.concat([shown.iloc[:, :place], options, shown.iloc[:, place:]], axis=1)


def _marked(lines: pd.DataFrame) -> pd.DataFrame:
    """Write the computed columns, and doubts beside figures and the status."""
    marked = lines.copy()
    if WIDTH in lines:
        marked[WIDTH] = [_half_width(*both) for both in zip(lines[WIDTH], lines[PROCESSES], strict=True)]
    if FASTER in lines:
        marked[FASTER] = [None if pd.isna(times) else f"{significant(times)}x" for times in lines[FASTER]]
    if {"latency_p95_ms", "samples"} <= {*lines}:
        few = lines["latency_p95_ms"].isna() & lines["samples"].notna()
        if few.any():
            shown = [None if pd.isna(p95) else _figure(p95) for p95 in lines["latency_p95_ms"]]
            marked["latency_p95_ms"] = pd.Series(shown, index=lines.index).mask(few, _FEW)
    if {"steady", "noise_flags"} <= {*lines}:
        doubts = zip(lines["status"], lines["steady"], lines["noise_flags"], strict=True)
        marked["status"] = [_with_doubt(*doubt) for doubt in doubts]
    return marked


def _half_width(share: float, processes: int) -> str | None:
    if pd.isna(share):
        return None
    mark = _ONE * (processes == 1)
    if share > _WIDEST:
        return f">{_WIDEST:.0%}{mark}"
    return (f"{share:.0%}" if share >= 0.01 or share == 0 else "<1%") + mark  # noqa: PLR2004 - a per cent


def _with_doubt(status: str, steady: Any, flags: Any) -> str:
    if status != "ok":
        return _NOT_APPLICABLE if status == "incompatible" else status
    unsteady = not pd.isna(steady) and not steady
    noisy = flags is not None and not np.isscalar(flags) and len(flags)
    return "noisy" if noisy else "unsteady" if unsteady else status


def _legend(lines: pd.DataFrame, shown: pd.DataFrame) -> Iterator[str]:
    """Explain what stands in the columns, as far as it occurs."""
    found = {text for name in ("±", "p95\nms", "status") if name in shown for text in shown[name].dropna()}
    several = lines[PROCESSES] > 1
    if WIDTH in lines and lines[WIDTH].notna().any():
        over = "processes"
        if counts := sorted({*lines[PROCESSES][several & lines[WIDTH].notna()]}):
            over = f"{counts[0]} to {counts[-1]} processes" if counts[1:] else f"{counts[0]} processes"
        if several.any():
            yield f"±: half width of the 95 % interval of p50 over {over}"
        if any(str(text).endswith(_ONE) for text in found):
            yield f"{_ONE}: of this process only; another may differ by more: sampling.repeats=5"
    if _LOWEST in shown:
        yield "min: lowest latency; repeats better than p50 where the host changes its speed"
    if FASTER in lines:
        yield from (f"faster: compared with {_BASES[base]}" for base in lines[BASE].dropna().unique())
    yield from (f"{mark}: {meaning}" for mark, meaning in _LEGEND.items() if mark in found)


def print_table(frame: pd.DataFrame, *, console: Console) -> None:
    """Print all columns under their own names, in several lines where the width is too small."""
    table = _table(frame, lines=console.is_terminal)
    if _widths(table, console).maximum > console.width:
        heads = [_in_lines(str(name), max(map(len, texts), default=0)) for name, texts in _columns(frame)]
        table = _table(frame, lines=console.is_terminal, heads=heads)
    _print_wide(table, _uncut(table, console), console=console)


def _in_lines(name: str, width: int) -> str:
    """A column's name, broken behind underscores into lines of this width, or of its longest part."""
    parts = re.findall("[^_]*_?", name)
    width = max(width, *map(len, parts))
    lines = [""]
    for part in parts:
        if len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def print_records(frame: pd.DataFrame, *, console: Console) -> None:
    """Print each row as a block of lines, one for each column that has a value."""
    for number, row in enumerate(_texts(frame)):
        grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, cell in zip(frame.columns, row, strict=True):
            if cell:
                grid.add_row(Text(str(name)), Text(cell))
        if number:
            console.print()
        console.print(grid)


def print_failures(frame: pd.DataFrame, *, console: Console) -> None:
    """Print status, stage and reason of rows that are not ok: equal ones once, with their count."""
    failed = frame.reindex(columns=["status", "stage", "error"])[lambda rows: rows["status"] != "ok"]
    failed = failed.astype(object).where(failed.notna(), "")
    failed["error"] = failed["error"].map(lambda error: error.strip().partition("\n")[0])
    for (status, stage, reason), rows in failed.groupby(["status", "stage", "error"], sort=False):
        where = f" at {stage}" if stage else ""
        console.print(
            Text.assemble(f"{len(rows)} x ", (f"{status}{where}", "red"), f": {reason}" * bool(reason))
        )


def markdown_rows(frame: pd.DataFrame) -> str:
    """All columns and rows as a Markdown table."""
    lines = [[inert(str(name)) for name in frame.columns], ["---"] * len(frame.columns)]
    lines += [[inert(cell) for cell in row] for row in _texts(frame)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _table(
    frame: pd.DataFrame, *, lines: bool, options: Collection[str] = (), heads: Sequence[str] = ()
) -> Table:
    """Figures are aligned right and never wrapped; long names wrap where the width is too small."""
    look = box.SIMPLE_HEAD if lines else None
    table = Table(box=look, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    names = list(map(str, frame.columns))
    rows = [*_texts(frame)]
    for place, name in enumerate(names):
        figures = pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
        whole = figures or name in _WHOLE or any(_FIGURE.fullmatch(row[place]) for row in rows)
        most = _LEAST_WIDTH if name in options else _FOLDED_WIDTH
        least = None if whole else min(max((len(row[place]) for row in rows), default=0), most)
        side: Literal["right", "left"] = "right" if figures else "left"
        table.add_column(
            Text(heads[place] if heads else name),
            justify=side,
            overflow="fold",
            no_wrap=whole,
            min_width=least,
        )
    for row in rows:
        table.add_row(*(Text(cell, style=_style(name, cell)) for name, cell in zip(names, row, strict=True)))
    return table


def _narrowed(frame: pd.DataFrame) -> pd.DataFrame:
    """Save width: a name that equals the one in the row above is not repeated."""
    narrow = frame.copy()
    changed = pd.Series(data=False, index=frame.index)
    for name in _NAMES:
        if name in narrow:
            changed = changed | (frame[name] != frame[name].shift())
            narrow[name] = frame[name].where(changed, "")
    return narrow


def _heading(rows: int, lines: int, shared: Mapping[str, str]) -> str:
    """How many rows a table shows, and the values that all of them have."""
    text = counted(rows, "row")
    if rows == 1:
        return (
            f"1 row, {', '.join(f'{_condition_on(name, value)}={value}' for name, value in shared.items())}"
        )
    if lines < rows:
        text += f" in {counted(lines, 'line')} (one per cell)"
    if not shared:
        return text
    *first, last = [f"{_condition_on(name, value)}={value}" for name, value in shared.items()]
    return f"{text}, all with {', '.join(first)}{' and ' * bool(first)}{last}"


def _condition_on(name: str, value: str) -> str:
    """Column by which rows with this value are chosen: the arithmetic of a table may be the quantisation."""
    return "quantization" if name == "fast_math" and value not in get_args(FastMath) else name


def _above(frame: pd.DataFrame, names: Mapping[str, str], console: Console) -> dict[str, str]:
    """Values that stand above the table: those that all rows share; of one row all, where they don't fit."""
    if len(frame) == 1:
        alone = frame.rename(columns=names)
        if _least(alone, _table(alone, lines=console.is_terminal), console) <= console.width:
            return {}
    return _values(frame)


def _values(frame: pd.DataFrame) -> dict[str, str]:
    """Values of the usual axes that all rows have."""
    values = {name: {_text(name, value) for value in frame[name]} for name in axes.USUAL if name in frame}
    return {name: texts.pop() for name, texts in values.items() if len(texts) == 1}


def _texts(frame: pd.DataFrame) -> Iterator[list[str]]:
    return map(list, zip(*(texts for _, texts in _columns(frame)), strict=True))


def _columns(frame: pd.DataFrame) -> Iterator[tuple[Any, list[str]]]:
    return ((name, [_text(str(name), value) for value in frame[name]]) for name in frame)


def _text(name: str, value: Any) -> str:
    if isinstance(value, (dict, list, np.ndarray)):
        return _nested(value)
    if pd.isna(value):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (float, np.floating)):
        return floored(float(value)) if name == "cosine" else _figure(float(value))
    return str(value)


def _nested(value: dict[str, Any] | list[Any] | np.ndarray[Any, Any]) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={entry}" for key, entry in value.items())
    more = f", … {len(value)} in all" if len(value) > _LIST_HEAD else ""
    return ", ".join(map(str, value[:_LIST_HEAD])) + more


def _figure(value: float) -> str:
    """With an exponent only where a reader can't do without."""
    readable = value == 0 or 1e-3 <= abs(value) < 1e9  # noqa: PLR2004 - what still reads well
    return significant(value) if readable or not math.isfinite(value) else f"{value:.2e}"


def _style(name: str, cell: str) -> str:
    if name != "status":
        return ""
    return {"ok": "green", "noisy": "yellow", "unsteady": "yellow"}.get(cell, "red")

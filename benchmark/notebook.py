"""For a notebook: run a grid and get its rows, draw them, make a report. `import benchmark` offers all of it.

rows = benchmark.run("model=bert_tiny", batch=[1, 8], compiler=["eager", "openvino"])
benchmark.plot(rows)
benchmark.results.load(where="model=bert_tiny")
benchmark.compare("compiler=eager", "compiler=openvino")
benchmark.make_report("overview", out="report")
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow.dataset as ds

from benchmark.cell import cell_of
from benchmark.cli.compare import stored
from benchmark.cli.error_messages import in_one_sentence
from benchmark.cli.report import composed, made
from benchmark.cli.run import INTERRUPTED
from benchmark.cli.start import start
from benchmark.config.sweep import compose_grid
from benchmark.errors import ConfigError, LibraryMissing
from benchmark.frames import with_columns
from benchmark.host import libraries, machine
from benchmark.report import files
from benchmark.report.display.computed import in_lines_of_cells
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame, with_samples

if TYPE_CHECKING:
    import altair as alt

    from benchmark.report.document import Document

_PLAIN: Final = re.compile(r"[\w.:/@-]+")
_LOGARITHMIC: Final = frozenset({"batch_size", "sequence_length", "replicas", "workers"})
"""Columns whose values are mostly powers of two."""


def run(*overrides: str, **axes: object) -> pd.DataFrame:
    """Run a grid, as `python -m benchmark -m` does, and return a line for each of its cells, in their order.

    A list is an axis; keys with a dot are texts: `run("compiler.fast_math=none,all", batch=[1, 8])`.
    A cell that has its row in the campaign doesn't run again. One that fails is a line with its status.

    Raises:
        ConfigError: the overrides are wrong, or no cell can ever run.
        KeyboardInterrupt: it was stopped. What is done is stored; the same call with its campaign goes on.
    """
    words = [*overrides, *(f"{key}={_written(value)}" for key, value in axes.items())]
    with _as_command("-m", *words), in_one_sentence():
        grid = compose_grid(words)
        if start(grid.experiments, grid.excluded) == INTERRUPTED:
            raise KeyboardInterrupt
    first = grid.experiments[0]
    store = ResultsStore(first.store_root)
    rows = with_samples(to_frame(store.table(among=ds.field("campaign") == first.campaign)), store)
    order = {cell_of(e).cell_id: place for place, e in enumerate(grid.experiments)}
    lines = in_lines_of_cells(rows[rows["cell_id"].isin(order)])
    return lines.sort_values("cell_id", key=lambda ids: ids.map(order)).reset_index(drop=True)


def compare(  # noqa: PLR0913 - as the command has
    baseline: str,
    candidate: str,
    *,
    percentile: int = 50,
    threshold: float = 0.02,
    store: str = DEFAULT_ROOT,
    simulated: bool = False,
) -> pd.DataFrame:
    """Say of each cell whether the candidate is slower, as `python -m benchmark compare` does by stored rows.

    Each side is a campaign, a run_id, or conditions. `ratio` is candidate / baseline, with a 99 % interval.

    Raises:
        ConfigError: a side has no rows, or the sides have no cell in common.
    """
    with in_one_sentence():
        _, found = stored(
            ResultsStore(store), (baseline, candidate), percentile, threshold, simulated=simulated
        )
    lines = [
        {
            **one.cell,
            "baseline_ms": one.base,
            "candidate_ms": one.candidate,
            "ratio": one.ratio_test.ratio,
            "ratio_lo": one.ratio_test.lo,
            "ratio_hi": one.ratio_test.hi,
            "verdict": one.ratio_test.verdict,
            "confirmed": one.confirmed,
        }
        for one in found
    ]
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def plot(
    lines: pd.DataFrame, y: str = "latency_p50_ms", x: str = "batch_size", color: str = "compiler"
) -> alt.Chart:
    """Draw a figure of each line by an axis, a colour for each compiler, with its interval where it has one.

    Lines that differ in other ways than these two stand in panels. The subtitle says machine and date.

    Raises:
        ConfigError: there is no such column, or no line has the figure.
        LibraryMissing: altair is not installed.
    """
    try:
        import altair as alt
    except ImportError as error:
        raise LibraryMissing(f"altair is not installed: {libraries.command_for('report')}") from error
    if missing := [name for name in (x, y, color) if name not in lines]:
        raise ConfigError(f"{missing[0]}: no such column; `list(lines)` shows them")
    bounds = [name for name in (f"{y}_lo", f"{y}_hi") if name in lines]
    panels = [name for name in ("model", "hardware", "sequence_length") if len(set(lines[name])) > 1]
    panels = [name for name in panels if name not in {x, color}]
    shown = lines[lines[y].notna()]
    if shown.empty:
        raise ConfigError(f"{y}: no line has it: their status is {', '.join(sorted(set(lines['status'])))}")
    names = (
        " ".join(str(one) for one in line if pd.notna(one)) for line in shown[panels].itertuples(index=False)
    )
    shown = with_columns(shown, panel=list(names))
    kept = shown[[*dict.fromkeys([x, y, color, *bounds, "panel"])]]
    scale = alt.Scale(type="log", base=2) if x in _LOGARITHMIC else alt.Undefined
    across = alt.X(x, type="quantitative", scale=scale, axis=alt.Axis(values=sorted(set(shown[x].dropna()))))
    base = alt.Chart(kept.astype({x: float, y: float})).encode(
        x=across, color=alt.Color(color, type="nominal")
    )
    drawn: Any = base.mark_line(point=True).encode(y=alt.Y(y, type="quantitative"))
    if len(bounds) == 2:  # noqa: PLR2004 - a pair
        drawn += base.mark_rule().encode(y=alt.Y(bounds[0], type="quantitative", title=y), y2=bounds[1])
    if panels:
        drawn = drawn.facet(facet=alt.Facet("panel", type="nominal", title=None), columns=2)
    return drawn.properties(title=alt.Title(f"{y} by {x}", subtitle=_origin(shown)))  # type: ignore[no-any-return]


class Page:
    """A report: shows itself in a notebook, and writes its files."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def _repr_html_(self) -> str:
        return files.html_page(self.document)

    def write(self, out: str | Path, only: str = "") -> None:
        """Write its files into a folder; `only` names formats, as `--only` does."""
        files.write(self.document, Path(out), files.formats(only))


def make_report(
    name: str = "overview",
    *words: str,
    out: str | Path | None = None,
    store: str = DEFAULT_ROOT,
    simulated: bool = False,
) -> Page:
    """Make a report as `python -m benchmark report` does; `words` are its conditions and prices.

    Raises:
        ConfigError: the report, a key, a price or a condition doesn't exist, or no row belongs to it.
    """
    with _as_command("report", name, *words), in_one_sentence():
        page = Page(made(composed(name, words), ResultsStore(store), machine.command(), simulated=simulated))
    if out is not None:
        page.write(out)
    return page


def _written(value: object) -> str:
    """A value, or the values of an axis, as an override has them."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(_written, value))
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value)
    return json.dumps(value)


@contextmanager
def _as_command(*words: str) -> Iterator[None]:
    """Let rows and pages have the command that does the same."""
    before = sys.argv
    sys.argv = [*before[:1], *words]
    try:
        yield
    finally:
        sys.argv = before


def _origin(lines: pd.DataFrame) -> str:
    """Machines and days of the lines."""
    days = pd.to_datetime(lines["finished_at"]).dt.date
    machines: Sequence[str] = sorted(set(lines["device_name"].dropna()))
    first, last = days.min(), days.max()
    return f"{', '.join(machines)}, {first}" + ("" if first == last else f" to {last}")

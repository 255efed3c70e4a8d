"""Progress of a grid: a bar on a terminal, one plain line a cell everywhere else, failures at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from typing_extensions import Self

from benchmark.cell import Plan
from benchmark.records import Row


class Progress:
    """Watches a grid for a person."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._total = len(plan.pending)
        self._done = 0
        self._label = ""
        self._reasons: set[str] = set()
        self._since = time.perf_counter()
        self._announce(plan)
        self._bar = Bar(
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, label: str) -> None:
        """Name the cell that begins."""
        self._label = label
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name the stage beside the bar while it lasts."""
        self._bar.update(self._task, description=escape(f"{self._label}: {name}"))
        yield

    def finished(self, row: Row) -> None:
        """One line for the cell; a failure says why."""
        self._done += 1
        self._bar.advance(self._task)
        took = time.perf_counter() - self._since
        head = f"[{self._done}/{self._total}] {self._label}: {row.status}"
        style = "red" if row.status not in {"ok", "incompatible"} else None
        self._console.print(
            head + self._tail(row, took), style=style, markup=False, highlight=False, soft_wrap=True
        )

    def _tail(self, row: Row, took: float) -> str:
        if row.status != "ok":
            reason = f" at {row.values['stage']}: {str(row.values['error']).splitlines()[0]}"
            known = reason in self._reasons
            self._reasons.add(reason)
            return " for the same reason" if known else reason
        made = {True: ", cache hit", False: ", compiled", None: ""}[row.values.get("cache_hit")]
        p50 = row.values["latency_p50_ms"]
        told = f"{p50:.3g}" if p50 < 1000 else f"{p50:.0f}"  # noqa: PLR2004 - 3 figures, no exponent
        return f" p50 {told} ms ({took:.1f} s{made})"

    def _announce(self, plan: Plan) -> None:
        done = len(plan.runs) - len(plan.pending)
        notes = [f"{len(plan.runs)} cell{'s' if len(plan.runs) != 1 else ''}"]
        notes += [f"{done} done before"] if done else []
        notes += [f"{plan.duplicates} equal to another and left out"] if plan.duplicates else []
        self._console.print(", ".join(notes), highlight=False)

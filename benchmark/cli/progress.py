"""Progress of a grid: a bar and one line per busy device on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live as Display
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from benchmark.formatting import significant
from benchmark.pipeline.progress import Live
from benchmark.records import Row, Shape


class Progress:
    """Watches a grid for a person. It draws when something happens: a timer would disturb what is timed."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console, self._live = console, live
        self._reasons: set[str] = set()
        self._since = time.perf_counter()
        self._announce()
        self._display = Display(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    @contextmanager
    def working(self, where: str, label: str, stage: str) -> Iterator[None]:
        """Show the stage of a cell while it lasts."""
        with self._live.working(where, label, stage):
            self._draw()
            yield

    def finished(self, row: Row) -> None:
        """One line for the cell; a failure says why."""
        self._live.finished(row)
        took, self._since = time.perf_counter() - self._since, time.perf_counter()
        total = len(self._live.plan.queue)
        head = f"[{self._live.finished_cells}/{total}] {label(row)}: {row.status}"
        failed = row.status not in {"ok", "incompatible"}
        self._say(head + self._tail(row, took), style="red" if failed else None)
        self._draw()

    def skipped(self, run_id: str, label: str) -> None:
        """One line for a cell that needn't be measured any more."""
        self._live.skipped(run_id)
        self._since = time.perf_counter()
        total = len(self._live.plan.queue)
        self._say(f"[{self._live.finished_cells}/{total}] {label}: done by another command", style=None)
        self._draw()

    def _say(self, text: str, style: str | None) -> None:
        if self._console.is_terminal:
            self._console.print(Text(text, style=style or ""), soft_wrap=True)
        else:
            self._console.file.write(f"{text}\n")
            self._console.file.flush()

    def _draw(self) -> None:
        if self._display.is_started:
            self._display.update(self._picture(), refresh=True)

    def _picture(self) -> Group:
        live, total = self._live, len(self._live.plan.queue)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(1, total), completed=live.finished_cells, width=24), Text(self._sums())
        )
        lines = [
            Text(f"{where}  {at.label}: {at.stage}", style="dim", no_wrap=True, overflow="ellipsis")
            for where, at in sorted(live.busy.items())
        ]
        return Group(*lines, bar)

    def _sums(self) -> str:
        live, total = self._live, len(self._live.plan.queue)
        told = [f"{live.finished_cells}/{total}"]
        if (eta := live.eta_s) is not None:
            told.append(f"{duration(eta)} left")
        if live.budget.usd is not None:
            limit = f" of ${live.budget.limits.usd:.2f}" if live.budget.limits.usd else ""
            told.append(f"${live.budget.usd:.2f}{limit}")
        told.append(" ".join(f"{status} {count}" for status, count in live.statuses.most_common()))
        return " · ".join(part for part in told if part)

    def _tail(self, row: Row, took: float) -> str:
        if row.status != "ok":
            reason = f" at {row.values['stage']}: {str(row.values['error']).splitlines()[0]}"
            known = reason in self._reasons
            self._reasons.add(reason)
            return " for the same reason" if known else reason
        made = {True: ", cache hit", False: ", compiled", None: ""}[row.values.get("cache_hit")]
        p50 = significant(row.values["latency_p50_ms"])
        return f" p50 {p50} ms ({took:.1f} s{made})"

    def _announce(self) -> None:
        plan, live = self._live.plan, self._live
        done = len(plan.runs) - len(plan.queue)
        notes = [f"{len(plan.runs)} cell{'s' if len(plan.runs) != 1 else ''}"]
        notes += [f"{done} done before"] if done else []
        notes += [f"{plan.duplicates} equal to another and left out"] if plan.duplicates else []
        notes += [f"{len(plan.excluded)} excluded"] if plan.excluded else []
        if plan.queue and live.eta_s:
            notes.append(f"about {duration(live.eta_s)} by the medians of the store")
        self._say(", ".join(notes), style=None)


def label(row: Row) -> str:
    """A row's cell in a few words."""
    told = row.values
    names = [told["model"], told["hardware"], told["compiler"], told["fast_math"]]
    axes: dict[str, Any] = {field.name: told.get(field.name) for field in fields(Shape)}
    return " ".join([*map(str, names), Shape(**axes).label])


def duration(seconds: float) -> str:
    """Seconds in the largest two units."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes_rest = divmod(minutes, 60)
    return f"{hours} h {minutes_rest:02d} min" if hours else f"{minutes} min {rest:02d} s"

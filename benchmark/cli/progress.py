"""Progress of a grid: a bar and one line per busy device on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from types import TracebackType
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from benchmark.cell import PlannedRun
from benchmark.cli.cell_lines import CellLines
from benchmark.formatting import counted
from benchmark.pipeline.estimate import Forecast
from benchmark.pipeline.progress import Busy, GridProgress
from benchmark.records import Row
from benchmark.report.display.swept import swept_in_grid

_NAMES: Final = ("model", "hardware", "compiler", "task", "scenario")
_TIMED: Final = frozenset({"peak", "measure"})
"""Stages in which calls are timed."""
_TICK_S: Final = 1.0
_ANSWERS_TICK_S: Final = 10.0
"""Between drawings while a data set is answered: that lasts long, and one drawing takes milliseconds."""


class ProgressDisplay:
    """Shows the state of a grid. It draws when the state changes, and each second while nothing is timed.

    While calls are timed, a clock on the screen would disturb them: the line says when they began. Of a data
    set that is answered it says the share, now and then.
    """

    def __init__(
        self, console: Console, state: GridProgress, host_of: Callable[[Row], str] = lambda _: ""
    ) -> None:
        """`host_of` names the host of a row where there are several."""
        self._console, self._state = console, state
        self._lines = CellLines(state.plan, state.labels, host_of)
        self._repeats = {run.run_id: run.repeat for run in state.plan.queue}
        self._round = 0
        self._answering = {run.run_id for run in state.plan.queue if run.cell.experiment.scenario.labelled}
        self._tick_s = _TICK_S
        self._awaited: set[str] = set()
        self._announce()
        self._display = Live(console=console, auto_refresh=False, transient=True)
        self._is_over, self._may_tick = Event(), Event()
        self._clock = Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._display.start()
            self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._may_tick.set()
        if self._clock.is_alive():
            self._clock.join()
        self._display.stop()

    def _tick(self) -> None:
        while self._may_tick.wait() and not self._is_over.is_set():
            self._draw()
            self._is_over.wait(self._tick_s)

    @contextmanager
    def working(self, where: str, run_id: str, stage: str) -> Iterator[None]:
        """Show a cell in a stage while the block runs."""
        with self._state.working(where, run_id, stage):
            answers = run_id in self._answering and stage == "measure"
            self._tick_s = _ANSWERS_TICK_S if answers else _TICK_S
            if stage in _TIMED and not answers:
                self._may_tick.clear()
            else:
                self._may_tick.set()
            self._draw()
            yield

    def waiting(self, where: str, run_id: str, holder: str) -> None:
        """Show which command a cell waits for; without a terminal as a line, once for each command."""
        self._state.waiting(where, run_id, holder)
        command = holder.partition(" has it since ")[0]
        if not self._console.is_terminal and command not in self._awaited:
            self._awaited.add(command)
            self._say(f"waiting for the host: {holder}", style=None)
        self._draw()

    def finished(self, row: Row) -> None:
        """Print one line for a cell after its last process, and for a failure at once."""
        if self._repeats[row.run_id] > self._round:
            if not self._console.is_terminal:  # a log then shows that the command goes on
                self._say(f"round {self._repeats[row.run_id]} done: {self._sums()}", style=None)
            self._round = self._repeats[row.run_id]
        self._state.finished(row)
        failed = row.status not in {"ok", "incompatible"}
        self._say(self._lines.finished(row), style="red" if failed else None)
        self._draw()

    def skipped(self, run_id: str) -> None:
        """Count a run that another command has finished; print one line for its cell."""
        self._state.skipped(run_id)
        self._say(self._lines.skipped(run_id), style=None)
        self._draw()

    def unneeded(self, run_id: str) -> None:
        """Count a run that its cell doesn't need; print the line of the cell."""
        self._state.unneeded(run_id)
        self._say(self._lines.unneeded(run_id), style=None)
        self._draw()

    def _say(self, text: str, style: str | None) -> None:
        if not text:
            return
        if self._console.is_terminal:
            self._console.print(Text(text, style=style or ""), soft_wrap=True)
        else:
            self._console.file.write(f"{text}\n")
            self._console.file.flush()

    def _draw(self) -> None:
        if self._display.is_started:
            self._display.update(self._drawing(), refresh=True)

    def _drawing(self) -> Group:
        state, total = self._state, len(self._state.plan.queue)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(1, total), completed=state.finished_cells, width=24), Text(self._sums())
        )
        lines = [
            Text(f"{where}  {at.label}: {self._at(at)}", style="dim", no_wrap=True, overflow="ellipsis")
            for where, at in sorted(state.busy.items())
        ]
        return Group(*lines, bar)

    def _at(self, at: Busy) -> str:
        """What a cell is at, and for how long, or since when where no clock may run."""
        answering = at.run_id in self._answering and at.stage in {"items", "measure"}
        share = self._state.paths.answered if answering else None
        answered = "" if share is None else f", {share:.0%} answered"
        if at.stage in _TIMED:
            return f"{at.stage} since {time.strftime('%H:%M:%S', time.localtime(at.since))}{answered}"
        return f"{at.work}, {duration(time.time() - at.since)}{answered}"

    def _sums(self) -> str:
        state, total = self._state, len(self._state.plan.queue)
        several = total > len({run.processes_of for run in state.plan.queue})
        sums = [f"{state.finished_cells}/{total}{' processes' * several}"]
        if state.time_left.ahead.runs:
            sums.append(f"{duration(state.time_left.seconds)} left")
        if state.budget.usd is not None:
            limit = f" of ${state.budget.limits.usd:.2f}" if state.budget.limits.usd else ""
            sums.append(f"${state.budget.usd:.2f}{limit}")
        sums.append(" ".join(f"{status} {count}" for status, count in state.statuses.most_common()))
        return " · ".join(part for part in sums if part)

    def _announce(self) -> None:
        plan, state = self._state.plan, self._state
        done = len(plan.runs) - len(plan.queue)
        cells = len(plan.of_cells)
        notes = [counted(cells, "cell")]
        notes += [f"{len(plan.runs)} processes at most"] if len(plan.runs) > cells else []
        notes += [f"{done} done before"] if done else []
        notes += [f"{plan.duplicates} equal to another and left out"] if plan.duplicates else []
        notes += [f"{len(plan.excluded)} excluded"] if plan.excluded else []
        if state.time_left.ahead.runs:
            notes.append(time_ahead(state.time_left.ahead))
        self._say(", ".join(notes), style=None)


def time_ahead(ahead: Forecast) -> str:
    """How long a grid takes, and what that rests on."""
    seconds = estimated(ahead.seconds, at_least=ahead.at_least)
    return f"{seconds if round(ahead.seconds) else 'less than 1 s'}, {ahead.basis}"


def estimated(seconds: float, *, at_least: bool) -> str:
    """A time that was estimated; `at_least`: from the minimum times of a sampling."""
    return f"{'at least' if at_least else 'about'} {duration(seconds)}"


def labels(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """A name for each run: its cell, and the options whose values differ in the grid."""
    options = options_that_differ(runs)
    options.pop("quantization", None)  # in the name of the cell
    return {
        run.run_id: " ".join(
            [
                run.cell.label,
                *(f"{key}={texts[place]}" for key, texts in options.items() if texts[place]),
                *([f"process {run.repeat + 1}"] if run.cell.experiment.sampling.repeats > 1 else []),
            ]
        )
        for place, run in enumerate(runs)
    }


def options_that_differ(runs: Sequence[PlannedRun]) -> dict[str, list[str]]:
    """Values of each option that differs in the grid, by its header: one for each run."""
    cells = [run.cell.experiment for run in runs]
    names = {name: [getattr(e, name).name for e in cells] for name in _NAMES}
    return swept_in_grid(names, [e.overrides for e in cells], [e.composed for e in cells])


def duration(seconds: float) -> str:
    """Seconds in the largest two units."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes_rest = divmod(minutes, 60)
    return f"{hours} h {minutes_rest:02d} min" if hours else f"{minutes} min {rest:02d} s"

"""Progress of a race: one live line on a terminal, a line for each round elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text
from typing_extensions import Self

from benchmark.cli.progress import duration
from benchmark.formatting import counted
from benchmark.pipeline.progress import GridProgress
from benchmark.records import Row
from benchmark.tuning.race import Race
from benchmark.tuning.verdict import figure


class RaceDisplay:
    """Shows the leader, the rivals left and the time left. It draws between looks, never beside one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._display = Live(console=console, auto_refresh=False, transient=True)
        self._state: GridProgress | None = None
        self._line, self._looks = "", 0
        self._shown = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    @property
    def state(self) -> GridProgress | None:
        """Progress of the round under way."""
        return self._state

    def begin(self, state: GridProgress, line: str) -> None:
        """Show a round that begins; `line` says where the race stands."""
        self._state, self._line, self._looks = state, line, 0
        if not self._console.is_terminal and line != self._shown:
            self._shown = line
            self._console.file.write(f"{line}\n")
            self._console.file.flush()
        self._draw()

    @contextmanager
    def working(self, where: str, run_id: str, stage: str) -> Iterator[None]:
        """A cell is in this stage while the block lasts."""
        assert self._state is not None  # noqa: S101 - a round has begun
        with self._state.working(where, run_id, stage):
            yield

    def waiting(self, where: str, run_id: str, holder: str) -> None:
        """Say once for each round which command the race waits for."""
        assert self._state is not None  # noqa: S101
        self._state.waiting(where, run_id, holder)
        self._console.print(f"waiting for the host: {holder}", markup=False, highlight=False)

    def finished(self, row: Row) -> None:
        """Count a look that has its row; print failures."""
        assert self._state is not None  # noqa: S101
        self._state.finished(row)
        self._looks += 1
        if row.status != "ok":
            error = str(row.values["error"] or "").partition("\n")[0]
            name = self._state.labels[row.run_id]
            self._console.print(
                f"{name}: {row.status}: {error}", style="red", markup=False, highlight=False, soft_wrap=True
            )
        self._draw()

    def skipped(self, run_id: str) -> None:
        """Another command has taken this look."""
        assert self._state is not None  # noqa: S101
        self._state.skipped(run_id)

    def unneeded(self, run_id: str) -> None:
        """A race has no look that isn't needed."""

    def _draw(self) -> None:
        if self._display.is_started and self._state is not None:
            of = f"look {self._looks} of {len(self._state.plan.queue)}"
            self._display.update(
                Text(f"{self._line} · {of}", overflow="ellipsis", no_wrap=True), refresh=True
            )


def standing_line(race: Race, labels: list[str], objectives: tuple[str, ...], left_s: float | None) -> str:
    """Round, leader, rivals left, minutes left."""
    now = race.standing
    parts = [f"round {race.rounds + 1}"]
    if now.front:
        leader = now.front[0]
        parts.append(f"leader {labels[leader]} {figure(race, leader, objectives)}")
        parts.append(f"{counted(len(now.rivals), 'rival')} left")
    if race.dropped:
        parts.append(f"{len(race.dropped)} dropped")
    if now.waiting:
        parts.append(f"{len(now.waiting)} to come")
    if left_s is not None:
        parts.append(f"{duration(max(0.0, left_s))} left")
    return " · ".join(parts)

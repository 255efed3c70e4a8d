"""Lines of progress: one for each cell when its last process is done, and one at once for what failed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import geometric_mean
from typing import Any, Final

from benchmark.cell import Plan
from benchmark.formatting import counted, limits_in_words, significant
from benchmark.records import Row

_LONG_WAIT_S: Final = 1.0


class CellLines:
    """Collects the rows of each cell of a grid, and writes its line."""

    def __init__(
        self, plan: Plan, labels: Mapping[str, str], host_of: Callable[[Row], str] = lambda _: ""
    ) -> None:
        """`labels` has a name for each run of the queue, by run_id; `host_of` the name of a row's host."""
        self._labels, self._host_of = labels, host_of
        self._runs = {run.run_id: run for run in plan.queue}
        self._left = Counter(run.processes_of for run in plan.queue)
        self._rows = defaultdict[Any, list[Row]](list)
        """Of cells that go on."""
        self._done: set[Any] = set()
        self._reasons: set[str] = set()

    def finished(self, row: Row) -> str:
        """The line for a row that was stored; empty if its cell goes on."""
        cell = self._count(row.run_id)
        if row.status != "ok":
            where = f" on {host}" if (host := self._host_of(row)) else ""
            text = f"{row.status}{where}{self._reason(row)}"
            return self._line(row.run_id, text, self._labels[row.run_id])
        self._rows[cell].append(row)
        return "" if self._left[cell] else self._line(row.run_id, self._measured(self._rows.pop(cell)))

    def skipped(self, run_id: str) -> str:
        """The line for a run that another command has finished; empty if its cell goes on."""
        cell = self._count(run_id)
        if self._left[cell] or cell in self._done:
            return ""
        rows = self._rows.pop(cell, ())
        return self._line(run_id, self._measured(rows) if rows else "done by another command")

    def unneeded(self, run_id: str) -> str:
        """The line for a cell that needs no further process; empty if it has one, or was measured before."""
        cell = self._count(run_id)
        if cell in self._done:
            return ""
        rows = self._rows.pop(cell, ())
        line = self._line(run_id, self._measured(rows) if rows else "")
        return line if rows else ""

    def _measured(self, rows: Sequence[Row]) -> str:
        hosts = dict.fromkeys(filter(None, map(self._host_of, rows)))
        return _measured(rows) + (f" on {', '.join(hosts)}" if hosts else "")

    def _count(self, run_id: str) -> Any:
        cell = self._runs[run_id].processes_of
        self._left[cell] -= 1
        return cell

    def _line(self, run_id: str, text: str, label: str = "") -> str:
        run = self._runs[run_id]
        self._done.add(run.processes_of)
        name = label or self._labels[run_id].removesuffix(f" process {run.repeat + 1}")
        return f"[{len(self._done)}/{len(self._left)}] {name}: {text}"

    def _reason(self, row: Row) -> str:
        reason = f" at {row.values['stage']}: {str(row.values['error']).splitlines()[0]}"
        known = reason in self._reasons
        self._reasons.add(reason)
        if not known:
            return reason
        return "" if row.status == "interrupted" else " for the same reason"


def _measured(rows: Sequence[Row]) -> str:
    return f"ok {_figure([row.values for row in rows])} ({', '.join(_course(rows))})"


def _figure(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figure that says most: the rate within a limit, else the median latency."""
    rates, p50s = (
        [float(value) for row in rows if (value := row.get(name)) is not None]
        for name in ("qps_under_slo", "latency_p50_ms")
    )
    if rates:
        limits = limits_in_words(*(rows[0].get(name) for name in ("slo_ms", "ttft_slo_ms", "tpot_slo_ms")))
        share = f"{rows[0]['slo_percentile']:g} % within {limits}"
        return f"{significant(geometric_mean(rates))} requests/s ({share})"
    return f"p50 {significant(geometric_mean(p50s))} ms" if p50s else "without a latency: generator_late"


def _course(rows: Sequence[Row]) -> Iterator[str]:
    """What the processes of a cell took, from their turn to their row, and what of that is no measurement."""
    stages = [dict(row.values["stage_seconds"]) for row in rows]
    if len(rows) > 1:
        yield counted(len(rows), "process")
    times = [row.values["finished_at"] - row.values["started_at"] for row in rows]
    yield f"{sum(time.total_seconds() for time in times):.1f} s"
    first = rows[0].values
    if (hit := first.get("cache_hit")) is not None:
        yield "cache hit" if hit else f"compiled in {first['compile_s']:.1f} s"
    if (waited := sum(seconds.get("wait", 0.0) for seconds in stages)) >= _LONG_WAIT_S:
        yield f"waited {waited:.1f} s for the host"
    if (attempts := sum(row.values["attempts"] for row in rows)) > len(rows):
        discarded = sum(seconds.get("measure.retries", 0.0) for seconds in stages)
        yield f"{attempts} attempts, {discarded:.1f} s discarded"

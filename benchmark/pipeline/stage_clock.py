"""Which stage a run is in, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmark.errors import RunFailure
from benchmark.protocols import Observer
from benchmark.records import Failure

INTERRUPTED = "stopped by Ctrl-C or a signal"
_ERROR_LINES, _ERROR_CHARACTERS = 5, 2000


def by_accident(failure: Failure | None) -> bool:
    """Whether a fault of this host, and not the user, has interrupted a run: it may be tried again."""
    return failure is not None and failure.status == "interrupted" and failure.error != INTERRUPTED


class StageClock:
    """Times the stages of one run and shows them to the observer."""

    def __init__(self, observer: Observer, where: str, run_id: str) -> None:
        self.current = "plan"
        self.seconds: dict[str, float] = {}
        self._observer, self._where, self._run_id = observer, where, run_id
        self._since, self._in_stages = time.perf_counter(), 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as this stage."""
        self.current = name
        start = time.perf_counter()
        try:
            with self._observer.working(self._where, self._run_id, name):
                yield
        finally:
            self._add(name, took := time.perf_counter() - start)
            self._in_stages += took

    def waiting(self, holder: str) -> None:
        """Show the command that the run waits for."""
        self._observer.waiting(self._where, self._run_id, holder)

    def finished(self) -> dict[str, float]:
        """Seconds by stage; `rest` is the time since this clock was made that no stage took."""
        self._add("rest", time.perf_counter() - self._since - self._in_stages)
        return self.seconds

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def failure(self, error: BaseException) -> Failure:
        """Describe the error that ended the current stage."""
        if not isinstance(error, RunFailure):
            return Failure(status="interrupted", stage=self.current, error=INTERRUPTED)
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Failure(
            status=error.status,
            stage=self.current,
            error="\n".join(lines[:_ERROR_LINES])[:_ERROR_CHARACTERS] or type(error).__name__,
            error_class=error.raised,
            unsupported_ops=error.operators,
        )

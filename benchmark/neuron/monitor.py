"""`neuron-monitor` beside a measuring process: its readings, or one log line that says why there are none.

Configuration and output are those of the user guide (aws-neuron-sdk 81ce03ae, 2026-08-21,
tools/neuron-sys-tools/neuron-monitor-user-guide.rst). One report per line is how wandb and others read it
(wandb/sdk/internal/system/assets/trainium.py). It has not run here yet.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from multiprocessing import util
from pathlib import Path
from statistics import fmean, median
from typing import IO, Any, Final

from benchmark.measurement import DeviceState
from benchmark.neuron.tools import MonitorReport, Runtime, Unreadable, foreign, located, others, report

log = logging.getLogger(__name__)

TAG: Final = "NEURON_PROCESS_TAG"
"""Environment variable with the name of a process in the monitor's reports."""
_GROUPS: Final = ("neuroncore_counters", "memory_used", "execution_stats")
"""Metric groups that are requested for each process."""
_PERIODS: Final = 2.0
"""Longest wait for a new report, in periods."""
_POLL_S: Final = 0.05


class Monitor:
    """The running tool. Its reports collect in a file until they are read; it ends with this process.

    A pipe would fill up and block the tool; a thread that empties the pipe would disturb timed calls.
    """

    def __init__(self, period_s: int = 1) -> None:
        """Start the tool.

        Raises:
            Unreadable: it can't be started.
        """
        self._read, self._rest = 0, b""
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - beyond this
        with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="neuron-monitor-", delete=False) as file:
            json.dump(_configuration(period_s), file)
        self._configuration = Path(file.name)
        try:
            process = subprocess.Popen(  # noqa: S603 - a tool of the host
                [located("neuron-monitor"), "-c", file.name],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
            )
        except (OSError, Unreadable) as error:
            _tidy(self._configuration, self._out, self._err)
            raise Unreadable(str(error)) from error
        self._process = process
        # Not atexit: a child ends without it.
        self.close = util.Finalize(
            self, _end, (process, self._configuration, self._out, self._err), exitpriority=0
        )

    def texts(self, wait_s: float) -> list[str]:
        """New reports, as printed; waits for the first.

        Raises:
            Unreadable: there is none; the message has what the tool printed instead.
        """
        deadline = time.monotonic() + wait_s
        while True:
            code = self._process.poll()  # before reading: it may write and end in between
            if found := self._news():
                self._configuration.unlink(
                    missing_ok=True
                )  # the tool has read it; this process may be killed later
                return found
            if code is not None or time.monotonic() >= deadline:
                raise Unreadable(self._silence(code, wait_s))
            time.sleep(min(_POLL_S, wait_s))

    def _news(self) -> list[str]:
        # pread: the file's offset belongs to the writer.
        size = os.fstat(self._out.fileno()).st_size
        new = os.pread(self._out.fileno(), size - self._read, self._read)
        self._read += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        return [line.decode(errors="replace") for line in whole if line.strip()]

    def _silence(self, code: int | None, wait_s: float) -> str:
        said = os.pread(self._err.fileno(), 4096, 0).decode(errors="replace").strip().splitlines()
        how = f"ended with exit code {code}" if code is not None else f"printed no report within {wait_s:g} s"
        begun = f", but began one: {self._rest[:40].decode(errors='replace')}…" if self._rest else ""
        return f"neuron-monitor {how}{begun}" + (f": {said[-1][:200]}" if said else "")


def _end(process: subprocess.Popen[bytes], configuration: Path, *files: IO[bytes]) -> None:
    process.kill()
    process.wait()
    _tidy(configuration, *files)


def _tidy(configuration: Path, *files: IO[bytes]) -> None:
    for file in files:
        file.close()
    configuration.unlink(missing_ok=True)


def _configuration(period_s: int) -> Mapping[str, Any]:
    """Configuration for all processes: those of others are counted too."""
    metrics = [{"type": group} for group in _GROUPS]
    return {
        "period": f"{period_s}s",
        "neuron_runtimes": [{"tag_filter": ".*", "metrics": metrics}],
        "system_metrics": [],
    }


class Telemetry:
    """Readings of this process since the first request."""

    def __init__(self, period_s: int = 1, periods: float = _PERIODS) -> None:
        self._wait_s = period_s * periods
        self._period_s = period_s
        self._monitor: Monitor | None = None
        self._started = self._warned = False
        self._most_bytes: int | None = None

    def state(self) -> DeviceState:
        """State of the device by the newest report. The first call only starts the monitor.

        Later calls wait for a report that is newer than the call before.
        """
        if not self._started:
            self._started = True
            self._start()
            return DeviceState(other_processes=others())
        if self._monitor is None:
            return DeviceState(other_processes=others())
        reports = tuple(self._reports(self._monitor))
        return self._state_of(reports) if reports else DeviceState(other_processes=others())

    def close(self) -> None:
        """End the monitor."""
        if self._monitor is not None:
            self._monitor.close()

    def _start(self) -> None:
        try:
            self._monitor = Monitor(self._period_s)
        except Unreadable as error:
            self._warn(str(error))

    def _reports(self, monitor: Monitor) -> Iterator[MonitorReport]:
        texts: list[str] = []
        try:
            texts = monitor.texts(self._wait_s)
        except Unreadable as error:
            self._warn(str(error))
        for text in texts:
            try:
                yield report(text)
            except Unreadable as error:
                self._warn(str(error))

    def _state_of(self, reports: tuple[MonitorReport, ...]) -> DeviceState:
        for complaint in (complaint for one in reports for complaint in one.complaints):
            self._warn(complaint)
        own = [[runtime for runtime in one.runtimes if _is_own(runtime)] for one in reports]
        held = [self._most_bytes, *(_total(runtime.memory_bytes for runtime in ours) for ours in own)]
        self._most_bytes = max((known for known in held if known is not None), default=None)
        newest = own[-1]
        if not newest:
            self._warn(f"neuron-monitor reports no process tagged {os.environ.get(TAG, os.getpid())}")
        shares = [one.utilisation for one in newest if one.utilisation is not None]
        medians = [one.latency_p50_s for one in newest if one.latency_p50_s is not None]
        return DeviceState(
            other_processes=sum(foreign(one.pid) for one in reports[-1].runtimes if not _is_own(one)),
            memory_bytes=self._most_bytes,
            utilisation=min(1.0, fmean(shares)) if shares else None,
            latency_p50_ms=median(medians) * 1e3 if medians else None,
            errors=tuple(sorted({name for ours in own for one in ours for name in one.errors})),
        )

    def _warn(self, text: str) -> None:
        """Log once: one line is enough for all reports."""
        if not self._warned:
            self._warned = True
            log.warning("telemetry is missing or incomplete: %s", text)


def _total(counts: Iterable[int | None]) -> int | None:
    """Sum of those that are known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _is_own(runtime: Runtime) -> bool:
    """Whether it is this process, or one of its replicas, which inherit the tag."""
    return runtime.pid == os.getpid() or runtime.tag == os.environ.get(TAG)


@lru_cache(maxsize=1)
def telemetry() -> Telemetry:
    """Telemetry of this process."""
    return Telemetry()

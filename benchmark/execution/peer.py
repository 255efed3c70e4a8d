"""A process of another interpreter that works for this one, over its standard input and output."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

from benchmark.execution.child_log import end_of, telling
from benchmark.execution.leash import LEASH
from benchmark.execution.server_connection import signal_name

GOODBYE_S: Final = 5.0
"""Time for a process to end after its input is closed; then it is killed."""


class Peer:
    """One such process: it leads a session, so that Ctrl-C doesn't reach it and one kill ends all of it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: IO[bytes],
        listen: Callable[[Peer], None],
    ) -> None:
        """Start it, and in a thread `listen`, which reads `output` to its end: that of the process.

        `log` gets its standard error and is read for its last words.

        Raises:
            OSError: the command can't be started.
        """
        self._log = log
        its_leash, leash = os.pipe()
        self._leash = os.fdopen(leash, "wb")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user chose the interpreter
                command,
                env={**environment, LEASH: str(its_leash)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                pass_fds=(its_leash,),
            )
        except OSError:
            self._leash.close()
            raise
        finally:
            os.close(its_leash)
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - they are pipes
        self._input, self.output = self._process.stdin, self._process.stdout
        self._sending = threading.Lock()
        self._is_ending = False
        self._listener = threading.Thread(target=listen, args=(self,), daemon=True)
        self._listener.start()

    def send(self, *pieces: bytes) -> None:
        """Write to its standard input; threads take turns.

        Raises:
            OSError, ValueError: it has ended, or is being ended.
        """
        with self._sending:
            self._input.writelines(pieces)
            self._input.flush()

    def death(self) -> str:
        """Wait for its end and kill what it has left behind; return how it ended, with the end of its log."""
        if not self._is_ending:
            self._kill()
        code = self._process.wait()
        how = f"was ended by {signal_name(-code)}" if code < 0 else f"left with exit code {code}"
        last = telling(end_of(self._log.fileno()))
        return f"{how}{last and f'; last words: {last}'}"

    @property
    def was_killed(self) -> bool:
        """Whether someone else has killed it: neither this program nor an error of its own."""
        return not self._is_ending and self._process.wait() in {-signal.SIGKILL, -signal.SIGTERM}

    def end(self) -> None:
        """Close its input, at which it ends with all it has started; kill it if it doesn't end in time."""
        ended_before = not self._listener.is_alive()  # without what it has started, perhaps
        self._is_ending = True
        if self._sending.acquire(timeout=GOODBYE_S):  # else a thread writes to it and can't go on
            with suppress(OSError):
                self._input.close()
            self._sending.release()
        self._listener.join(GOODBYE_S)
        if ended_before or self._listener.is_alive():
            self._kill()
        self._process.wait()
        self._listener.join(GOODBYE_S)
        self._leash.close()
        self._log.close()

    def _kill(self) -> None:
        if self._process.returncode is None:  # not waited for yet: the number is still its own
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

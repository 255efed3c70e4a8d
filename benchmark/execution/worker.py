"""The process of another interpreter for `compiler.python`: `python -m benchmark.execution.worker MODULE…`.

It loads the modules once, in the server that children are forked from. Its standard input carries
requests, its standard output answers; `benchmark.execution.interpreters` is the other end. When its input is
closed, also because its parent was killed, it ends at once with all it has started.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from benchmark.execution.leash import follow_parent

if TYPE_CHECKING:
    from benchmark.execution.forkserver import ChildLimits, Forkserver


def main() -> None:
    """Answer requests until the input is closed."""
    follow_parent()  # the imports take a second
    from benchmark.execution.forkserver import Forkserver
    from benchmark.execution.interpreters import framed, packed, read_frame, unpacked

    requests, answers = _pipes()
    forkserver, sending = Forkserver(["benchmark.execution.python39", *sys.argv[1:]]), threading.Lock()
    forkserver.warm()

    def serve(number: int, limits: ChildLimits, message: bytes) -> None:
        answer = packed((number, _result(forkserver, limits, message)))
        with sending, suppress(OSError):  # the other end is closed: the main thread ends this process
            answers.writelines(framed(answer))
            answers.flush()

    with suppress(EOFError, OSError):
        while True:
            threading.Thread(target=serve, args=unpacked(read_frame(requests)), daemon=True).start()
    sending.acquire()  # children end now, and no answer may report it
    forkserver.close()  # also during its imports
    os._exit(0)  # children end as this process does


def _result(forkserver: Forkserver, limits: ChildLimits, message: bytes) -> tuple[object, ...]:
    from benchmark.execution.failures import serialize_error
    from benchmark.execution.interpreters import work

    try:
        return "ok", forkserver.call(limits, work, message)
    except Exception as error:  # noqa: BLE001 - the other end raises it again
        return serialize_error(error)


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Requests and answers: the standard streams, which libraries can no longer read or write."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


if __name__ == "__main__":
    main()

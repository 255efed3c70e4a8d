"""What runs in another interpreter for `compiler.python`: `python -m benchmark.execution.worker MODULE…`.

It loads the modules once, in the server that children are forked from. Requests come in by its standard
input, answers go out by its standard output; `benchmark.execution.interpreters` is the other end. When the
input is closed it ends at once, with all it has started: so it does when whoever started it has been killed.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from benchmark.execution.failures import serialize_error
from benchmark.execution.forkserver import Forkserver
from benchmark.execution.interpreters import packed, unpacked, work
from benchmark.records import ChildLimits


def main() -> None:
    """Serve until the other end hangs up."""
    requests, answers = _pipes()
    forkserver, sending = Forkserver(["benchmark.execution.python39", *sys.argv[1:]]), threading.Lock()
    forkserver.warm()

    def serve(number: int, limits: ChildLimits, message: bytes) -> None:
        answer = packed((number, _verdict(forkserver, limits, message)))
        with sending, suppress(OSError):  # nobody listens any more: the main thread knows
            answers.send_bytes(answer)

    with suppress(EOFError, OSError):
        while True:
            threading.Thread(target=serve, args=unpacked(requests.recv_bytes()), daemon=True).start()
    sending.acquire()  # how children end now is no answer to anybody
    forkserver.close()  # amid its imports too
    os._exit(0)  # children end as this process does


def _verdict(forkserver: Forkserver, limits: ChildLimits, message: bytes) -> tuple[object, ...]:
    try:
        return "ok", forkserver.call(limits, work, message)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other end has to hear of it
        return serialize_error(error)


def _pipes() -> tuple[Connection, Connection]:
    """Both standard streams, taken from whatever libraries read and print."""
    requests = Connection(os.dup(0), writable=False)
    answers = Connection(os.dup(1), readable=False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


if __name__ == "__main__":
    main()

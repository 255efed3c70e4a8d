"""What hostile children do: functions that a server of children runs, and what their callers get."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time


def daemon_of_its_own_session():
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    return "answer"


def daemon_by_two_forks():
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.closerange(0, 3)
            time.sleep(60)
        os._exit(0)
    time.sleep(0.1)
    return "answer"


def gibibyte_of_output():
    piece = b"x" * (1 << 20) + b"\n"
    for _ in range(1 << 10):
        os.write(1, piece)
    raise ValueError("after a gibibyte")


def closed_files():
    os.closerange(0, 1 << 10)
    time.sleep(60)


def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)


def deaf_to_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)


def left():
    os._exit(7)


def aborted():
    os.abort()


def segfault():
    ctypes.string_at(0)


def deep_recursion():
    return deep_recursion()


def unpicklable():
    return threading.Lock()


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def unspeakable():
    raise Silent


def lone_surrogates():
    raise RuntimeError("half a pair: \ud800, a NUL: \0, a byte: \udcff")


def huge_text():
    raise RuntimeError("x" * 50_000_000)


def fork_bomb():
    for _ in range(50):
        if not os.fork():
            os.setsid()
            time.sleep(60)
            os._exit(0)
    return "answer"


def endless_threads():
    for _ in range(20):
        threading.Thread(target=time.sleep, args=(60,)).start()
    return "answer"


EXPECTED = {
    daemon_of_its_own_session: "answer",
    daemon_by_two_forks: "answer",
    gibibyte_of_output: "crashed: ValueError: after a gibibyte",
    closed_files: "crashed: the child closed its connection to this command and gave no answer",
    stopped: "timeout: no answer within 0.6 s",
    deaf_to_signals: "timeout: no answer within 0.6 s",
    left: "crashed: the child left with exit code 7 and no answer",
    aborted: "crashed: the child was ended by SIGABRT; last words: Fatal Python error: Aborted",
    segfault: "crashed: the child was ended by SIGSEGV; last words: Fatal Python error: Segmentation fault",
    deep_recursion: "crashed: RecursionError: maximum recursion depth exceeded",
    unpicklable: "crashed: TypeError: cannot pickle '_thread.lock' object",
    unspeakable: "crashed: Silent: its text can't be read: __str__ raises RuntimeError",
    lone_surrogates: r"crashed: RuntimeError: half a pair: \ud800, a NUL: \x00, a byte: \udcff",
    huge_text: "crashed: RuntimeError: xxxx",
    fork_bomb: "answer",
    endless_threads: "answer",
}
"""What each does, and how its answer or its error begins."""

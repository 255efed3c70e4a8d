"""`python -m benchmark` in a forked process: its imports are made once for all tests of a process.

Run as a module this is the server: it reads a request a line, forks, and the child is the command from its
arguments to its exit code, with a working folder, environment and output of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path

from hydra.core.plugins import Plugins

from benchmark.cli import early

ROOT = Path(__file__).parents[1]
IMPORTED = ("benchmark.cli.app", "benchmark.cli.run", "benchmark.config.hydra_settings", "pandas", "typer")


class CommandServer:
    """Starts commands; a context manager that ends its process."""

    def __init__(self):
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            with self._process as process:
                process.stdin.close()

    def run(self, arguments, folder, env, timeout):
        """Run one command in `folder`; return what `subprocess.run` would."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.commands"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        texts = {name: folder / f".{name}" for name in ("stdout", "stderr")}
        request = {"arguments": arguments, "cwd": str(folder), "env": env} | {
            name: str(path) for name, path in texts.items()
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        pid = int(self._process.stdout.readline())
        late = not select.select([self._process.stdout], [], [], timeout)[0]
        if late:
            os.kill(pid, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        out, err = (path.read_text() for path in texts.values())
        for path in texts.values():
            path.unlink()
        if late:
            raise subprocess.TimeoutExpired(arguments, timeout, out, err)
        return subprocess.CompletedProcess(arguments, code, out, err)


def serve():
    """Fork a command for each line of stdin; its process gets its arguments, this one None at the end."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            become(request)
            return request["arguments"]
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


def become(request):
    """Take over the folder, environment and output of a request."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    Plugins.instance()  # reads every plug-in of Hydra
    early.start = lambda _: None  # most commands of the tests end before children are needed
    gc.freeze()
    if (words := serve()) is not None:
        sys.path[0] = str(Path.cwd())
        sys.argv = ["benchmark", *words]
        runpy.run_module("benchmark", run_name="__main__", alter_sys=True)

"""A server that stays for later commands: they find it ready, and see nothing of those before them."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import Crashed
from benchmark.execution import server_connection
from benchmark.execution.forkserver import ChildLimits, Forkserver

ROOT = Path(__file__).parents[2]
KEEP_S = 60

COMMAND = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from benchmark.execution.forkserver import ChildLimits, Forkserver

server = Forkserver((), core=("shared",), keep_warm_s=60)
server.call(ChildLimits(log=Path("command.log"), timeout_s=60), exec, {work!r})
server.close()
"""
HANG = "import ctypes, os; os.system('sleep 60 & echo $!'); ctypes.PyDLL(None).sleep(60)"
"""Keeps Python's lock, so that no thread of the child could ever run."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working folder of all commands here, with a module that they share."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "shared.py").write_text("value = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", f"{ROOT}:{folder}")
        yield folder
        list(server_connection.stop_all())


@pytest.fixture
def command(folder):
    """A command of its own: its server, and how it calls in a child."""

    class Command(Forkserver):
        def __init__(self, *preload, keep_warm_s=KEEP_S):
            super().__init__(preload, core=("shared",), keep_warm_s=keep_warm_s)

        def __call__(self, function, *arguments, timeout_s=30):
            limits = ChildLimits(log=folder / "child.log", timeout_s=timeout_s)
            return self.call(limits, function, *arguments)

    return Command


@pytest.fixture
def server(command):
    """Process id of the warm server, which one command at least has used."""
    with closing(command()) as first:
        first(int)
    (status,) = server_connection.statuses()
    return status["pid"]


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.01)


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def own_server(command):
    """Process id of what forks the children of a command."""
    return command(os.getppid)


def test_a_later_command_has_children_of_the_same_server(command, server, caplog):
    with closing(command()) as later:
        assert psutil.Process(own_server(later)).ppid() == server
        assert later(eval, "'shared' in __import__('sys').modules")
    assert caplog.text == ""


def test_a_child_has_what_its_own_command_has(command, server, folder, monkeypatch):
    monkeypatch.setenv("SSH_TTY", "another terminal")
    monkeypatch.setattr(sys, "argv", ["benchmark", "another"])
    before = os.umask(0o027)
    try:
        with closing(command()) as later:
            assert psutil.Process(own_server(later)).ppid() == server
            assert later(os.getenv, "SSH_TTY") == "another terminal"
            assert later(os.getcwd) == str(folder)
            assert later(eval, "__import__('sys').argv") == ["benchmark", "another"]
            later(exec, "open('masked', 'w').close()")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "masked").stat().st_mode) == 0o640


def test_what_a_command_imports_is_in_no_other_one(command, server):
    loaded = "'colorsys' in __import__('sys').modules"
    with closing(command("colorsys")) as one, closing(command()) as other:
        assert one(eval, loaded)
        assert not other(eval, loaded)
        assert {psutil.Process(own_server(each)).ppid() for each in (one, other)} == {server}


def test_a_child_that_dies_is_reported_as_without_a_warm_server(command, server):
    with closing(command()) as later:
        with pytest.raises(Crashed, match=r"^the child was ended by SIGKILL$"):
            later(signal.raise_signal, signal.SIGKILL)
        with pytest.raises(Crashed, match=r"^the child left with exit code 3 and no answer$"):
            later(os._exit, 3)


@pytest.mark.chaos
def test_children_die_with_their_command_and_the_server_lives(server, folder):
    script = COMMAND.format(path=sys.path, work=HANG)
    log = folder / "command.log"
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as process:
        try:
            until(lambda: log.exists() and log.read_text().endswith("\n"))
            family = psutil.Process(server).children(recursive=True)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert len(family) >= 2  # what serves the command, and the child
    until(lambda: not any(alive(one.pid) for one in family))
    assert not alive(int(log.read_text()))
    assert alive(server)


@pytest.mark.chaos
def test_the_output_of_a_command_ends_with_it_while_its_server_lives(folder, server):
    os.kill(server, signal.SIGKILL)
    script = COMMAND.format(path=sys.path, work="")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    (status,) = server_connection.statuses()
    assert (status["served"], done.stdout) == (1, "")
    assert psutil.Process(status["pid"]).cwd() == "/"


def test_an_idle_server_does_nothing(server):
    process = psutil.Process(server)
    until(lambda: next(server_connection.statuses())["serving"] == 0)
    time.sleep(0.1)
    before = process.num_ctx_switches()
    time.sleep(0.3)
    assert process.num_ctx_switches() == before


def test_a_server_of_another_environment_is_not_used_but_replaced(command, server, monkeypatch, caplog):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with closing(command()) as later:
        assert own_server(later) != server
    assert "the warm server is not used: it was started with another OMP_NUM_THREADS" in caplog.text
    until(lambda: not alive(server))


def test_a_server_that_has_loaded_other_source_is_not_used(command, server, folder, caplog):
    (folder / "shared.py").write_text("value = 2 * 1\n")
    with closing(command()) as later:
        assert later(eval, "__import__('shared').value") == 2
    assert f"another {folder / 'shared.py'}" in caplog.text


def test_a_socket_without_a_server_is_removed(command, server, caplog):
    os.kill(server, signal.SIGKILL)
    until(lambda: not alive(server))
    with closing(command(keep_warm_s=KEEP_S)) as later:
        assert later(int, "3") == 3
    assert "the warm server is not used: it has ended; the socket that it left is removed" in caplog.text


def test_a_command_goes_on_where_a_warm_server_ends(command, server, caplog):
    with closing(command()) as later:
        os.kill(own_server(later), signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        assert later(int, "3") == 3
    assert "has ended: this command goes on with a server of its own" in caplog.text


def test_a_folder_that_others_may_enter_is_not_trusted(command, server, caplog):
    sockets = next(iter(server_connection._folder().glob("*.socket"))).parent
    sockets.chmod(0o755)
    try:
        with closing(command()) as later:
            assert later(int, "3") == 3
    finally:
        sockets.chmod(0o700)
    assert f"{sockets} is not a folder of this user alone" in caplog.text


def test_a_command_that_keeps_none_uses_none(command, server):
    with closing(command(keep_warm_s=0)) as later:
        assert psutil.Process(own_server(later)).ppid() == os.getpid()


def test_it_ends_by_itself(command, server):
    with closing(command(keep_warm_s=0.2)) as last:
        last(int)
    until(lambda: not alive(server))
    assert list(server_connection.statuses()) == []


def test_it_is_shown_and_stopped(server, folder):
    def said(*words):
        return CliRunner().invoke(app, ["server", *words]).stdout

    assert said("status").startswith(f"pid {server}: for {sys.executable} in {folder}, ")
    assert f'"pid": {server}' in said("status", "--json")
    assert said("stop") == f"ended: {server}\n"
    until(lambda: not alive(server))
    assert said("status") == said("stop") == "no server waits for later commands\n"


@pytest.fixture(autouse=True)
def _warnings_only(caplog):
    caplog.set_level(logging.WARNING)


def test_children_of_a_user_without_a_home_have_a_folder_of_their_own(monkeypatch, tmp_path):
    """As in containers: OpenVINO looks for a home when it converts a model."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    had = server_connection._variables("mark").get("HOME")
    assert had == os.environ.get("HOME")
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    given = Path(server_connection._variables("mark")["HOME"])
    assert given.parent in {tmp_path, Path("/tmp")}  # noqa: S108 - where the first is too long for a socket
    assert given.stat().st_mode & 0o777 == 0o700

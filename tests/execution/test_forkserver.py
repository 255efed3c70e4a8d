"""Children: whatever they do, the parent hears of it, goes on, and nothing of them stays behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmark.errors import Crashed, OutOfMemory, TimedOut, Unavailable
from benchmark.execution.failures import describe
from benchmark.execution.forkserver import ChildLimits, inline
from benchmark.host import libraries, machine

PARENT = """
import sys
from pathlib import Path
from benchmark.execution.forkserver import Forkserver
from benchmark.execution.forkserver import ChildLimits

work = "import ctypes, os; os.system('sleep 60 & echo $!'); ctypes.PyDLL(None).sleep(60)"
Forkserver(()).call(ChildLimits(log=Path(sys.argv[1]), timeout_s=60), exec, work)
"""
"""Its child has a child, and keeps Python's lock as compilers do: no thread of it could ever run."""

CTRL_C_AMID_THE_END = """
import signal, subprocess
from benchmark.execution.forkserver import Forkserver

def wait(process, *arguments, really=subprocess.Popen.wait):
    subprocess.Popen.wait = really
    signal.raise_signal(signal.SIGINT)
    return process.wait(*arguments)

server = Forkserver(())
server.warm()
subprocess.Popen.wait = wait
try:
    server.close()
except KeyboardInterrupt:
    print("interrupted")
server.close()
"""

FATES = {
    "abort": "crashed: the child was ended by SIGABRT; last words: Fatal Python error: Aborted",
    "segfault": "crashed: the child was ended by SIGSEGV; last words: Fatal Python error: Segmentation fault",
    "kill": "crashed: the child was ended by SIGKILL",
    "exit": "crashed: the child left with exit code 3 and no answer",
    "hang": "timeout: no answer within 0.2 s: raise limits.*_timeout_s, or look where it hangs in the log",
    "eat_memory": "oom_host: MemoryError: use a smaller batch or length, or raise limits.memory_gib",
    "raise": "crashed: RuntimeError: simulated fault 'raise'",
    "unsupported_op": "unsupported_op: simulated: aten::imagined has no kernel",
}


@pytest.fixture
def limits(tmp_path):
    return ChildLimits(log=tmp_path / "logs" / "run.log", timeout_s=30)


@pytest.fixture
def call(interpreters, limits):
    """Call in a child, with limits that a test may change."""
    return lambda function, *arguments, **changes: interpreters.call_in(None)(
        replace(limits, **changes), function, *arguments
    )


def alive(pid):
    """Whether a process still does something; a zombie only waits to be asked how it ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.01)


@pytest.mark.chaos
def test_whatever_a_child_does_becomes_a_row_and_the_grid_goes_on(simulated, run_cells):
    good = simulated("hardware.isolated=true")
    tight = {
        "hang": replace(good.limits, measure_timeout_s=0.2),
        "eat_memory": replace(good.limits, memory_gib=0.3),
    }
    bad = [
        replace(good, compiler=replace(good.compiler, fault=fault), limits=tight.get(fault, good.limits))
        for fault in FATES
    ]
    *failed, last = run_cells(*bad, good)
    for fault, row in zip(FATES, failed, strict=True):
        assert f"{row['status']}: {row['error']}".startswith(FATES[fault]), fault
        assert row["stage"] == "measure", fault
        assert (row["latency_p50_ms"], row["compile_s"] is None) == (None, False), fault
    assert (last["status"], last["latency_p50_ms"]) == ("ok", 1.5)
    assert Path(failed[0]["log_path"]).read_text().startswith("Fatal Python error: Aborted")


@pytest.mark.parametrize(
    ("fault", "stage", "status"),
    [("segfault", "load", "crashed at measure"), ("abort", "compile", "crashed at compile")],
)
def test_a_row_tells_the_stage_in_which_its_child_died(simulated, run_cells, fault, stage, status):
    options = (f"compiler.fault={fault}", f"compiler.fault_stage={stage}")
    (row,) = run_cells(simulated("hardware.isolated=true", *options))
    assert f"{row['status']} at {row['stage']}" == status


def test_an_isolated_cell_measures_what_an_inline_one_does(simulated, run_cells):
    inside, outside = run_cells(simulated("batch=3"), simulated("batch=3", "hardware.isolated=true"))
    assert inside["latency_ns"] == outside["latency_ns"]


def test_a_child_is_another_process_and_each_call_has_its_own(call):
    pids = {call(os.getpid), call(os.getpid)}
    assert len(pids - {os.getpid()}) == 2


def test_children_start_without_heavy_libraries_unless_asked_for(call):
    assert call(eval, "'benchmark' in __import__('sys').modules")
    assert not call(eval, "'torch' in __import__('sys').modules")


def test_an_answer_may_be_large(call):
    assert call(bytes, 20_000_000) == bytes(20_000_000)


def test_an_error_of_ours_keeps_its_kind_and_text(call):
    with pytest.raises(Unavailable, match=r"^imagined is not installed: pip install imagined$"):
        call(partial(libraries.versions, "imagined", install="pip install imagined"))


def test_what_a_child_prints_lands_in_the_log_and_nowhere_else(call, limits, capfd):
    call(print, "from Python")
    call(os.system, "echo from a program of its own; echo and its errors >&2")
    assert limits.log.read_text() == "from Python\nfrom a program of its own\nand its errors\n"
    assert capfd.readouterr() == ("", "")


def test_the_traceback_of_a_child_lands_in_the_log(call, limits):
    with pytest.raises(Crashed, match=r"^ValueError: invalid literal"):
        call(int, "three")
    assert "Traceback (most recent call last):" in limits.log.read_text()


def test_what_an_earlier_child_wrote_is_not_taken_for_last_words(call):
    call(print, "Fatal Python error: out of memory")
    with pytest.raises(Crashed, match=r"^the child was ended by SIGKILL$"):
        call(signal.raise_signal, signal.SIGKILL)


def test_the_last_words_of_a_child_tell_that_memory_was_short(call):
    with pytest.raises(OutOfMemory, match=r"ended by SIGABRT; last words: terminate called .* bad_alloc"):
        call(os.system, "echo terminate called after throwing bad_alloc; kill -ABRT $PPID")


def test_a_child_that_hangs_is_killed_with_its_own_and_the_log_tells_where_it_hung(call, limits):
    with pytest.raises(TimedOut, match=r"no answer within 0\.5 s: raise limits\.\*_timeout_s, or look"):
        call(os.system, "trap '' ABRT INT TERM; echo $$; sleep 60", timeout_s=0.5)
    stubborn, *dump = limits.log.read_text().splitlines()
    assert dump[0] == "Fatal Python error: Aborted"
    assert any("forkserver.py" in line for line in dump)
    until(lambda: not alive(int(stubborn)))


@pytest.mark.parametrize("place", ["a file/run.log", "/dev/full"])
def test_a_log_that_can_not_be_written_costs_no_answer_and_no_reason(call, tmp_path, place, caplog):
    (tmp_path / "a file").touch()
    log = tmp_path / place
    assert call(exec, "print('x' * 10_000, flush=True)", log=log) is None
    with pytest.raises(Crashed, match=r"^ValueError: invalid literal"):
        call(int, "three", log=log)
    with pytest.raises(Crashed, match=r"^the child was ended by SIGABRT"):
        call(os.abort, log=log)
    said = f"no output of children is kept: {log.parent} can't be written"
    assert (said in caplog.text) is (place != "/dev/full")


def test_an_answer_that_can_not_travel_is_an_error_of_its_cell(call):
    with pytest.raises(Crashed, match=r"^TypeError: cannot pickle"):
        call(eval, "__import__('threading').Lock()")
    only_there = "import sys, types; m = sys.modules['only_there'] = types.ModuleType('only_there'); "
    only_there += "exec('class A: pass', m.__dict__); raise KeyError(m.A)"
    with pytest.raises(Crashed, match=r"^KeyError: <class 'only_there.A'>"):
        call(exec, only_there)
    made = "type('A', (), {'__module__': 'json', '__reduce__': lambda self: (eval, ('no_such_name',))})()"
    with pytest.raises(Crashed, match=r"^the child's answer can't be read: NameError: name 'no_such_name'"):
        call(eval, made)


def test_memory_is_limited_to_what_was_asked_for(call):
    with pytest.raises(OutOfMemory, match="MemoryError"):
        call(bytes, 1500 << 20, memory_bytes=1000 << 20)
    assert len(call(bytes, 10 << 20, memory_bytes=1000 << 20)) == 10 << 20


def test_what_a_child_has_started_ends_with_it(call, limits):
    call(os.system, "sleep 60 & echo $!; sleep 60 & echo $!")
    started = [int(line) for line in limits.log.read_text().splitlines()]
    assert len(started) == 2
    until(lambda: not any(map(alive, started)))


@pytest.mark.chaos
def test_children_die_with_a_parent_that_is_killed(tmp_path):
    log = tmp_path / "run.log"
    with subprocess.Popen([sys.executable, "-c", PARENT, log]) as parent:
        try:
            until(lambda: log.exists() and log.read_text().endswith("\n"))
            family = [process.pid for process in psutil.Process(parent.pid).children(recursive=True)]
        finally:
            parent.kill()
    grandchild = int(log.read_text())
    assert len(family) >= 2  # the server and the child
    until(lambda: not any(map(alive, [*family, grandchild])))


def test_the_parent_hardly_uses_its_cpu_while_a_child_works(call):
    call(int)
    before = time.process_time()
    call(time.sleep, 0.2)
    assert time.process_time() - before < 0.05


def test_a_child_knows_the_command_that_it_works_for(call):
    assert call(machine.command_pid) == os.getpid()
    assert call(machine.command_pid, command_pid=7) == 7


def test_a_child_starts_while_another_one_dies_slowly(call):
    """Its answer is there at once; what it does at its exit takes three seconds."""
    slow = (
        "import time; from multiprocessing import util; util.Finalize(None, time.sleep, (3,), exitpriority=0)"
    )
    with ThreadPoolExecutor() as threads:
        dying = threads.submit(call, exec, slow)
        time.sleep(0.3)
        before = time.monotonic()
        for _ in range(3):
            assert call(int, "3") == 3
        assert time.monotonic() - before < 2
        assert not dying.done()
        assert dying.result() is None


def test_a_child_that_may_linger_answers_before_its_end_and_the_next_call_waits_for_it(call):
    lasting = (
        "import time; from multiprocessing import util; util.Finalize(None, time.sleep, (3,), exitpriority=0)"
    )
    call(int)
    before = time.monotonic()
    call(exec, lasting, may_linger=True)
    assert time.monotonic() - before < 2
    call(int)
    assert time.monotonic() - before >= 3


def test_a_child_that_waits_for_work_is_replaced_when_it_is_killed(call):
    server = psutil.Process(call(os.getppid))
    for _ in range(2):
        (spare,) = server.children()
        spare.kill()
        spare.wait(5)
        assert call(os.getppid) == server.pid


def test_settings_for_children_do_not_change_the_parent_s_environment(call, monkeypatch):
    monkeypatch.delenv("AOTI_RUNTIME_CHECK_INPUTS", raising=False)
    assert call(os.getenv, "AOTI_RUNTIME_CHECK_INPUTS") == "1"
    assert "AOTI_RUNTIME_CHECK_INPUTS" not in os.environ


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (MemoryError(), "oom_host", "MemoryError: use a smaller batch or length, or raise limits.memory_gib"),
        (
            RuntimeError("can't allocate memory"),
            "oom_host",
            "RuntimeError: can't allocate memory",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "oom_device", "OutOfMemoryError: CUDA"),
        (ValueError("\x1b[31mred\x1b[0m"), "crashed", "ValueError: red"),
        (TimedOut("too long"), "timeout", "too long"),
        (KeyError("x"), "crashed", "KeyError: 'x'"),
    ],
)
def test_an_error_is_described_by_a_status_and_a_text(error, status, text):
    assert describe(error) == (status, text)


def test_an_error_is_described_with_the_one_that_caused_it():
    cause = ZeroDivisionError("division by zero")
    error = RuntimeError("export failed\nlong advice")
    error.__cause__ = cause
    assert describe(error) == (
        "crashed",
        "RuntimeError: export failed\ncaused by ZeroDivisionError: division by zero",
    )


def test_an_error_is_described_whatever_it_says():
    class Mute(Exception):
        def __str__(self):
            raise ValueError

    circle = RuntimeError("one")
    circle.__cause__ = other = RuntimeError("two")
    other.__cause__ = circle
    assert describe(Mute()) == ("crashed", "Mute: its text can't be read: __str__ raises ValueError")
    assert describe(circle)[1].startswith("RuntimeError: one")
    assert describe(RuntimeError("\ud800 \0 ü"))[1] == r"RuntimeError: \ud800 \x00 ü"
    assert len(describe(RuntimeError("x" * 10**7))[1]) < 10**5


def test_inline_tells_errors_as_a_child_would():
    assert inline(max, 1, 2) == 2
    with pytest.raises(Crashed, match=r"^ZeroDivisionError: "):
        inline(divmod, 1, 0)
    with pytest.raises(OutOfMemory):
        inline(ctypes.create_string_buffer, 1 << 62)


@pytest.mark.chaos
def test_a_server_whose_end_is_interrupted_has_ended():
    command = [sys.executable, "-c", CTRL_C_AMID_THE_END]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")

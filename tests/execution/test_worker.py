"""Another interpreter's children are as this one's: whatever they do is heard of, nothing stays behind."""

from __future__ import annotations

import json
import os
import pickletools
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import benchmark
from benchmark.errors import Crashed, Interrupted, LibraryMissing, OutOfMemory, TimedOut, Unavailable
from benchmark.execution.forkserver import ChildLimits
from benchmark.execution.interpreters import Interpreters, packed, unpacked
from benchmark.execution.stage_calls import stage_calls
from benchmark.host import libraries
from benchmark.stages.plan import plan

HERE = sys.executable
"""Stands for the other interpreter: it is started as one, on the source alone."""

PARENT = f"""
import sys
from pathlib import Path
from benchmark.execution.interpreters import Interpreters
from benchmark.execution.forkserver import ChildLimits

work = "import os, time; os.system('sleep 60 & echo $!'); time.sleep(60)"
call = Interpreters((), {{{HERE!r}: ()}}).call_in({HERE!r})
call(ChildLimits(log=Path(sys.argv[1]), timeout_s=60), exec, work)
"""


@pytest.fixture(scope="module")
def interpreters():
    with Interpreters((), {HERE: ("benchmark.execution.forkserver",)}) as opened:
        opened.start()
        yield opened


@pytest.fixture
def limits(tmp_path):
    return ChildLimits(log=tmp_path / "logs" / "run.log", timeout_s=30)


@pytest.fixture
def call(interpreters, limits):
    """Call in a child there, with limits that a test may change."""
    return lambda function, *arguments, **changes: interpreters.call_in(HERE)(
        replace(limits, **changes), function, *arguments
    )


@pytest.fixture
def python(tmp_path):
    """An interpreter that says of itself what it is given."""

    def written(version, **distributions):
        path = tmp_path / "python"
        wanted_text = json.dumps([version, list(distributions.items())])
        path.write_text(f"#!/bin/sh\necho '{wanted_text}'\n")
        path.chmod(0o755)
        libraries._queried.cache_clear()
        return str(path)

    return written


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.01)


def test_each_call_has_a_child_of_its_own_and_all_have_one_worker(call):
    family = [call(eval, "__import__('os').getpid(), __import__('os').getppid()") for _ in range(2)]
    assert len({pid for pid, _ in family} - {os.getpid()}) == 2
    assert len({server for _, server in family}) == 1


def test_it_finds_this_program_and_has_loaded_what_it_was_said_to(call):
    found = Path(call(eval, "__import__('os').path.realpath(__import__('benchmark').__file__)"))
    assert found == Path(benchmark.__file__).resolve()
    assert call(eval, "'benchmark.execution.forkserver' in __import__('sys').modules")
    assert not call(eval, "'torch' in __import__('sys').modules")


def test_what_a_child_prints_lands_in_its_log_and_disturbs_no_answer(call, limits, capfd):
    assert call(os.system, "echo from a program; echo and its errors >&2; cat") == 0
    assert limits.log.read_text() == "from a program\nand its errors\n"
    assert capfd.readouterr() == ("", "")


def test_an_answer_may_be_large(call):
    assert call(bytes, 20_000_000) == bytes(20_000_000)


def test_an_error_of_ours_keeps_its_status_and_text(call):
    with pytest.raises(Unavailable, match=r"^imagined is not installed: pip"):
        call(
            eval, "__import__('benchmark.host.libraries').host.libraries.versions('imagined', install='pip')"
        )


def test_a_foreign_error_is_said_with_its_class(call, limits):
    with pytest.raises(Crashed, match=r"^ValueError: invalid literal") as raised:
        call(int, "three")
    assert raised.value.raised == "ValueError"
    assert "Traceback (most recent call last):" in limits.log.read_text()


def test_a_child_that_dies_harms_no_other(call):
    with pytest.raises(Crashed, match=r"^the child was ended by SIGKILL$"):
        call(signal.raise_signal, signal.SIGKILL)
    with pytest.raises(TimedOut, match=r"^no answer within 0\.2 s"):
        call(time.sleep, 60, timeout_s=0.2)
    with pytest.raises(OutOfMemory, match="MemoryError"):
        call(bytes, 1500 << 20, memory_bytes=1000 << 20)
    assert call(int, "3") == 3


def test_calls_run_beside_each_other(call, tmp_path):
    """Each waits for the file of the other."""
    meet = """import os, time
mine, other = {!r}
open(mine, "w").close()
while not os.path.exists(other):
    time.sleep(0.01)"""
    places = [str(tmp_path / name) for name in "ab"]
    with ThreadPoolExecutor() as threads:
        both = [threads.submit(call, exec, meet.format(tuple(order))) for order in (places, places[::-1])]
        assert [one.result() for one in both] == [None, None]


def test_a_worker_that_has_ended_is_reported_and_the_next_call_has_another(limits):
    before = psutil.Process().children()
    with Interpreters((), {HERE: ()}) as opened, ThreadPoolExecutor() as threads:
        waiting = threads.submit(opened.call_in(HERE), limits, time.sleep, 60)
        until(limits.log.exists)
        (worker,) = set(psutil.Process().children()) - set(before)
        worker.kill()
        with pytest.raises(Interrupted, match=r"its worker was ended by SIGKILL"):
            waiting.result()
        assert opened.call_in(HERE)(limits, int, "3") == 3


def test_calls_that_wait_raise_when_children_are_ended(limits):
    with Interpreters((), {HERE: ()}) as opened, ThreadPoolExecutor() as threads:
        opened.end_children()  # no call waits: it goes on loading
        waiting = threads.submit(opened.call_in(HERE), limits, time.sleep, 60)
        until(limits.log.exists)
        opened.end_children()
        with pytest.raises(Crashed, match="its worker left with exit code 0"):
            waiting.result()


def test_nothing_is_left_of_it_when_its_parent_is_killed(tmp_path):
    log = tmp_path / "run.log"
    with subprocess.Popen([sys.executable, "-c", PARENT, log]) as parent:
        try:
            until(lambda: log.exists() and log.read_text().endswith("\n"))
            family = [process.pid for process in psutil.Process(parent.pid).children(recursive=True)]
        finally:
            parent.kill()
    grandchild = int(log.read_text())
    assert len(family) >= 3  # worker, server and child
    until(lambda: not any(map(alive, [*family, grandchild])))


def test_what_travels_names_nothing_that_lies_elsewhere_in_another_version(limits):
    value = [limits, np.arange(6, dtype=np.float32).reshape(2, 3), np.float64(0.5), np.int64(7)]
    message = packed(value)
    names = {str(argument) for _, argument, _ in pickletools.genops(message) if isinstance(argument, str)}
    assert not {name for name in names if name.startswith(("pathlib", "numpy"))}
    same, array, number, count = unpacked(message)
    assert (same, number, count) == (limits, 0.5, 7)
    assert (type(number), type(count)) == (float, int)
    assert array.dtype == np.float32
    assert array.flags.writeable
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_cell_s_stages_work_where_its_compiler_is(compose, interpreters):
    (run,) = plan(
        [compose("model=bert_tiny", "compiler=eager", f"compiler.python={HERE}")], lambda _: {}
    ).runs
    server = stage_calls(run, interpreters).measure(os.getppid)
    assert server in [child.pid for child in psutil.Process().children(recursive=True)]
    assert server not in [child.pid for child in psutil.Process().children()]


def test_the_environment_is_that_of_the_other_interpreter(compose):
    cells = [compose("compiler=eager"), compose("compiler=eager", f"compiler.python={HERE}")]
    here, there = (run.environment for run in plan(cells, lambda _: {}).runs)
    assert "python" not in here.versions
    assert there.versions == {**here.versions, "python": sys.version.split()[0]}
    assert here.environment_id != there.environment_id


def test_an_interpreter_that_is_not_there_makes_a_cell_unavailable(compose):
    cell = compose("compiler=eager", "compiler.python=/nowhere/python")
    (run,) = plan([cell], lambda _: {}).runs
    assert run.fate == "unavailable"
    assert run.reason.startswith(
        "compiler.python or hardware.python=/nowhere/python: No such file or directory; name the"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xff\xff" + bytes(4000),
            "it isn't a program for this host",
        ),
        (b"#!/bin/sh\necho hello; exit 3\n", "it doesn't answer as Python does"),
        (None, "it is a folder"),
    ],
    ids=["of another architecture", "another program", "folder"],
)
def test_what_is_no_interpreter_is_refused_with_what_to_write(tmp_path, content, said):
    place = tmp_path / "python"
    if content is None:
        place.mkdir()
    else:
        place.write_bytes(content)
        place.chmod(0o755)
    with pytest.raises(LibraryMissing, match=rf"hardware\.python={place}: {said}.*makes FOLDER/bin/python"):
        libraries.fit(str(place))


@pytest.mark.parametrize(
    ("version", "distributions", "wanted_text"),
    [
        ((3, 8, 18), {}, "is Python 3.8.18: use one from 3.9 on"),
        (
            (3, 9, 18),
            dict.fromkeys(libraries._NEEDED, "1"),
            "eval-type-backport is not installed for {0}: {0} -m pip install "
            + " ".join(libraries._NEEDED_BEFORE_310),
        ),
        (
            (3, 11, 1),
            {"numpy": "1", "scipy": "1", "psutil": "1", "omegaconf": "1"},
            "filelock, pydantic are not installed for {0}: {0} -m pip install " + " ".join(libraries._NEEDED),
        ),
    ],
)
def test_an_interpreter_that_lacks_something_is_said_what(python, version, distributions, wanted_text):
    path = python(version, **distributions)
    with pytest.raises(LibraryMissing) as raised:
        libraries.fit(path)
    assert str(raised.value).endswith(wanted_text.format(path))


def test_libraries_are_looked_for_where_they_are_needed(python):
    path = python((3, 11, 1), torch_XLA="2.9.0", torch="2.9.1+cpu")
    install = "pip install torch torch_xla"
    found = libraries.versions("torch", "torch-xla", install=install, python=path)
    assert found == {"torch": "2.9.1+cpu", "torch-xla": "2.9.0"}
    with pytest.raises(
        LibraryMissing, match=f"^imagined is not installed for {path}: {path} -m pip install x$"
    ):
        libraries.versions("imagined", install="pip install x", python=path)

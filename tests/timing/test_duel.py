"""Two sides take turns; how each ended is said with its name, and no process is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from benchmark.cli import side
from benchmark.config.sweep import grid
from benchmark.errors import BenchmarkError, ConfigError, Incompatible
from benchmark.execution import peer
from benchmark.execution.host_lock import LOCK_NAME
from benchmark.execution.interpreters import Interpreters
from benchmark.execution.stage_calls import stage_calls
from benchmark.host import machine
from benchmark.host.mutex import Mutex
from benchmark.stages.plan import plan
from benchmark.timing import duel
from benchmark.timing.duel import SideSpec
from benchmark.timing.interleaved import Pair
from tests.chaos.survivors import VARIABLE, alive, marked, survivors, wait_for
from tests.cli.builds import SLOWER, executable

SIMULATED = ("hardware=simulated", "compiler.item_ms=0", "sampling=quick")
CALL_NS = 1_000_000

FAKE = f"""#!{sys.executable} -IS
import json, os, signal, sys, time
said = dict(isolated=False, call_ns=1000000, at="never", does="nothing")
message = json.loads(sys.stdin.readline())
said.update(json.loads(message["overrides"][0]))
def answer(key, **values):
    if key == said["at"]:
        exec(said["does"])
    print(json.dumps({{key: values or True}}), flush=True)
answer("planned", isolated=said["isolated"], prepare_s=9, measure_s=9)
for line in sys.stdin:
    message = json.loads(line)
    if "prepare" in message:
        answer("ready", label="fake", cell_id="c", environment_id="e", versions={{}}, git_commit=None,
            cache_hit=None, simulated=True)
    elif "pair" in message:
        answer("warmed", load_s=0, first_call_ns=1, call_ns=said["call_ns"])
    elif "block" in message:
        answer("block", nanoseconds=[said["call_ns"]] * message["block"], wall_s=1, cpu_s=1, idle_cpu_s=0)
    else:
        answer("done")
"""
"""A side that plays without this program, in milliseconds, and misbehaves where it is asked to."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """What a side that computes nothing is to play."""
    cache = tmp_path_factory.mktemp("cache")
    return lambda *overrides: (*SIMULATED, f"cache.root={cache}", *overrides)


class Seen(NamedTuple):
    """What a duel brought, how it ended, and which of its processes were left."""

    playing: duel.Duel
    pairs: list[Pair]
    error: str
    left: list[int]


def played(a, b, folder, pairs, then=lambda: None):
    """Play so many pairs of 3 turns, let something happen, and ask for one more pair."""
    mark, error = uuid.uuid4().hex, ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, mark)
        try:
            with duel.run(a, b, folder=folder, pairs=9, turns=3, seed=1) as playing:
                taken = list(islice(playing.pairs, pairs))
                then()
                next(playing.pairs)
        except BenchmarkError as caught:
            error = str(caught)
    return Seen(playing, taken, error, survivors(mark))


def kill_b():
    """End side B: the child that writes to its log."""
    for child in psutil.Process().children():
        if "/B/" in str(Path(f"/proc/{child.pid}/fd/2").readlink()):
            child.kill()


@pytest.fixture(scope="module")
def against_itself(simulated, tmp_path_factory):
    """A cell against itself, until side B is killed."""
    spec = SideSpec(overrides=simulated())
    return played(spec, spec, tmp_path_factory.mktemp("itself"), 4, kill_b)


@pytest.fixture(scope="module")
def against_another(simulated, tmp_path_factory):
    """A cell that is 5 % slower by configuration, against an interpreter whose program is 10 % slower."""
    folder = tmp_path_factory.mktemp("another")
    another = executable(folder / "python", SLOWER)
    return played(
        SideSpec(overrides=simulated("compiler.call_ms=1.05")),
        SideSpec(overrides=simulated(), python=another),
        folder,
        1,
    )


def test_a_cell_against_itself_is_exactly_as_fast(against_itself):
    for pair in against_itself.pairs:
        assert pair.a.blocks == pair.b.blocks == ((CALL_NS,) * 40,) * 3


def test_a_cell_against_itself_is_the_same_cell_in_the_same_environment(against_itself):
    a, b, _ = against_itself.playing
    assert a.label == "bert_tiny simulated simulated none b1 s128"
    assert (a.cell_id, a.environment_id, a.versions) == (b.cell_id, b.environment_id, b.versions)
    assert a.simulated
    assert sorted((a.cache_hit, b.cache_hit)) == [False, True]  # one has made what both play


def test_of_two_pairs_each_side_starts_one(against_itself):
    starts = [pair.first for pair in against_itself.pairs]
    assert [pair.number for pair in against_itself.pairs] == [0, 1, 2, 3]
    assert {*starts[:2]} == {*starts[2:]} == {"A", "B"}


def test_a_side_that_is_killed_ends_the_duel_by_its_name(against_itself):
    assert against_itself.error.startswith("side B (hardware=simulated")
    assert "it was ended by SIGKILL" in against_itself.error
    assert Path(against_itself.error.rpartition("log: ")[2].rstrip(")")).is_file()


def test_a_cell_that_is_slower_by_its_configuration_shows_it(against_another):
    assert set(against_another.pairs[0].a.blocks) == {(1_050_000,) * 40}


def test_another_interpreter_plays_with_what_it_has(against_another):
    assert set(against_another.pairs[0].b.blocks) == {(1_100_000,) * 40}


def test_the_caller_may_stop_after_any_pair(against_another):
    assert against_another.error == ""
    assert len(against_another.pairs) == 1


@pytest.mark.parametrize("story", ["against_itself", "against_another"])
def test_no_process_is_left(request, story):
    assert request.getfixturevalue(story).left == []


def test_overrides_that_make_no_cell_are_said_as_those_of_a_run_are(tmp_path):
    spec = SideSpec(overrides=("compiler=torchscribt",))
    message = (
        r"^side A \(compiler=torchscribt\): compiler=torchscribt: there is no such compiler; did you mean"
    )
    with pytest.raises(BenchmarkError, match=message), duel.seated({"A": spec}, tmp_path):
        pass


@pytest.mark.parametrize(
    ("overrides", "kind", "message"),
    [
        (["batch=1,2"], ConfigError, r"^a side is one cell, but batch=1,2 makes 2: choose one$"),
        (["hardware=simulated", "compiler=eager"], Incompatible, r"^compiler=eager runs on "),
        (
            ["compiler=eager", f"compiler.python={sys.executable}"],
            ConfigError,
            r"^compiler\.python cannot be used with compare --run: use --python-a and --python-b$",
        ),
    ],
)
def test_a_side_refuses_what_is_not_one_cell_that_can_run_here(tmp_path, overrides, kind, message):
    with pytest.raises(kind, match=message):
        next(side.play(iter([{"overrides": overrides, "folder": str(tmp_path)}]), ExitStack()))


@pytest.fixture
def fake(tmp_path):
    """A side that misbehaves as it is asked to."""
    python = executable(tmp_path / "fake", FAKE)
    return lambda **said: SideSpec(overrides=(json.dumps(said),), python=python)


KILLED = ("os.kill(os.getpid(), signal.SIGKILL)", "it was ended by SIGKILL")


@pytest.mark.parametrize(
    ("at", "does", "message"),
    [
        *((at, *KILLED) for at in ("planned", "ready", "warmed", "block", "done")),
        ("ready", "print(json.dumps({'error': 'no such luck'}))", "no such luck"),
        ("warmed", "sys.exit('none left')", "it left with exit code 1; last words: none left"),
        ("planned", "print('Welcome to Python!')", "'Welcome to Python!' is no answer: is python="),
        ("block", "print(json.dumps({'other': 1}))", "is no answer: is python="),
        ("ready", "print('[]')", "is no answer: is python="),
    ],
)
def test_whatever_a_side_does_amid_the_duel_is_said_by_its_name(fake, tmp_path, at, does, message):
    seen = []
    with (
        pytest.raises(BenchmarkError) as caught,
        duel.run(fake(), fake(at=at, does=does), folder=tmp_path, pairs=1, turns=1) as playing,
    ):
        seen += playing.pairs
    assert str(caught.value).startswith("side B (")
    assert message in str(caught.value)
    assert not seen


def test_a_side_that_keeps_silent_is_not_waited_for_for_ever(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(duel, "_START_S", 0.3)
    monkeypatch.setattr(peer, "GOODBYE_S", 0.1)
    silent = fake(at="planned", does="time.sleep(60)")
    with (
        pytest.raises(BenchmarkError, match=r"^side B .*: no answer within 0.3 s"),
        duel.run(fake(), silent, folder=tmp_path),
    ):
        pass


def test_the_end_of_one_side_is_noticed_while_the_other_works(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(peer, "GOODBYE_S", 0.1)
    busy, short = fake(at="ready", does="time.sleep(60)"), fake(at="ready", does="sys.exit(3)")
    with (
        pytest.raises(BenchmarkError, match=r"^side B .*: it left with exit code 3"),
        duel.run(busy, short, folder=tmp_path),
    ):
        pass


def test_an_interpreter_that_is_none_is_said(tmp_path):
    nowhere = SideSpec(overrides=(), python=str(tmp_path / "python"))
    message = r"^side A \(all defaults\): python=.*: No such file or directory"
    with pytest.raises(BenchmarkError, match=message), duel.seated({"A": nowhere}, tmp_path):
        pass


def test_an_interpreter_without_this_program_is_said(tmp_path):
    python = executable(tmp_path / "python", f"#!/bin/sh\nexec {sys.executable} -IS $*\n")
    message = r"exit code 1; last words: .*No module named '?benchmark"
    with (
        pytest.raises(BenchmarkError, match=message),
        duel.seated({"A": SideSpec(overrides=(), python=python)}, tmp_path),
    ):
        pass


@pytest.mark.parametrize(("call_ns", "calls"), [(1_000_000, 40), (100_000_000, 2), (10**9, 1), (0, 40)])
def test_the_slower_side_decides_how_many_calls_a_block_has(fake, tmp_path, call_ns, calls):
    with duel.run(fake(call_ns=call_ns), fake(call_ns=0), folder=tmp_path, turns=1) as playing:
        pair = next(playing.pairs)
    assert pair.calls == calls == len(pair.a.blocks[0]) == len(pair.b.blocks[0])


@pytest.mark.parametrize("isolated", [True, False])
def test_the_host_is_held_where_a_side_needs_it_and_given_back(fake, tmp_path, monkeypatch, isolated):
    monkeypatch.setenv(LOCK_NAME, "duel")

    def is_free():
        with closing(Mutex("duel")) as neighbour:
            return neighbour.acquire(0)

    with duel.run(fake(isolated=isolated), fake(), folder=tmp_path):
        assert is_free() is not isolated
    assert is_free()


def test_sides_work_for_the_command_of_the_conductor(fake, tmp_path):
    with duel.run(fake(), fake(), folder=tmp_path):
        sides = [child for child in psutil.Process().children() if "benchmark.cli.side" in child.cmdline()]
        assert [side.environ()[machine.COMMAND_PID] for side in sides] == [str(os.getpid())] * 2


def test_children_of_a_side_work_for_its_command(simulated, monkeypatch):
    monkeypatch.setenv(machine.COMMAND_PID, "7")
    run = plan(grid(simulated("hardware.isolated=true")), lambda _: {}).runs[0]
    with Interpreters((), {}) as children:
        assert stage_calls(run, children).measure(machine.command_pid) == 7


CONDUCTOR = """
import sys
from pathlib import Path
from benchmark.timing import duel
spec = duel.SideSpec(overrides=tuple(sys.argv[2:]))
with duel.run(spec, spec, folder=Path(sys.argv[1]), pairs=10**6, turns=1) as playing:
    for pair in playing.pairs:
        print(pair.number, flush=True)
"""


@pytest.mark.chaos
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("when", ["amid pairs", "amid imports"])
def test_nothing_is_left_of_a_conductor_that_is_stopped(simulated, tmp_path, number, when):
    environment, mark = marked()
    environment[LOCK_NAME] = mark  # no other test is waited for
    command = [sys.executable, "-c", CONDUCTOR, str(tmp_path), *simulated("hardware.isolated=true")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        if when == "amid pairs":
            assert process.stdout.readline() == b"0\n"
        else:
            wait_for(lambda: len(alive(mark)) > 2)
        os.killpg(process.pid, number)
        process.wait(20)
    assert survivors(mark, within_s=5.0) == []


@pytest.mark.real
@pytest.mark.alone
def test_real_children_take_turns_and_sleep_in_between(tmp_path):
    cell = ("model=bert_tiny", "compiler=torchscript", "sampling=quick", f"cache.root={tmp_path / 'cache'}")
    spec = SideSpec(overrides=cell)
    with duel.run(spec, spec, folder=tmp_path, turns=4) as playing:
        pair = next(playing.pairs)
    assert playing.a.cell_id == playing.b.cell_id
    assert not playing.a.simulated
    for part in (pair.a, pair.b):
        assert [len(block) for block in part.blocks] == [pair.calls] * 4
        assert min(map(min, part.blocks)) > 0
        assert sorted(turn.idle_cpu_s for turn in part.turns)[1] < 0.005

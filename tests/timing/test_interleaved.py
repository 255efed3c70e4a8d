"""A measuring child waits between its blocks, makes as many calls as it is asked, and says how it ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.errors import Crashed
from benchmark.execution.stage_calls import stage_calls
from benchmark.records import Arithmetic, Session
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.plan import plan
from benchmark.timing import harness
from benchmark.timing.interleaved import Block, Played, Player, Warmed, _warm_up

CALL_NS = 1_500_000


@pytest.fixture
def start(simulated, interpreters):
    """Start the measuring child of a simulated cell."""

    def started(*overrides):
        (run,) = plan([simulated("sampling=quick", *overrides)], lambda _: {}).runs
        cache, call = CompileCache(run.cell.experiment.cache_root), stage_calls(run, interpreters)
        cache.prepare()
        workload = build(run.cell, run.environment, cache, call.build)
        artifact = compile_(run.cell, workload, run.environment, cache, call.compile)
        return Player(call.measure, run.cell, workload, artifact)

    return started


@pytest.mark.parametrize("isolated", ["hardware.isolated=false", "hardware.isolated=true"])
def test_a_block_has_as_many_calls_as_it_is_said(start, isolated):
    player = start(isolated)
    assert player.warmed().call_ns == CALL_NS
    assert [player.block(0, calls).nanoseconds for calls in (3, 1, 2)] == [(CALL_NS,) * n for n in (3, 1, 2)]
    player.end()


def test_the_wall_of_a_block_is_said_by_the_clock_of_its_device(start):
    player = start()
    player.warmed()
    assert player.block(0, 4).wall_s == pytest.approx(4 * CALL_NS / 1e9)
    player.end()


def test_a_child_sleeps_while_it_waits(start):
    player = start("hardware.isolated=true")
    player.warmed()
    player.block(0, 1)
    time.sleep(0.2)
    assert player.block(0, 1).idle_cpu_s < 0.05
    player.end()


@pytest.mark.parametrize(
    ("stage", "fault", "message"),
    [
        ("load", "raise", r"^RuntimeError: simulated fault 'raise'$"),
        ("call", "kill", r"^the child was ended by SIGKILL"),
        ("call", "exit", r"^the child left with exit code 3"),
    ],
)
def test_a_child_that_fails_says_why(start, stage, fault, message):
    player = start("hardware.isolated=true", f"compiler.fault={fault}", f"compiler.fault_stage={stage}")
    with pytest.raises(Crashed, match=message):
        player.warmed()


def test_a_child_that_ends_between_its_blocks_says_why(start):
    player = start()
    player.warmed()
    with pytest.raises(Crashed, match=r"^TypeError"):
        player.block(0, "no number")
    with pytest.raises(Crashed, match=r"^TypeError"):
        player.block(0, 1)


def scripted(latencies_ns):
    """A session whose calls take what the script says; the last latency for ever."""
    now, script = 0, iter(latencies_ns)

    def run():
        nonlocal now
        now += next(script, latencies_ns[-1])

    fp32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")
    return Session(run=run, arithmetic=fp32, clock=lambda: now)


@pytest.mark.parametrize(
    ("overrides", "calls"),
    [
        (["warmup_calls=4", "warmup_s=0"], 4),
        (["warmup_calls=4", "warmup_s=0.01"], 10),
        (["warmup_calls=0", "warmup_s=0"], 1),
        (["warmup_calls=4", "warmup_s=0.01", "min_calls=5", "max_calls=7"], 7),
    ],
)
def test_the_warm_up_lasts_as_long_as_the_sampling_says(simulated, overrides, calls):
    session = scripted([1_000_000])
    _warm_up(session, simulated(*(f"sampling.{override}" for override in overrides)).sampling)
    assert session.clock() == calls * 1_000_000


def test_a_typical_call_is_that_of_the_second_half_of_the_warm_up(simulated):
    session = scripted([900, 800, 700, 10, 30, 20])
    sampling = simulated("sampling.warmup_calls=6", "sampling.warmup_s=0").sampling
    assert _warm_up(session, sampling) == 20


def test_a_turn_starts_on_its_cpu_and_is_not_kept_there():
    allowed = sorted(os.sched_getaffinity(0))
    for turn in range(4):
        cpu = str(allowed[turn % len(allowed)])
        assert any(
            _runs_on_after_taking_place(turn) == cpu for _ in range(100)
        )  # the kernel may move it at once
        assert sorted(os.sched_getaffinity(0)) == allowed


def _runs_on_after_taking_place(turn):
    harness.start_on(turn)
    return Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()[36]


def test_what_was_played_tells_its_blocks_and_its_share_of_the_cpu():
    turns = tuple(
        Block(nanoseconds=(n, n), wall_s=0.5, cpu_s=cpu_s, idle_cpu_s=0.0)
        for n, cpu_s in ((5, 0.5), (7, 0.25))
    )
    played = Played(warmed=Warmed(load_s=0.0, first_call_ns=9, call_ns=6), turns=turns)
    assert played.blocks == ((5, 5), (7, 7))
    assert played.cpu_share == 0.75

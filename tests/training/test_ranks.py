"""Ranks: answers in their order, and an end of all when one fails, dies or hangs."""

from __future__ import annotations

import faulthandler
import os
import signal
import time

import psutil
import pytest

from benchmark.errors import Crashed, Incompatible, TimedOut
from benchmark.training import ranks

STEPS = 4


@pytest.fixture(autouse=True)
def _no_process_is_left():
    before = {child.pid for child in psutil.Process().children()}
    yield
    assert {child.pid for child in psutil.Process().children()} <= before


def run(work, number=2, hang_s=0.5):
    def quiet(rank, progress):
        progress.expect(STEPS)
        faulthandler.disable()  # pytest's would write the stack of each rank that is ended
        return work(rank, progress)

    return ranks.run(number, quiet, hang_s)


def at_step_2(act):
    """Work of which rank 1 does something in its second step; the others wait for it, as in a collective."""

    def work(rank, progress):
        progress.done(rank, 1)
        if rank == 1:
            act()
        while min(progress.steps) < 2:
            time.sleep(0.01)
            if rank == 1:
                progress.done(rank, 2)
        return rank

    return work


def test_answers_come_in_the_order_of_ranks():
    def work(rank, progress):
        time.sleep(0.2 * (rank == 0))
        progress.done(rank, STEPS)
        return f"rank {rank}"

    assert run(work) == ["rank 0", "rank 1"]


@pytest.mark.parametrize(
    ("act", "how"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL"),
        (lambda: os._exit(3), "left with exit code 3"),
    ],
)
def test_a_rank_that_dies_ends_all_at_once(act, how):
    began = time.monotonic()
    with pytest.raises(Crashed, match=f"rank 1 of 2 {how} after step 1; the others were ended"):
        run(at_step_2(act), hang_s=30)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("act", [lambda: time.sleep(60), lambda: os.kill(os.getpid(), signal.SIGSTOP)])
def test_a_rank_that_hangs_ends_all_after_the_patience(act):
    began = time.monotonic()
    with pytest.raises(TimedOut, match=r"no step for .* after step 1 of 4: one of 2 ranks hangs"):
        run(at_step_2(act))
    assert 0.5 < time.monotonic() - began < 10


def test_the_first_step_may_take_longer_than_the_patience_and_so_may_the_end():
    def work(rank, progress):
        time.sleep(0.8)
        for step in range(1, STEPS + 1):
            progress.done(rank, step)
        time.sleep(0.8)
        return rank

    assert run(work, hang_s=0.3) == [0, 1]


def test_slow_steps_get_ten_times_the_longest_one():
    def work(rank, progress):
        for step in range(1, STEPS + 1):
            time.sleep(0.6)
            progress.done(rank, step)
        return rank

    assert run(work, hang_s=0.7) == [0, 1]
    with pytest.raises(TimedOut):
        run(work, hang_s=0.1)


def test_what_a_rank_raises_is_raised_here_and_a_death_explains_more():
    def refuse():
        raise Incompatible("it can't")

    def other_then_dies(rank, progress):
        if rank == 0:
            raise RuntimeError("Connection closed by peer")
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Incompatible, match="it can't"):
        run(at_step_2(refuse), hang_s=30)
    with pytest.raises(Crashed, match="rank 1 of 2 was ended by SIGKILL"):
        run(other_then_dies)

"""Copies in processes of their own: one measurement of all, and one failure is the failure of all."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pytest

from benchmark.cell import cell_of
from benchmark.compilers.simulated import Simulated
from benchmark.devices.simulated import SimulatedDevice
from benchmark.errors import CompileFailed, Crashed, WrongAnswer
from benchmark.execution.forkserver import inline
from benchmark.records import Sampling, frozen
from benchmark.stages.build import _imagined
from benchmark.stages.measure import measure
from benchmark.timing.copies import Replicas
from tests.execution.test_team import left
from tests.stages.test_measure import NOTHING

SHARE = "TEST_SHARE"
MS = 1_000_000


@frozen
class TwoCores(SimulatedDevice):
    """A device that has two cores to give, numbered 6 and 7 on this host."""

    def shares(self, replicas):
        return tuple((6 + number,) for number in range(replicas))

    def configure_process(self, share=()):
        os.environ[SHARE] = str(share[0])


@frozen
class ByCore(Simulated):
    """A call takes 1 ms; there may be trouble on core 7."""

    trouble: Literal["none", "load", "call", "kill", "wrong", "late"] = "none"

    def placement(self, parts, cores):  # noqa: ARG002 - the protocol's
        return dict.fromkeys(parts, (0,))

    def load(self, workload, folder):
        trouble = self.trouble if os.environ[SHARE] == "7" else "none"
        if trouble == "load":
            raise ValueError("no such program")
        session = super().load(workload, folder)
        calls = 0

        def run():
            nonlocal calls
            calls += 1
            if calls > 3 and trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if calls > 3 and trouble == "call":
                raise ValueError("execution failed")
            session.run()
            return (np.array([1.0, 2.0 if trouble == "wrong" else 3.0]),)

        session = replace(session, save_image=_saved)
        if self.trouble == "late":  # by a real clock
            wait = partial(time.sleep, 0.1 if trouble == "late" else 0)
            return replace(session, run=run, clock=time.perf_counter_ns, before_block=wait)
        return replace(session, run=run)


def _saved(file):
    with file.open("a") as picture:
        picture.write(os.environ[SHARE])
    return True


@pytest.fixture
def measured(simulated, tmp_path, monkeypatch):
    """Measure two copies on two cores."""
    monkeypatch.setenv(SHARE, "none")

    def run(trouble="none", workers=1, **sampling):
        e = simulated("scenario=throughput", "scenario.replicas=2", f"scenario.workers={workers}")
        usual = {
            "warmup_calls": 0,
            "warmup_s": 0,
            "min_calls": 2,
            "max_calls": 5000,
            "min_s": 1.0,
            "max_s": 9.0,
        }
        e = replace(
            e,
            hardware=TwoCores(),
            compiler=ByCore(trouble=trouble),
            sampling=Sampling(**{**usual, **sampling}),
        )
        cell = cell_of(e)
        environment = type("Environment", (), {"facts": e.hardware.facts()})
        workload = _imagined(cell, environment)
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "law.json").write_text('{"latency_ms": 1.0, "token_ms": 0.0}', encoding="utf-8")
        return measure(cell, workload, replace(NOTHING, folder=tmp_path), inline, tmp_path / "picture")

    return run


def test_calls_of_all_processes_are_one_measurement(measured):
    found = measured()
    assert len(found.timing.nanoseconds) / found.timing.wall_s == pytest.approx(2000, rel=0.2)
    assert set(found.timing.nanoseconds) == {MS}
    assert found.placement == {"0/model": "6", "1/model": "7"}
    assert found.peak_host_bytes > 20 << 20  # of two processes
    assert found.picture.read_text() == "6"  # of the first alone


def test_a_maximum_is_that_of_all_processes_together(measured):
    found = measured(workers=2, min_s=0.0, min_calls=10, max_calls=10)
    assert 10 <= len(found.timing.nanoseconds) <= 10 + 4


def test_replicas_begin_a_block_together_though_one_is_late(measured, monkeypatch):
    blocks = []
    really = Replicas._block

    def block(replicas, *limits):
        blocks.append(really(replicas, *limits)[0])
        return blocks[-1], 0.0

    monkeypatch.setattr(Replicas, "_block", block)
    measured("late", min_s=0.0, max_calls=2)
    for one, other in blocks:
        assert abs(one.began_ns - other.began_ns) < 0.05e9


def test_workers_are_threads_of_each_process(measured):
    found = measured(workers=3, min_s=0.5)
    assert len(found.timing.nanoseconds) / found.timing.wall_s == pytest.approx(6000, rel=0.2)


@pytest.mark.parametrize(
    ("trouble", "kind", "sentence"),
    [
        (
            "load",
            CompileFailed,
            "replica 1: compiler=simulated: what it made can't be loaded: ValueError: no",
        ),
        ("call", Crashed, "replica 1: ValueError: execution failed"),
        ("kill", Crashed, "the process of replica 1 was ended by SIGKILL"),
        ("wrong", WrongAnswer, "replica 1 and replica 0 give different answers to the same inputs"),
    ],
)
def test_the_failure_of_one_replica_is_that_of_the_cell(measured, trouble, kind, sentence):
    before = _children()
    with pytest.raises(kind) as failure:
        measured(trouble)
    assert str(failure.value).startswith(sentence)
    assert left(_children() - before) == []


def _children():
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}

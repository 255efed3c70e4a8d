"""Load, call once for the answers, time; the device belongs to one run at a time."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmark.cell import cell_of, environment_of
from benchmark.devices.simulated import SimulatedDevice
from benchmark.errors import Crashed
from benchmark.execution.forkserver import inline
from benchmark.measurement import Noise
from benchmark.protocols import ScenarioDefaults
from benchmark.records import Arithmetic, Artifact, CompileReport, Sampling, Session, frozen
from benchmark.stages.build import build
from benchmark.stages.measure import measure

MS = 1_000_000
NOTHING = Artifact(
    folder=None, key=None, report=CompileReport(), cache_hit=None, compile_s=None, artifact_bytes=None
)
TWICE = Sampling(warmup_calls=1, warmup_s=0, min_calls=2, max_calls=2, min_s=0, max_s=60)
BF16 = Arithmetic(model_dtype="fp32", matmul_dtype="bf16", other_dtype="bf16", autocast="all")


@frozen
class Reused:
    """Hands out one buffer, as some runtimes do: every call overwrites the answer of the last."""

    answers: str = "tuple"
    fast_math: str = "none"

    name: ClassVar[str] = "reused"
    runs_on: ClassVar[frozenset[str]] = frozenset({"simulated"})
    leaves_artifact: ClassVar[bool] = False
    preload: ClassVar[tuple[str, ...]] = ()

    def refuse(self, kind):  # noqa: ARG002 - the seam's signature
        return None

    def versions(self):
        return {}

    def compile(self, workload, folder):
        raise NotImplementedError

    def load(self, workload, folder):  # noqa: ARG002 - the seam's signature
        assert folder is None
        buffer = np.zeros((2, 3), np.float64)
        now = 0

        def run():
            nonlocal now
            now += 5 * MS
            buffer[:] += 1
            return buffer if self.answers == "array" else (buffer, buffer[0])

        return Session(run=run, arithmetic=BF16, clock=lambda: now)


@frozen
class Counted(SimulatedDevice):
    """A device whose calls have to be waited for."""

    waits: ClassVar[list[int]] = []

    def synchronized(self, session):
        def call():
            self.waits.append(1)
            return session.run()

        return replace(session, run=call)


@pytest.fixture
def experiment(simulated):
    return replace(simulated(), compiler=Reused(), sampling=TWICE)


@pytest.fixture
def measured(simulated):
    """Measure an experiment as the pipeline would."""
    cell = cell_of(simulated())
    workload = build(cell, environment_of(cell.experiment.hardware.facts(), {}, {}), None, None)
    return lambda experiment, call=inline, **changes: measure(
        cell_of(experiment), replace(workload, **changes), NOTHING, call
    )


def test_every_timed_call_is_kept_and_the_first_one_apart(experiment, measured):
    found = measured(experiment)
    assert found.first_call_ns == 5 * MS
    assert found.timing.nanoseconds == (5 * MS, 5 * MS)
    assert found.timing.warmup_calls == 1
    assert found.load_s >= 0
    assert found.peak_host_bytes > 10 << 20


def test_the_answers_are_copies_of_those_of_the_first_call_as_float32(experiment, measured):
    one, row = measured(experiment).answers
    assert (one.dtype, row.dtype) == (np.float32, np.float32)
    assert one.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert row.tolist() == [1, 1, 1]


def test_an_answer_that_is_not_in_a_tuple_is_one_answer(experiment, measured):
    (answer,) = measured(replace(experiment, compiler=Reused(answers="array"))).answers
    assert answer.shape == (2, 3)


def test_the_second_inputs_are_given_in_place_after_the_timing(experiment, measured, tmp_path):
    (tmp_path / "second").mkdir()
    save_file({"x": np.full((1, 2), 7, np.int64)}, tmp_path / "second" / "inputs.safetensors")

    @frozen
    class Echo(Reused):
        """Answers with its input, at the same address whatever it holds."""

        calls: ClassVar[list[int]] = []

        def load(self, workload, folder):  # noqa: ARG002 - the seam's signature
            held = np.ones((1, 2), np.int64)

            def run():
                self.calls.append(1)
                return (held,)

            return Session(run=run, arithmetic=BF16, inputs=(held,), clock=lambda: len(self.calls) * MS)

    found = measured(replace(experiment, compiler=Echo()), reference=tmp_path, input_names=("x",))
    assert found.answers[0].tolist() == [[1, 1]]
    assert found.second_answers[0].tolist() == [[7, 7]]
    assert len(Echo.calls) == 5  # the first, a warm-up, two samples, the second inputs


def test_the_arithmetic_is_what_the_session_says_whatever_was_asked_for(experiment, measured):
    assert measured(experiment).arithmetic == BF16


def test_the_device_is_waited_for_in_every_call(experiment, measured):
    Counted.waits.clear()
    measured(replace(experiment, hardware=Counted()))
    assert len(Counted.waits) == 4  # the first call, a warm-up, two samples


def test_no_garbage_is_collected_while_timing_but_it_is_afterwards(experiment, measured):
    seen = []

    @frozen
    class Watched(ScenarioDefaults):
        name: ClassVar[str] = "watched"
        replicas: ClassVar[int] = 1

        def measure(self, sessions, sampling, asking=None):  # noqa: ARG002 - the seam's signature
            seen.append(gc.isenabled())
            raise ValueError("enough")

    with pytest.raises(Crashed, match="enough"):
        measured(replace(experiment, scenario=Watched()))
    assert seen == [False]
    assert gc.isenabled()


class Noisy:
    """What a watch finds, attempt by attempt."""

    def __init__(self, *shares):
        self.shares = iter(shares)

    def __call__(self, _state, _usage):
        return self

    def noise(self, _state, least):
        share = next(self.shares)
        return Noise(on_cpu=share, flags=("contended",) if share < least else ())


@frozen
class Real(SimulatedDevice):
    """Says that it is real, so that what disturbs is looked for."""

    simulated: ClassVar[bool] = False


@pytest.mark.parametrize(("shares", "kept"), [((0.99,), 0.99), ((0.5, 0.98), 0.98), ((0.5, 0.8, 0.7), 0.8)])
def test_a_noisy_timing_is_made_again_and_the_quietest_counts(
    experiment, measured, monkeypatch, shares, kept
):
    monkeypatch.setattr("benchmark.stages.measure.Watch", Noisy(*shares))
    found = measured(replace(experiment, hardware=Real()))
    assert (found.attempts, found.noise.on_cpu) == (len(shares), kept)
    assert bool(found.noise.flags) == (kept < 0.97)
    assert (found.retries_s > 0) == (len(shares) > 1)
    assert found.retries_s < found.process_s


def test_without_retries_a_noisy_timing_is_kept_as_it_is(experiment, measured, monkeypatch):
    monkeypatch.setattr("benchmark.stages.measure.Watch", Noisy(0.5))
    once = replace(experiment.sampling, noise_retries=0)
    found = measured(replace(experiment, hardware=Real(), sampling=once))
    assert (found.attempts, found.noise.flags) == (1, ("contended",))


def test_a_simulated_device_is_not_watched(experiment, measured, monkeypatch):
    monkeypatch.setattr("benchmark.stages.measure.Watch", None)
    assert measured(experiment).noise == Noise()


def test_the_harness_describes_itself(experiment, measured):
    assert measured(experiment).harness.timer_ns > 0

"""How a GPU is timed and watched, against stand-ins for torch.cuda and NVML: no GPU was at hand."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from benchmark.devices import cuda
from benchmark.devices.cuda import Cuda
from benchmark.measured import DeviceState
from benchmark.records import Arithmetic, Session

FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")


class Card:
    """A card whose work is done 3 ms after it was asked for, on a clock that nothing else moves."""

    def __init__(self):
        self.now_ms = 0.0
        self.pending_ms = 0.0
        self.waits = 0
        self.events = 0

    def run(self):
        self.pending_ms += 3.0
        return "answers"

    def synchronize(self):
        self.waits += 1
        self.now_ms += self.pending_ms
        self.pending_ms = 0.0


@pytest.fixture
def card(monkeypatch):
    card = Card()

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing
            card.events += 1

        def record(self):
            self.at_ms = card.now_ms + card.pending_ms

        def elapsed_time(self, end):
            return end.at_ms - self.at_ms

    torch = SimpleNamespace(cuda=SimpleNamespace(Event=Event, synchronize=card.synchronize))
    monkeypatch.setitem(sys.modules, "torch", torch)
    return card


@pytest.fixture
def session(card):
    clock = lambda: round(card.now_ms * 1e6)  # noqa: E731 - a clock
    return Cuda().synchronised(Session(run=card.run, arithmetic=FP32, clock=clock))


def test_a_call_ends_when_the_card_has_ended(card, session):
    before = session.clock()
    assert session.run() == "answers"
    assert session.clock() - before == 3_000_000
    assert card.waits == 1


def test_the_cards_own_times_are_told_once(session):
    for _ in range(3):
        session.run()
    assert session.device_ns() == [3_000_000] * 3
    assert session.device_ns() == []
    session.run()
    assert session.device_ns() == [3_000_000]


def test_events_are_made_beforehand_and_used_again(card, session, monkeypatch):
    made = card.events
    assert made == 2 * cuda._EVENTS
    for _ in range(cuda._EVENTS + 5):
        session.run()
    assert card.events == made
    assert len(session.device_ns()) == cuda._EVENTS


@pytest.fixture
def nvml(monkeypatch):
    """NVML of a card that is hot, slowed by heat, and shared with one process."""
    reasons = {
        "nvmlClocksThrottleReasonGpuIdle": 1,
        "nvmlClocksThrottleReasonSwPowerCap": 4,
        "nvmlClocksThrottleReasonHwSlowdown": 8,
        "nvmlClocksThrottleReasonSwThermalSlowdown": 32,
        "nvmlClocksThrottleReasonHwThermalSlowdown": 64,
        "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": 128,
    }
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 1 | 32,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [
            SimpleNamespace(pid=os.getpid()),
            SimpleNamespace(pid=1),
        ],
        nvmlDeviceGetClockInfo=lambda _, kind: {0: 1410}[kind],
        nvmlDeviceGetTemperature=lambda _, sensor: {0: 83}[sensor],
        NVML_CLOCK_SM=0,
        NVML_TEMPERATURE_GPU=0,
        **reasons,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)


@pytest.mark.usefixtures("nvml")
def test_the_state_of_a_card_is_what_nvml_tells():
    assert Cuda().state() == DeviceState(
        clock_mhz=1410.0, temperature_c=83.0, throttle_reasons=("SwThermalSlowdown",), other_processes=1
    )


def test_without_nvml_nothing_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Cuda().state() == DeviceState()

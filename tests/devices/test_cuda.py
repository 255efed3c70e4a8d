"""How a GPU is timed and watched, against stand-ins for torch.cuda and NVML: no GPU was at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from benchmark.devices import cuda
from benchmark.devices.cuda import Cuda
from benchmark.errors import Unavailable
from benchmark.host.machine import COMMAND_PID
from benchmark.measurement import DeviceState
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
    return Cuda().synchronized(Session(run=card.run, arithmetic=FP32, clock=clock))


def test_a_call_ends_when_the_card_has_ended(card, session):
    before = session.clock()
    assert session.run() == "answers"
    assert session.clock() - before == 3_000_000
    assert card.waits == 1


def test_the_cards_own_times_are_reported_once(session):
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


class NVMLError(Exception):
    pass


def unsupported(*_):
    raise NVMLError("Not Supported")


OURS, THEIRS = os.getpid(), 1


@pytest.fixture
def library(monkeypatch):
    """NVML of a card that is hot, slowed by heat, and shared with one process."""
    library = SimpleNamespace(
        NVMLError=NVMLError,
        starts=0,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: 1 | 32,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [
            SimpleNamespace(pid=OURS, usedGpuMemory=600),
            SimpleNamespace(pid=THEIRS, usedGpuMemory=7000),
        ],
        nvmlDeviceGetClockInfo=lambda _, kind: {1: 1410}[kind],
        nvmlDeviceGetTemperature=lambda _, sensor: {0: 83}[sensor],
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=35, memory=12),
        nvmlDeviceGetTotalEnergyConsumption=lambda _: 2500,
        NVML_CLOCK_SM=1,
        NVML_TEMPERATURE_GPU=0,
    )

    def start():
        library.starts += 1

    library.nvmlInit = start
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setenv(COMMAND_PID, str(2**22 + 1))
    monkeypatch.setattr(os, "getppid", lambda: 2**22 + 2)
    monkeypatch.setitem(sys.modules, "torch", None)
    cuda._nvml.cache_clear()
    yield library
    cuda._nvml.cache_clear()


HOT = DeviceState(
    clock_mhz=1410.0,
    temperature_c=83.0,
    throttle_reasons=("SwThermalSlowdown",),
    other_processes=1,
    memory_bytes=600,
    utilisation=0.35,
    energy_j=2.5,
)


def test_the_state_of_a_card_has_the_readings_of_nvml(library):
    assert Cuda().state() == HOT


def test_nvml_is_started_once(library):
    for _ in range(3):
        Cuda().state()
    assert library.starts == 1


def test_reasons_are_requested_by_their_older_name_where_the_library_or_the_driver_knows_no_newer(library):
    library.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _: 4
    library.nvmlDeviceGetCurrentClocksEventReasons = unsupported
    assert Cuda().state().throttle_reasons == ("SwPowerCap",)
    del library.nvmlDeviceGetCurrentClocksEventReasons
    assert Cuda().state().throttle_reasons == ("SwPowerCap",)


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetTotalEnergyConsumption", "energy_j"),
        ("nvmlDeviceGetUtilizationRates", "utilisation"),
        ("nvmlDeviceGetClockInfo", "clock_mhz"),
        ("nvmlDeviceGetTemperature", "temperature_c"),
    ],
)
def test_a_reading_that_a_card_lacks_is_null_and_the_rest_is_reported(library, function, field):
    setattr(library, function, unsupported)
    assert Cuda().state() == replace(HOT, **{field: None})


def test_a_driver_that_lists_no_processes_leaves_them_and_their_memory_null(library):
    library.nvmlDeviceGetComputeRunningProcesses = unsupported
    assert Cuda().state() == replace(HOT, other_processes=None, memory_bytes=None)


def torch_that_held(most, *, started=True):
    return SimpleNamespace(
        cuda=SimpleNamespace(is_initialized=lambda: started, max_memory_reserved=lambda: most)
    )


@pytest.mark.parametrize(
    ("torch", "bytes_"),
    [
        (torch_that_held(900), 900),
        (torch_that_held(500), 600),
        (torch_that_held(900, started=False), 600),
    ],
)
def test_memory_is_the_most_that_torch_held_unless_other_libraries_hold_more(
    library, monkeypatch, torch, bytes_
):
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert Cuda().state().memory_bytes == bytes_


def test_without_nvml_torch_alone_states_of_memory(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Cuda().state() == DeviceState()
    monkeypatch.setitem(sys.modules, "torch", torch_that_held(900))
    assert Cuda().state() == DeviceState(memory_bytes=900)


@pytest.fixture
def _settled(monkeypatch):
    for name in ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "as it was")


@pytest.mark.usefixtures("_settled")
def test_beside_another_process_it_refuses_and_says_both_ways_out(library):
    with pytest.raises(Unavailable) as refused:
        Cuda(index=2).configure_process()
    told = str(refused.value)
    assert told.startswith("hardware.exclusive=true: GPU 2 is in use by process 1 (")
    assert "hardware.index" in told
    assert "hardware.exclusive=false" in told
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"


@pytest.mark.usefixtures("_settled")
def test_unless_it_need_not_be_alone(library):
    Cuda(exclusive=False).configure_process()
    assert Cuda(exclusive=False).state().other_processes == 1


@pytest.mark.usefixtures("_settled")
def test_processes_of_the_same_command_are_not_others(library, monkeypatch):
    beside = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    library.nvmlDeviceGetComputeRunningProcesses = lambda _: [
        SimpleNamespace(pid=beside.pid, usedGpuMemory=None)
    ]
    try:
        with pytest.raises(Unavailable):
            Cuda().configure_process()
        monkeypatch.setenv(COMMAND_PID, str(os.getpid()))
        Cuda().configure_process()
        assert Cuda().state().other_processes == 0
        monkeypatch.setenv(COMMAND_PID, str(2**22 + 1))  # which this child's server has not started
        monkeypatch.setattr(os, "getppid", os.getpid)
        assert Cuda().state().other_processes == 0
    finally:
        beside.communicate(b"\n")


def broken(library):
    def start():
        raise NVMLError("Driver/library version mismatch")

    library.nvmlInit = start


@pytest.mark.usefixtures("_settled")
@pytest.mark.parametrize(
    ("lacks", "why"),
    [
        (lambda _: sys.modules.update(pynvml=None), "nvidia-ml-py is not installed: pip install"),
        (broken, "NVML doesn't start: Driver/library version mismatch"),
        (
            lambda library: setattr(library, "nvmlDeviceGetComputeRunningProcesses", unsupported),
            "its driver doesn't list processes",
        ),
    ],
)
def test_where_other_processes_are_unknown_the_log_says_so_and_it_measures(library, capsys, lacks, why):
    lacks(library)
    Cuda().configure_process()
    assert f"processes of GPU 0 are unknown, {why}" in capsys.readouterr().err


def test_an_instance_type_is_one_of_the_catalogue():
    assert Cuda(instance_type="g5.xlarge").instance_type == "g5.xlarge"
    with pytest.raises(ValidationError, match="no such instance type"):
        Cuda(instance_type="g5.xlarg")


def test_cards_of_another_name_have_artefacts_of_their_own(monkeypatch, tmp_path):
    """The key of an artefact has the name: by it the cards of a host differ."""
    for place, model in (("0000:00:1e.0", "NVIDIA A10G"), ("0000:00:1f.0", "Tesla T4")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 33\n")
    monkeypatch.setattr(cuda, "CARDS", tmp_path)
    assert [Cuda(index=index).facts().device_name for index in (0, 1)] == ["NVIDIA A10G", "Tesla T4"]


def test_an_instance_type_without_a_gpu_is_refused():
    assert Cuda(instance_type="g5.xlarge").refuse() is None
    assert Cuda().refuse() is None
    for name in ("c7i.xlarge", "inf2.xlarge"):
        assert (
            Cuda(instance_type=name)
            .refuse()
            .startswith(f"hardware.instance_type={name}: has no NVIDIA GPU: ")
        )

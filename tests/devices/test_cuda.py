"""How a GPU is timed and watched, against stand-ins for torch.cuda and NVML: no GPU was at hand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from benchmark.devices.cuda import Cuda
from benchmark.errors import Unavailable
from benchmark.host import machine
from benchmark.host.machine import COMMAND_PID
from benchmark.measurement import DeviceState
from benchmark.nvidia import events, given, nvml
from benchmark.records import Arithmetic, Session

FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")


class Card:
    """A card whose work is done 3 ms after it was requested, on a clock that nothing else moves.

    As torch has it: an event is created at its first record, which takes 1 ms here; each thread has a current
    stream of its own, the default one at first; work on one stream doesn't wait for that on another.
    """

    def __init__(self):
        self.now_ms = 0.0
        self.done_ms = defaultdict(float)
        self.threads = threading.local()
        self.created, self.streams = 0, 0
        self.waited_for = []

    @property
    def stream(self):
        return getattr(self.threads, "stream", "default")

    def run(self):
        self.done_ms[self.stream] = max(self.now_ms, self.done_ms[self.stream]) + 3.0
        return "answers"

    def wait(self, stream):
        self.waited_for.append(stream)
        self.now_ms = max(self.now_ms, self.done_ms[stream])

    def as_torch(self):
        card = self

        class Event:
            def __init__(self, *, enable_timing=False):
                self.times, self.is_created = enable_timing, False

            def record(self):
                if not self.is_created:
                    self.is_created = True
                    card.created += 1
                    card.now_ms += 1.0
                self.stream = card.stream
                self.at_ms = max(card.now_ms, card.done_ms[card.stream])

            def synchronize(self):
                card.wait(self.stream)

            def elapsed_time(self, end):
                assert self.times
                assert end.times
                return end.at_ms - self.at_ms

        def new_stream():
            card.streams += 1
            return f"stream {card.streams}"

        def synchronize():
            for stream in list(card.done_ms):
                card.wait(stream)

        cuda = SimpleNamespace(
            Event=Event,
            Stream=new_stream,
            set_stream=lambda stream: setattr(card.threads, "stream", stream),
            synchronize=synchronize,
            is_initialized=lambda: True,
        )
        backends = SimpleNamespace(cudnn=SimpleNamespace(benchmark=None))
        return SimpleNamespace(cuda=cuda, backends=backends)


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setitem(sys.modules, "torch", card.as_torch())
    monkeypatch.setattr(events, "PAIRS", 8)
    return card


@pytest.fixture
def session(card):
    clock = lambda: round(card.now_ms * 1e6)  # noqa: E731 - a clock
    return Cuda().synchronized(Session(run=card.run, arithmetic=FP32, clock=clock))


def test_a_call_ends_when_the_card_has_ended(card, session):
    before = session.clock()
    assert session.run() == "answers"
    assert session.clock() - before == 3_000_000


@pytest.mark.parametrize("chosen", [False, True])
def test_cudnn_times_its_algorithms_where_that_is_chosen(card, chosen):
    Cuda(cudnn_benchmark=chosen).synchronized(Session(run=card.run, arithmetic=FP32))
    assert sys.modules["torch"].backends.cudnn.benchmark == chosen


def test_no_event_is_created_within_a_timed_call(card, session):
    created = card.created
    assert created == 2 * events.PAIRS
    took = []
    for _ in range(3 * events.PAIRS):
        before = session.clock()
        session.run()
        took.append(session.clock() - before)
    assert set(took) == {3_000_000}
    assert card.created == created


def test_the_cards_own_times_are_reported_once_however_many(session):
    for calls in (3, 0, 1, 3 * events.PAIRS):
        for _ in range(calls):
            session.run()
        assert session.device_ns() == [3_000_000] * calls


def test_callers_of_one_model_have_a_stream_each_and_wait_for_their_own_alone(card, session):
    def calls():
        session.run()
        card.waited_for.clear()
        card.done_ms["another"] = 1e9
        session.run()
        return [*card.waited_for]

    assert calls() == ["default"]
    for number in (1, 2):
        card.done_ms.pop("another")
        with ThreadPoolExecutor(1) as worker:
            assert worker.submit(calls).result() == [f"stream {number}"]
    assert session.device_ns() == [3_000_000] * 2  # those of the thread that has loaded it


class NVMLError(Exception):
    pass


def unsupported(*_):
    raise NVMLError("Not Supported")


OURS, THEIRS = os.getpid(), 1
SLICE = "MIG-5ca1ab1e"


@pytest.fixture
def library(monkeypatch):
    """NVML of a card that is hot, slowed by heat, and shared with one process."""
    library = SimpleNamespace(
        NVMLError=NVMLError,
        starts=0,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid if uuid == SLICE else unsupported(),
        nvmlDeviceGetUUID=lambda handle: SLICE if handle == "slice 0" else f"GPU-{handle}c0ffee",
        nvmlDeviceGetName=lambda handle: "H200 MIG 1g.18gb" if handle == SLICE else ("A10G", "T4")[handle],
        nvmlSystemGetDriverVersion=lambda: b"580.159",
        nvmlDeviceGetMigMode=lambda _: [0, 0],
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
    for name in ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    _forget()
    yield library
    _forget()


def _forget():
    nvml.library.cache_clear()
    given.names.cache_clear()


HOT = DeviceState(
    clock_mhz=1410.0,
    temperature_c=83.0,
    throttle_reasons=("SwThermalSlowdown",),
    other_processes=1,
    memory_bytes=600,
    utilisation=0.35,
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


def test_beside_another_process_it_refuses_and_says_both_ways_out(library):
    with pytest.raises(Unavailable) as refused:
        Cuda(index=2).configure_process()
    message = str(refused.value)
    assert message.startswith("hardware.exclusive=true: GPU 2 is in use by process 1 (")
    assert "hardware.index" in message
    assert "hardware.exclusive=false" in message
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"


def test_unless_it_need_not_be_alone(library):
    Cuda(exclusive=False).configure_process()
    assert Cuda(exclusive=False).state().other_processes == 1


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


@pytest.fixture
def by_driver(monkeypatch, tmp_path):
    """A host whose driver's files show two cards, without NVML."""
    for place, model in (("0000:00:1e.0", "NVIDIA A10G"), ("0000:00:1f.0", "Tesla T4")):
        folder = tmp_path / "gpus" / place
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nGPU UUID: \t GPU-{model[-3:]}\n")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(given, "PROC", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _forget()
    yield tmp_path
    _forget()


def test_cards_of_another_name_have_artefacts_of_their_own(by_driver):
    """The key of an artefact has the name: by it the cards of a host differ."""
    assert [Cuda(index=index).facts().device_name for index in (0, 1)] == ["NVIDIA A10G", "Tesla T4"]


@pytest.mark.parametrize(
    ("text", "index", "expected"),
    [
        (None, 1, ("1", "T4")),
        ("1", 0, ("1", "T4")),
        ("1,0", 1, ("0", "A10G")),
        ("GPU-1c0ffee", 0, ("GPU-1c0ffee", "T4")),
        ("GPU-0", 0, ("GPU-0", "A10G")),
        (SLICE, 0, (SLICE, "H200 MIG 1g.18gb")),
    ],
)
def test_the_card_that_slurm_or_kubernetes_gave_is_the_one_that_is_used(
    library, monkeypatch, text, index, expected
):
    name, device = expected
    if text is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    card = Cuda(index=index, exclusive=False)
    assert card.facts().device_name == device
    assert card.facts().driver_version == "580.159"
    for _ in range(2):  # a second copy of the model finds the variable narrowed
        card.configure_process()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == name
    assert card.facts().device_name == device


@pytest.mark.parametrize(
    ("text", "index", "complaint"),
    [
        (None, 2, "hardware.index=2: this host has 2 GPU"),
        ("", 0, "CUDA_VISIBLE_DEVICES= gives this command no GPU"),
        ("-1", 0, "CUDA_VISIBLE_DEVICES=-1 gives this command no GPU"),
        ("0,none,1", 1, "hardware.index=1: CUDA_VISIBLE_DEVICES=0,none,1 gives 1 GPU"),
        ("7", 0, "CUDA_VISIBLE_DEVICES=7: this host has no GPU 7"),
        ("GPU-absent", 0, "this host has no GPU GPU-absent; `nvidia-smi -L`"),
        ("MIG-absent", 0, "this host has no GPU MIG-absent"),
    ],
)
def test_a_card_that_is_not_there_is_one_clear_line(library, monkeypatch, text, index, complaint):
    if text is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert complaint in Cuda(index=index).missing()


def test_a_divided_card_is_used_by_the_name_of_a_slice_alone(library, monkeypatch):
    library.nvmlDeviceGetMigMode = lambda _: [1, 1]
    library.nvmlDeviceGetMaxMigDeviceCount = lambda _: 7
    library.nvmlDeviceGetMigDeviceHandleByIndex = lambda _, at: "slice 0" if at == 0 else unsupported()
    assert Cuda().missing() == (
        f"GPU 0 is divided by MIG: name a slice in CUDA_VISIBLE_DEVICES, such as {SLICE}"
    )


def test_a_slice_has_the_clock_of_its_card_and_no_energy_or_use_of_its_own(library, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", SLICE)
    library.nvmlDeviceGetDeviceHandleFromMigDeviceHandle = lambda _: 0
    library.nvmlDeviceGetUtilizationRates = unsupported
    library.nvmlDeviceGetClockInfo = lambda handle, _: 1410 if handle == 0 else unsupported()
    assert Cuda().state() == replace(HOT, utilisation=None)
    assert nvml.Device(SLICE).energy_j() is None
    assert nvml.Device("0").energy_j() == 2.5


def test_numbers_of_another_order_are_refused(library, monkeypatch):
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert "CUDA_DEVICE_ORDER is not PCI_BUS_ID" in Cuda().missing()


def test_a_gpu_is_found_without_the_drivers_files(monkeypatch, tmp_path):
    """As in gVisor and WSL2; there /dev has the card, or NVML knows it."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(given, "PROC", tmp_path / "absent")
    monkeypatch.setattr(given, "DEVICES", tmp_path)
    _forget()
    assert "no NVIDIA GPU" in Cuda().missing()
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    assert "no NVIDIA GPU" not in str(Cuda().missing())
    assert "hardware.index=1" in Cuda(index=1).missing()


def in_a_container(library, monkeypatch):
    """The driver lists processes by the numbers of the host, where this one has another."""
    monkeypatch.setattr(machine, "has_host_pids", lambda: False)
    library.nvmlDeviceGetComputeRunningProcesses = lambda _: [SimpleNamespace(pid=1, usedGpuMemory=600)]


def with_unknown_numbers(library, monkeypatch):
    library.nvmlDeviceGetComputeRunningProcesses = lambda _: [
        SimpleNamespace(pid=2**22 + 7, usedGpuMemory=600)
    ]


@pytest.mark.parametrize("place", [in_a_container, with_unknown_numbers])
def test_where_process_ids_mean_nothing_no_copy_is_refused_and_no_row_is_flagged(library, monkeypatch, place):
    place(library, monkeypatch)
    Cuda().configure_process()
    monkeypatch.setitem(sys.modules, "torch", torch_that_held(900))
    Cuda().configure_process()  # of a second copy: the first is on the card, under an unknown number
    assert Cuda().state().other_processes is None


def test_only_the_first_copy_of_a_process_refuses_others(library, monkeypatch):
    with pytest.raises(Unavailable):
        Cuda().configure_process()
    monkeypatch.setitem(sys.modules, "torch", torch_that_held(900))
    Cuda().configure_process()
    assert Cuda().state().other_processes == 1


def test_an_instance_type_without_a_gpu_is_refused():
    assert Cuda(instance_type="g5.xlarge").refuse() is None
    assert Cuda().refuse() is None
    for name in ("c7i.xlarge", "inf2.xlarge"):
        assert (
            Cuda(instance_type=name)
            .refuse()
            .startswith(f"hardware.instance_type={name}: has no NVIDIA GPU: ")
        )

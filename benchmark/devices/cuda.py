"""An NVIDIA GPU, by the documented interfaces of torch and NVML; it has not run on a device yet.

NVML is read through nvidia-ml-py; function names are those of 13.615.71 (2026-11). Readings that a card or a
driver lacks, such as the utilisation of a MIG instance or the energy of a card before Volta, are null.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import psutil
from pydantic import NonNegativeInt

from benchmark.cloud import instances
from benchmark.cloud.instances import InstanceType
from benchmark.errors import Unavailable
from benchmark.host import libraries, machine
from benchmark.measurement import DeviceState
from benchmark.records import DeviceFacts, Session, frozen

T = TypeVar("T")

_DRIVER = Path("/proc/driver/nvidia/version")
CARDS = Path("/proc/driver/nvidia/gpus")
_EVENTS = 8192
"""Pairs of events, made in advance. Of more calls between two readings, only the last ones have a time."""
_THROTTLES = {
    "SwPowerCap": 0x4,
    "HwSlowdown": 0x8,
    "SwThermalSlowdown": 0x20,
    "HwThermalSlowdown": 0x40,
    "HwPowerBrakeSlowdown": 0x80,
}
"""Reasons of NVML that slow a busy card, with their bits (NVML's reference, group nvmlClocksEventReasons;
older versions call them nvmlClocksThrottleReason…). Reasons of an idle card are left out."""


@frozen
class Cuda:
    """One NVIDIA GPU of this host."""

    name: str = "cuda"
    index: NonNegativeInt = 0
    """Number of the GPU, in PCI bus order."""
    instance_type: InstanceType | None = None
    """Cloud instance type; null: that of the firmware's DMI tables."""
    exclusive: bool = True
    """Refuse to run beside another process that computes on the card; false: run anyway."""

    kind: ClassVar[str] = "cuda"
    torch_device: ClassVar[Literal["cuda"]] = "cuda"
    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True

    def refuse(self) -> str | None:
        """Refuse an instance type without such a GPU: its price would count."""
        one = instances.find(self.instance_type) if self.instance_type else None
        if one and not (one.device or "").startswith("NVIDIA"):
            return (
                f"hardware.instance_type={one.instance_type}: has no NVIDIA GPU: leave it null, or choose "
                "one such as g5.xlarge"
            )
        return None

    def missing(self) -> str | None:
        """Look for the driver, the card and a torch built for CUDA, without an import."""
        if not _DRIVER.is_file():
            return f"this host has no NVIDIA GPU ({_DRIVER} is absent): run on one, or install the driver"
        if self.index >= len(cards := self._cards()):
            return f"hardware.index={self.index}: this host has {len(cards)} GPU(s)"
        if metadata.version("torch").endswith("+cpu"):
            return "torch here is a build for CPUs: pip install torch from the CUDA index"
        return None

    def facts(self) -> DeviceFacts:
        """Name of the card, and the driver's version."""
        cards = self._cards()
        driver = re.search(r"(\d+\.\d+(?:\.\d+)?)", _DRIVER.read_text()) if _DRIVER.is_file() else None
        return DeviceFacts(
            device_name=cards[self.index] if self.index < len(cards) else "NVIDIA GPU",
            cores=1,
            instance_type=self.instance_type or machine.instance_type(),
            driver_version=driver[1] if driver else None,
        )

    def configure_process(self) -> None:
        """Make one card visible to this process, before CUDA starts.

        Raises:
            Unavailable: `exclusive` is set, and other processes compute on the card.
        """
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = str(self.index)
        if not self.exclusive:
            return
        others = self._others()
        if others is None:
            # Into the child's log: libraries that a child loads turn off loggers.
            why = _nvml()[1] or "its driver doesn't list processes"
            sys.stderr.write(f"hardware.exclusive=true: processes of GPU {self.index} are unknown, {why}\n")
        elif others:
            raise Unavailable(
                f"hardware.exclusive=true: GPU {self.index} is in use by {', '.join(map(_named, others))}: "
                "end what runs there, or choose another card by hardware.index; hardware.exclusive=false "
                "measures anyway and flags the row shared_device"
            )

    def synchronized(self, session: Session) -> Session:
        """Wait for the card after each call, and time it by events on the card too."""
        import torch

        events = [[torch.cuda.Event(enable_timing=True) for _ in range(_EVENTS)] for _ in range(2)]
        starts, ends = events
        run, calls = session.run, 0

        def call() -> Any:
            nonlocal calls
            starts[calls % _EVENTS].record()
            outputs = run()
            ends[calls % _EVENTS].record()
            torch.cuda.synchronize()
            calls += 1
            return outputs

        def device_ns() -> list[int]:
            nonlocal calls
            last, calls = calls, 0
            places = [place % _EVENTS for place in range(max(0, last - _EVENTS), last)]
            return [round(starts[place].elapsed_time(ends[place]) * 1e6) for place in places]

        return replace(session, run=call, device_ns=device_ns)

    def state(self) -> DeviceState:
        """Readings of NVML, and torch's memory; without nvidia-ml-py the latter only."""
        nvml, card = self._card()
        if card is None:
            return DeviceState(memory_bytes=_reserved())
        clock = _or_none(lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM))
        temperature = _or_none(lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU))
        busy = _or_none(lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu)
        spent_mj = _or_none(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(card))
        reasons = _reasons(nvml, card)
        others = self._others()
        return DeviceState(
            clock_mhz=None if clock is None else float(clock),
            temperature_c=None if temperature is None else float(temperature),
            throttle_reasons=tuple(name for name, bit in _THROTTLES.items() if reasons & bit),
            other_processes=None if others is None else len(others),
            memory_bytes=self._memory(),
            utilisation=None if busy is None else busy / 100,
            energy_j=None if spent_mj is None else spent_mj / 1000,
        )

    def _memory(self) -> int | None:
        """The greater of torch's peak reservation and the memory that NVML counts for this process now."""
        held = [
            process.usedGpuMemory
            for process in self._processes() or ()
            if process.pid == os.getpid() and process.usedGpuMemory
        ]
        return max((*held, _reserved() or 0)) or None

    def _others(self) -> list[int] | None:
        """Processes on the card that aren't this command's; None where the driver doesn't list them.

        This command's own don't count (sides of a comparison, compilers): it runs them in turns.
        """
        processes = self._processes()
        if processes is None:
            return None
        command = machine.command_pid()
        ours = {command} if command == os.getpid() else {command, os.getppid()}  # a warm server's copy
        return [
            process.pid
            for process in processes
            if process.pid != os.getpid() and ours.isdisjoint(_ancestors(process.pid))
        ]

    def _processes(self) -> list[Any] | None:
        nvml, card = self._card()
        return None if card is None else _or_none(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(card))

    def _card(self) -> tuple[Any, Any]:
        """NVML and its handle of the card; NVML numbers cards in PCI bus order too."""
        nvml, _ = _nvml()
        handle = None if nvml is None else _or_none(lambda: nvml.nvmlDeviceGetHandleByIndex(self.index))
        return nvml, handle

    def _cards(self) -> list[str]:
        """Names of the cards, in PCI bus order."""
        names = []
        for card in sorted(CARDS.glob("*/information")):
            found = re.search(r"^Model:\s*(.+)$", card.read_text(), re.MULTILINE)
            names.append(found[1].strip() if found else "NVIDIA GPU")
        return names


@lru_cache(maxsize=1)
def _nvml() -> tuple[Any, str]:
    """NVML, opened once per process; or None and the reason."""
    try:
        import pynvml
    except ImportError:
        return None, f"nvidia-ml-py is not installed: {libraries.command_for('cuda')}"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVML doesn't start: {error}"
    return pynvml, ""


def _or_none(read: Callable[[], T]) -> T | None:
    """A reading of NVML; None where the card, the driver or the user's rights don't allow it."""
    import pynvml

    try:
        return read()
    except pynvml.NVMLError:
        return None


def _reasons(nvml: Any, card: Any) -> int:
    """Reasons for a lowered clock, as bits; read by the function's present name, or else by its older one."""
    for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
        read = getattr(nvml, name, None)  # an older library, or an older driver, lacks the new name
        if read is not None and (bits := _or_none(lambda read=read: read(card))) is not None:  # type: ignore[misc]
            return int(bits)
    return 0


def _reserved() -> int | None:
    """Peak bytes that torch's allocator has reserved on the card; None where torch has used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():  # asking would start CUDA
        return None
    return int(torch.cuda.max_memory_reserved()) or None


def _ancestors(pid: int) -> set[int]:
    with suppress(psutil.Error):  # it may have ended, or be of another container
        return {one.pid for one in psutil.Process(pid).parents()}
    return set()


def _named(pid: int) -> str:
    with suppress(psutil.Error):
        return f"process {pid} ({psutil.Process(pid).name()})"
    return f"process {pid}"

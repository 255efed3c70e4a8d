"""An NVIDIA GPU, by torch's documented interface; it has not run on a device yet."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from pydantic import NonNegativeInt

from benchmark import host
from benchmark.measured import DeviceState
from benchmark.records import DeviceFacts, Session, frozen

_DRIVER = Path("/proc/driver/nvidia/version")
_CARDS = Path("/proc/driver/nvidia/gpus")
_EVENTS = 8192
"""Pairs made beforehand: of more calls between two looks, the last so many are told."""
_THROTTLES = (
    "SwPowerCap",
    "HwSlowdown",
    "SwThermalSlowdown",
    "HwThermalSlowdown",
    "HwPowerBrakeSlowdown",
)
"""Of NVML's reasons, those that slow a busy card; being idle is one too."""


@frozen
class Cuda:
    """One GPU of this host."""

    name: str = "cuda"
    index: NonNegativeInt = 0
    """Which GPU, in PCI bus order."""
    instance_type: str | None = None
    """Cloud instance type; null asks the firmware."""

    kind: ClassVar[str] = "cuda"
    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True

    def missing(self) -> str | None:
        """Look for the driver, the card and a torch that was built for it; nothing is imported."""
        if not _DRIVER.is_file():
            return f"this host has no NVIDIA GPU ({_DRIVER} is absent): run on one, or install the driver"
        if self.index >= len(cards := self._cards()):
            return f"hardware.index={self.index}: this host has {len(cards)} GPU(s)"
        if metadata.version("torch").endswith("+cpu"):
            return "torch here is a build for CPUs: pip install torch from the CUDA index"
        return None

    def facts(self) -> DeviceFacts:
        """The card by name, with the driver's version."""
        cards = self._cards()
        driver = re.search(r"(\d+\.\d+(?:\.\d+)?)", _DRIVER.read_text()) if _DRIVER.is_file() else None
        return DeviceFacts(
            device_name=cards[self.index] if self.index < len(cards) else "NVIDIA GPU",
            cores=1,
            instance_type=self.instance_type or host.instance_type(),
            driver_version=driver[1] if driver else None,
        )

    def settle(self) -> None:
        """Show this process one card; CUDA reads this when it starts."""
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = str(self.index)

    def synchronised(self, session: Session) -> Session:
        """CUDA calls return before they are done: wait for the card, between two events of its own clock."""
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
        """What NVML tells of the card; nothing without nvidia-ml-py."""
        try:
            import pynvml
        except ImportError:
            return DeviceState()
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(self.index)
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)
        others = [
            process
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(card)
            if process.pid != os.getpid()
        ]
        return DeviceState(
            clock_mhz=float(pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM)),
            temperature_c=float(pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU)),
            throttle_reasons=tuple(
                name for name in _THROTTLES if reasons & getattr(pynvml, f"nvmlClocksThrottleReason{name}")
            ),
            other_processes=len(others),
        )

    def _cards(self) -> list[str]:
        """Names of the cards, in PCI bus order."""
        names = []
        for card in sorted(_CARDS.glob("*/information")):
            found = re.search(r"^Model:\s*(.+)$", card.read_text(), re.MULTILINE)
            names.append(found[1].strip() if found else "NVIDIA GPU")
        return names

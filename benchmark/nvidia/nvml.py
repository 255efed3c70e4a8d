"""NVML, through nvidia-ml-py; function names are those of 13.615.71 (2026-11).

It has not run on a device yet. A reading that a card, a driver or the user's rights don't allow is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeVar

from benchmark.host import libraries

T = TypeVar("T")

_THROTTLES: Final = {
    "SwPowerCap": 0x4,
    "HwSlowdown": 0x8,
    "SwThermalSlowdown": 0x20,
    "HwThermalSlowdown": 0x40,
    "HwPowerBrakeSlowdown": 0x80,
}
"""Reasons that slow a busy card, with their bits (NVML's reference, group nvmlClocksEventReasons; older
versions call them nvmlClocksThrottleReason…). Reasons of an idle card are left out."""


@lru_cache(maxsize=1)
def library() -> tuple[Any, str]:
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


def cards() -> list[tuple[str, str]] | None:
    """UUID and name of each card, in PCI bus order; None without NVML."""
    nvml, _ = library()
    count = None if nvml is None else _or_none(nvml.nvmlDeviceGetCount)
    if count is None:
        return None
    handles = (nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count))
    return [(_text(nvml.nvmlDeviceGetUUID(one)), _text(nvml.nvmlDeviceGetName(one))) for one in handles]


def driver() -> str | None:
    """Version of the driver."""
    nvml, _ = library()
    found = None if nvml is None else _or_none(nvml.nvmlSystemGetDriverVersion)
    return None if found is None else _text(found)


class Device:
    """A card, or a slice of one (MIG), by its number in PCI bus order or by its UUID."""

    def __init__(self, name: str) -> None:
        self._nvml, self.absence = library()
        self._handle = self._found(name)
        self.is_slice = name.startswith("MIG-")
        self._card = self._whole() if self.is_slice else self._handle
        """Clock and temperature are those of the whole card."""

    @property
    def is_known(self) -> bool:
        """Whether NVML knows it."""
        return self._handle is not None

    @property
    def name(self) -> str | None:
        """Its name, such as `NVIDIA A100-SXM4-40GB MIG 1g.5gb`."""
        found = self._read("nvmlDeviceGetName", self._handle)
        return None if found is None else _text(found)

    def slices(self) -> list[str] | None:
        """UUIDs of the slices into which MIG divides the card; None where it is whole."""
        mode = self._read("nvmlDeviceGetMigMode", self._handle)
        if not mode or not mode[0]:
            return None
        count = self._read("nvmlDeviceGetMaxMigDeviceCount", self._handle) or 0
        found = (
            _or_none(lambda at=at: self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, at))  # type: ignore[misc]
            for at in range(count)
        )
        return [_text(self._nvml.nvmlDeviceGetUUID(one)) for one in found if one is not None]

    def clock_mhz(self) -> float | None:
        """Clock of the multiprocessors."""
        if self._nvml is None:
            return None
        found = self._read("nvmlDeviceGetClockInfo", self._card, self._nvml.NVML_CLOCK_SM)
        return None if found is None else float(found)

    def temperature_c(self) -> float | None:
        """Temperature of the chip."""
        if self._nvml is None:
            return None
        found = self._read("nvmlDeviceGetTemperature", self._card, self._nvml.NVML_TEMPERATURE_GPU)
        return None if found is None else float(found)

    def utilisation(self) -> float | None:
        """Share of the time in which it computed, 0 to 1; None for a slice."""
        found = self._read("nvmlDeviceGetUtilizationRates", self._handle)
        return None if found is None else found.gpu / 100

    def energy_j(self) -> float | None:
        """Counter of its energy, in J; None for a slice, since the card counts for all of them."""
        spent_mj = None if self.is_slice else self._read("nvmlDeviceGetTotalEnergyConsumption", self._handle)
        return None if spent_mj is None else spent_mj / 1000

    def throttles(self) -> tuple[str, ...]:
        """Reasons for a lowered clock."""
        for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
            if (bits := self._read(name, self._card)) is not None:  # an older driver lacks the new name
                return tuple(reason for reason, bit in _THROTTLES.items() if bits & bit)
        return ()

    def processes(self) -> list[Any] | None:
        """Processes that compute on it: `pid`, by the host's numbers, and `usedGpuMemory` in bytes."""
        found = self._read("nvmlDeviceGetComputeRunningProcesses", self._handle)
        return None if found is None else list(found)

    def _whole(self) -> Any:
        found = self._read("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", self._handle)
        return self._handle if found is None else found

    def _found(self, name: str) -> Any:
        if self._nvml is None:
            return None
        if name.isdecimal():
            return self._read("nvmlDeviceGetHandleByIndex", int(name))
        if name.startswith("MIG-"):
            return self._read("nvmlDeviceGetHandleByUUID", name)
        return next(self._by_start(name), None)

    def _by_start(self, uuid: str) -> Iterator[Any]:
        """Cards whose UUID begins so: CUDA takes a part of it, NVML does not."""
        for index, (whole, _) in enumerate(cards() or ()):
            if whole.startswith(uuid):
                yield self._read("nvmlDeviceGetHandleByIndex", index)

    def _read(self, function: str, *arguments: Any) -> Any:
        read = getattr(self._nvml, function, None)
        if read is None or (arguments and arguments[0] is None):
            return None
        return _or_none(lambda: read(*arguments))


def _or_none(read: Callable[[], T]) -> T | None:
    import pynvml

    with suppress(pynvml.NVMLError):
        return read()
    return None


def _text(value: str | bytes) -> str:
    """Older versions of the library return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

"""An NVIDIA GPU, by the documented interfaces of torch and NVML; it has not run on a device yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from typing import ClassVar, Literal

import psutil
from pydantic import NonNegativeInt

from benchmark.cloud import instances
from benchmark.cloud.instances import InstanceType
from benchmark.errors import Unavailable
from benchmark.host import machine
from benchmark.measurement import DeviceState
from benchmark.nvidia import given, nvml
from benchmark.nvidia.events import Timer
from benchmark.records import DeviceFacts, Session, frozen


@frozen
class Cuda:
    """One NVIDIA GPU of this host."""

    name: str = "cuda"
    index: NonNegativeInt = 0
    """Number of the GPU: in PCI bus order, or among those that CUDA_VISIBLE_DEVICES names."""
    instance_type: InstanceType | None = None
    """Cloud instance type; null: that of the firmware's DMI tables."""
    exclusive: bool = True
    """Refuse to run beside another process that computes on the card; false: run anyway."""
    cudnn_benchmark: bool = False
    """Whether cuDNN times its algorithms for each convolution, in the first calls, and takes the fastest."""

    kind: ClassVar[str] = "cuda"
    torch_device: ClassVar[Literal["cuda"]] = "cuda"
    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True
    core_memory_bytes: ClassVar[int | None] = None

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
        """Look for the card and a torch built for CUDA, without importing torch."""
        cards = given.on_host()
        if not cards:
            return "this host has no NVIDIA GPU: run on one, or install the driver (`nvidia-smi` lists GPUs)"
        if refusal := given.refusal(self.index, cards):
            return refusal
        if os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID") != "PCI_BUS_ID" and self._name.isdecimal():
            return "CUDA_DEVICE_ORDER is not PCI_BUS_ID, so numbers name other cards than NVML's: unset it"
        if (slices := self._device.slices()) is not None:
            some = f", such as {slices[0]}" if slices else ""
            return f"GPU {self._name} is divided by MIG: name a slice in CUDA_VISIBLE_DEVICES{some}"
        if metadata.version("torch").endswith("+cpu"):
            return "torch here is a build for CPUs: pip install torch from the CUDA index"
        return None

    def facts(self) -> DeviceFacts:
        """Name of the card, and the driver's version."""
        return DeviceFacts(
            device_name=self._device.name or self._name_by_driver() or "NVIDIA GPU",
            cores=1,
            instance_type=self.instance_type or machine.instance_type(),
            driver_version=nvml.driver() or given.driver(),
        )

    def shares(self, replicas: int) -> tuple[tuple[int, ...], ...]:  # noqa: ARG002 - whatever their number
        """None: copies of a model share it."""
        return ()

    def configure_process(self, share: Sequence[int] = ()) -> None:  # noqa: ARG002 - it gives none
        """Make one card visible to this process, before CUDA starts.

        Raises:
            Unavailable: `exclusive` is set, and other processes compute on the card.
        """
        first = not _used_by_this_process()  # a second copy of the model finds the first one on the card
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = self._name
        if not (self.exclusive and first):
            return
        others = self._others()
        if others is None:
            # Into the child's log: libraries that a child loads turn off loggers.
            why = self._device.absence or "its driver doesn't list processes of this container or host"
            sys.stderr.write(f"hardware.exclusive=true: processes of GPU {self._name} are unknown, {why}\n")
        elif others:
            raise Unavailable(
                f"hardware.exclusive=true: GPU {self._name} is in use by {', '.join(map(_named, others))}: "
                "end what runs there, or choose another card by hardware.index; hardware.exclusive=false "
                "measures anyway and flags the row shared_device"
            )

    def synchronized(self, session: Session) -> Session:
        """Wait for the card after each call, and time it by events on the card too."""
        import torch

        torch.backends.cudnn.benchmark = self.cudnn_benchmark
        timer = Timer(session.run, torch.cuda)
        return replace(session, run=timer.call, device_ns=timer.device_ns, energy_j=self._device.energy_j)

    def of_rank(self, rank: int) -> Cuda | None:
        """The card after this one, and so on."""
        return replace(self, index=self.index + rank) if self.index + rank < len(given.on_host()) else None

    def state(self) -> DeviceState:
        """Readings of NVML, and torch's memory; without nvidia-ml-py the latter only."""
        device = self._device
        if not device.is_known:
            return DeviceState(memory_bytes=_reserved())
        others = self._others()
        return DeviceState(
            clock_mhz=device.clock_mhz(),
            temperature_c=device.temperature_c(),
            throttle_reasons=device.throttles(),
            other_processes=None if others is None else len(others),
            memory_bytes=self._memory(),
            utilisation=device.utilisation(),
        )

    @property
    def _name(self) -> str:
        return given.name_of(self.index)

    @property
    def _device(self) -> nvml.Device:
        return nvml.Device(self._name)

    def _name_by_driver(self) -> str | None:
        cards = given.on_host()
        if self._name.isdecimal():
            return cards[int(self._name)].name if int(self._name) < len(cards) else None
        return next((card.name for card in cards if card.uuid.startswith(self._name)), None)

    def _memory(self) -> int | None:
        """The greater of torch's peak reservation and the memory that NVML counts for this process now."""
        held = [
            process.usedGpuMemory
            for process in self._device.processes() or ()
            if process.pid == os.getpid() and process.usedGpuMemory
        ]
        return max((*held, _reserved() or 0)) or None

    def _others(self) -> list[int] | None:
        """Processes on the card that aren't this command's; None where they can't be known.

        The driver lists them by the numbers of the host. In a container these mean nothing: this process
        isn't among them, though it uses the card, and numbers that no process here has are of no use. This
        command's own don't count (sides of a comparison, compilers): it runs them in turns.
        """
        listed = self._device.processes()
        if listed is None or not machine.has_host_pids():
            return None
        pids = [process.pid for process in listed if psutil.pid_exists(process.pid)]
        if _used_by_this_process() and os.getpid() not in pids:
            return None
        command = machine.command_pid()
        ours = {command} if command == os.getpid() else {command, os.getppid()}  # a warm server's copy
        return [pid for pid in pids if pid != os.getpid() and ours.isdisjoint(_ancestors(pid))]


def _used_by_this_process() -> bool:
    """Whether this process has begun to use a card."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _reserved() -> int | None:
    """Peak bytes that torch's allocator has reserved on the card; None where torch has used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():  # asking would start CUDA
        return None
    return int(torch.cuda.max_memory_reserved()) or None


def _ancestors(pid: int) -> set[int]:
    with suppress(psutil.Error):  # it may have ended
        return {one.pid for one in psutil.Process(pid).parents()}
    return set()


def _named(pid: int) -> str:
    with suppress(psutil.Error):
        return f"process {pid} ({psutil.Process(pid).name()})"
    return f"process {pid}"

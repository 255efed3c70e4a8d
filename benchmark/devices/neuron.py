"""AWS Inferentia and Trainium: find NeuronCores of an instance, choose free ones, read their state.

Variables, files and rules are those of the Neuron documentation (aws-neuron-sdk 81ce03ae, 2026-08-21) and of
the driver's source (aws-neuron-driver fca19f7d, 2025-09-19). It has not run on such a device yet.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import PositiveInt

from benchmark.cloud import instances
from benchmark.cloud.instances import Instance, InstanceType
from benchmark.errors import Unavailable
from benchmark.host import machine
from benchmark.measurement import DeviceState
from benchmark.neuron import tools
from benchmark.neuron.monitor import TAG, telemetry
from benchmark.neuron.tools import NeuronDevice
from benchmark.records import DeviceFacts, Session, frozen

log = logging.getLogger(__name__)

DEVICES = Path("/proc/devices")
_DRIVER = Path("/sys/module/neuron/version")
CHIPS = Path("/sys/devices/virtual/neuron_device")
"""One folder `neuronN` for each chip: tools/neuron-sys-tools/neuron-sysfs-user-guide.rst."""
_CHIP_NAME = Path("info/architecture/device_name")
"""Has Inferentia, Inferentia2, Trainium1, Trainium2 or Trainium3 (arch_device_name_suffix in
neuron_dhal_v*.c). The files beside it say less: arch_type numbers chips in another way, instance_type has the
family only."""
_PACKAGES: Final = {1: "aws-neuronx-dkms=2.24.* aws-neuronx-tools"}
"""Packages by NeuronCore version, where they aren't the newest: drivers after 2.24 don't support Inferentia
(about-neuron/announcements/neuron2.x/announce-correction-neuron-driver-support-inf1.rst), and torch-neuron
contains its runtime (archive/setup/legacy-inf1/pytorch.rst)."""
_NEWEST: Final = "aws-neuronx-dkms aws-neuronx-runtime-lib aws-neuronx-collectives aws-neuronx-tools"
"""setup/pytorch/manual.rst:83-90."""


@frozen
class Neuron:
    """NeuronCores of one instance: as many as `cores` says, one by default."""

    name: str
    instance_type: InstanceType
    """Instance type: it decides the chip, and the target that compilers generate code for. Where the firmware
    names another size with the same chip, rows have that size."""
    lnc: Literal[1, 2] | None = None
    """Physical cores per logical core, on Trainium2 and Trainium3 (NEURON_LOGICAL_NC_CONFIG); null: the
    runtime's default, 2. Models must be compiled for the same number."""
    cores: PositiveInt = 1
    """NeuronCores that a run may use."""
    python: str | None = None
    """Interpreter of the environment with the chip's libraries; null: the one that runs this program. Only
    compilers use it: their YAMLs read it by ${oc.select:hardware.python,null}."""
    monitor: bool = True
    """Run neuron-monitor beside the timed calls: memory, utilisation, the device's own latency, errors."""

    torch_device: ClassVar[None] = None
    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        """Generation of its NeuronCores, by which compilers know it."""
        version = self._instance.neuroncore_version
        return f"neuroncore-v{version}" if version else "none"

    @property
    def core_memory_bytes(self) -> int | None:
        """Device memory of the instance, divided by its cores; those of Inferentia share theirs."""
        one = self._instance
        if one.neuroncore_version in {None, 1} or one.device_memory_gib is None:
            return None
        return int(one.device_memory_gib * 2**30) // _cores_of(one, self.lnc)

    @property
    def _instance(self) -> Instance:
        return instances.find(self.instance_type)

    def refuse(self) -> str | None:
        """Refuse an instance type without this chip, logical cores where there are none, too many cores."""
        one, name = self._instance, self.instance_type
        if one.neuroncore_version is None:
            neuron = dict.fromkeys(other.family for other in instances.known() if other.neuroncore_version)
            return f"hardware.instance_type={name}: has no Neuron device, choose one of {', '.join(neuron)}"
        family = instances.known(self.name)
        if family and one.device not in {other.device for other in family}:
            sizes = ", ".join(other.instance_type for other in family)
            return f"hardware.instance_type={name}: is {one.family}, not {self.name}: choose one of {sizes}"
        # NCC_EARG001 of the compiler: elsewhere a logical core is a physical one.
        if self.lnc and one.cores == one.physical_cores:
            return (
                f"hardware.lnc={self.lnc}: only Trainium2 and Trainium3 have logical NeuronCores, {name} has "
                f"{one.device}: leave it null"
            )
        if self.cores > (most := _cores_of(one, self.lnc)):
            larger = [
                other for other in instances.known(one.family) if _cores_of(other, self.lnc) >= self.cores
            ]
            mend = "".join(f", or hardware.instance_type={other.instance_type}" for other in larger[:1])
            has = f"hardware.cores={self.cores}: {name} has {most} NeuronCores"
            return f"{has}: use fewer cores or replicas{mend}"
        return None

    def missing(self) -> str | None:
        """Check the driver's entry in /proc/devices, the chip, and the number of cores."""
        wanted = self._instance
        if not _has_driver():
            packages = _PACKAGES.get(wanted.neuroncore_version or 0, _NEWEST)
            return (
                f"this host has no Neuron device (no driver in {DEVICES}): run on {self.instance_type} "
                f"with `sudo apt-get install {packages}`"
            )
        rented = _rented()
        chip = _chip() or (rented.device if rented else None)
        if chip not in {None, wanted.device}:
            return (
                f"hardware={self.name} is {wanted.device}, this host has {chip}, which no installation "
                f"changes: run on {self.instance_type}, or choose the hardware of {chip}"
            )
        if rented and self.cores > (most := _cores_of(rented, self.lnc)):
            return (
                f"hardware.cores={self.cores}: {rented.instance_type} has {most} NeuronCores, which no "
                f"installation changes: use fewer, or run on {self.instance_type}"
            )
        return None

    def facts(self) -> DeviceFacts:
        """Instance type of the firmware, if it has the configured chip; the target is as configured."""
        wanted, rented = self._instance, _rented()
        same = rented is not None and rented.device == wanted.device
        driver = _DRIVER.read_text().strip() if _DRIVER.is_file() else None
        return DeviceFacts(
            device_name=self.kind.replace("neuroncore", "NeuronCore"),
            cores=self.cores,
            instance_type=rented.instance_type if same and rented else self.instance_type,
            driver_version=driver,
            target=wanted.target,
        )

    def shares(self, replicas: int) -> tuple[tuple[int, ...], ...]:
        """Adjacent cores for each copy; the first copy gets the first ones.

        Raises:
            Unavailable: other processes hold too many of them.
        """
        os.environ[TAG] = f"benchmark-{os.getpid()}"  # of all processes that inherit it
        first, each = self._first_free(), self.cores // replicas
        return tuple(
            tuple(range(start, start + each)) for start in range(first, first + each * replicas, each)
        )

    def configure_process(self, share: Sequence[int] = ()) -> None:
        """Make the cores of this run visible to the runtime, which reads this when it starts and keeps them.

        Raises:
            Unavailable: `share` is empty, and other processes hold too many of them.
        """
        (cores,) = (share,) if share else self.shares(1)
        if self.lnc:
            os.environ["NEURON_LOGICAL_NC_CONFIG"] = str(self.lnc)
        os.environ.pop("NEURON_RT_NUM_CORES", None)  # a count; the list of cores replaces it
        first, last = cores[0], cores[-1]
        os.environ["NEURON_RT_VISIBLE_CORES"] = str(first) if first == last else f"{first}-{last}"

    def synchronized(self, session: Session) -> Session:
        """Return it as it is: calls return CPU tensors, so they are done."""
        return session

    def of_rank(self, rank: int) -> Neuron | None:
        """Torch doesn't train on it."""
        return self if rank == 0 else None

    def state(self) -> DeviceState:
        """Readings of neuron-monitor for this process; no tool reads clock or temperature."""
        return telemetry().state() if self.monitor else DeviceState(other_processes=tools.others())

    def _first_free(self) -> int:
        """The first of as many adjacent free cores as it needs.

        The runtime refuses others (neuron-runtime/guides/nrt-developer-guide.rst).
        """
        try:
            devices = tools.ls()
        except tools.NotInstalled:
            return 0
        except tools.Unreadable as error:
            log.warning(
                "taking the first %d NeuronCores without knowing if they are free: %s", self.cores, error
            )
            return 0
        if not devices:  # a host that only compiles
            return 0
        held = [(device, holders) for device in devices if (holders := tuple(_holders(device)))]
        taken = {device.index for device, _ in held}
        free = [core for one in devices if one.index not in taken for core in self._cores_on(one)]
        for first in sorted(free):
            if set(range(first, first + self.cores)) <= set(free):
                return first
        there = sum(len(self._cores_on(device)) for device in devices)
        raise Unavailable(
            self._scarcity(len(free), there, [holder for _, holders in held for holder in holders])
        )

    def _cores_on(self, device: NeuronDevice) -> Sequence[int]:
        """Numbers of its logical cores under the `lnc` of this run."""
        if self.lnc in {None, device.lnc}:
            return device.cores
        count = len(device.cores) * device.lnc // (self.lnc or 1)
        return range(device.index * count, (device.index + 1) * count)

    def _scarcity(self, free: int, there: int, holders: Sequence[str]) -> str:
        text = f"hardware.cores={self.cores}: {free} of {there} NeuronCores are free"
        if not holders:
            return f"{text}, but not as many adjacent ones: use fewer"
        return f"{text}: {'; '.join(dict.fromkeys(holders))}: wait for it, stop it, or use fewer"


def _holders(device: NeuronDevice) -> Iterator[str]:
    """Other processes that hold a device. neuron-ls doesn't list their cores: all of it counts as taken."""
    for process in device.processes:
        if tools.foreign(process.pid):
            yield f"pid {process.pid} ({process.command}) uses device {device.index}"


def _has_driver() -> bool:
    try:
        return re.search(r"\bneuron\b", DEVICES.read_text()) is not None
    except OSError:
        return False


def _chip() -> str | None:
    """The chip by the driver's files, as the catalogue names it; None where they don't say."""
    for folder in sorted(CHIPS.glob("neuron*")):
        try:
            return (folder / _CHIP_NAME).read_text().strip().replace("Trainium1", "Trainium") or None
        except OSError:
            continue
    return None


def _rented() -> Instance | None:
    """The instance that the firmware names, if it is in the catalogue."""
    name = machine.instance_type()
    try:
        return instances.find(name) if name else None
    except ValueError:
        return None


def _cores_of(instance: Instance, lnc: int | None) -> int:
    return (instance.physical_cores if lnc == 1 else instance.cores) or 0

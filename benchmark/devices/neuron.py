"""AWS Inferentia and Trainium: NeuronCores of an instance, found, leased and watched.

Variables, files and rules are those of the Neuron documentation (aws-neuron-sdk 81ce03ae, 2026-08-21) and of
the driver's source (aws-neuron-driver fca19f7d, 2025-09-19); no such device was at hand.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from benchmark.cloud import instances
from benchmark.cloud.instances import Instance
from benchmark.errors import Unavailable
from benchmark.host import machine
from benchmark.measurement import DeviceState
from benchmark.neuron import tools
from benchmark.neuron.monitor import TAG, telemetry
from benchmark.neuron.tools import NeuronDevice
from benchmark.records import DeviceFacts, Session, frozen

log = logging.getLogger(__name__)

_DEVICES = Path("/proc/devices")
_DRIVER = Path("/sys/module/neuron/version")
_CHIPS = Path("/sys/devices/virtual/neuron_device")
"""One folder `neuronN` for each chip: tools/neuron-sys-tools/neuron-sysfs-user-guide.rst."""
_CHIP_NAME = Path("info/architecture/device_name")
"""Inferentia, Inferentia2, Trainium1 or Trainium2: arch_device_name_suffix in neuron_dhal_v*.c. Beside it
arch_type counts in another way, and instance_type tells the family alone."""
_PACKAGES: Final = {1: "aws-neuronx-dkms=2.24.* aws-neuronx-tools"}
"""By version of the NeuronCore, where it isn't the newest: drivers after 2.24 don't know Inferentia
(about-neuron/announcements/neuron2.x/announce-correction-neuron-driver-support-inf1.rst), and torch-neuron
brings its runtime along (archive/setup/legacy-inf1/pytorch.rst)."""
_NEWEST: Final = "aws-neuronx-dkms aws-neuronx-runtime-lib aws-neuronx-tools"


@frozen
class Neuron:
    """One NeuronCore of the instance, unless more are asked for."""

    name: str
    instance_type: Annotated[str, Field(min_length=1)]
    """Which instance this hardware is meant to be: it decides the chip, and what compilers generate code for.
    Where the firmware names another size with the same chip, rows say that."""
    lnc: Literal[1, 2] | None = None
    """Physical cores that make up a logical one, on Trainium2 (NEURON_LOGICAL_NC_CONFIG); null leaves it to
    the runtime, which takes 2. Models must be compiled for the same."""
    cores: PositiveInt = 1
    """NeuronCores that a run may use."""
    python: str | None = None
    """Interpreter of the environment that has the chip's libraries; null: this one. The device itself doesn't
    need it: YAMLs of compilers follow it by ${oc.select:hardware.python,null}."""
    monitor: bool = True
    """neuron-monitor beside the timed calls: memory, utilisation, the device's own latency, errors."""

    torch_device: ClassVar[None] = None
    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True

    @field_validator("instance_type")
    @classmethod
    def _has_the_chip(cls, name: str, info: ValidationInfo) -> str:
        found = instances.find(name)
        if found.neuroncore_version is None:
            neuron = dict.fromkeys(one.family for one in instances.known() if one.neuroncore_version)
            raise ValueError(f"has no Neuron device, choose one of {', '.join(neuron)}")
        family = instances.known(info.data.get("name"))
        if family and found.device not in {one.device for one in family}:
            sizes = ", ".join(one.instance_type for one in family)
            raise ValueError(f"is {found.family}, not {info.data['name']}: choose one of {sizes}")
        return name

    @field_validator("lnc")
    @classmethod
    def _has_logical_cores(cls, lnc: int | None, info: ValidationInfo) -> int | None:
        name = info.data.get("instance_type")
        # NCC_EARG001 of the compiler: elsewhere a logical core is a physical one.
        if lnc and name and (one := instances.find(name)).cores == one.physical_cores:
            raise ValueError(
                f"logical NeuronCores are of Trainium2 alone, {name} has {one.device}: leave it null"
            )
        return lnc

    @field_validator("cores")
    @classmethod
    def _are_there(cls, cores: int, info: ValidationInfo) -> int:
        name = info.data.get("instance_type")
        if name and cores > (most := _cores_of(instances.find(name), info.data.get("lnc"))):
            raise ValueError(f"{name} has {most} NeuronCores")
        return cores

    @property
    def kind(self) -> str:
        """Which compilers can target it."""
        return f"neuroncore-v{self._instance.neuroncore_version}"

    @property
    def _instance(self) -> Instance:
        return instances.find(self.instance_type)

    def missing(self) -> str | None:
        """Look for the driver's entry in /proc/devices, and whether it is the chip that was asked for."""
        wanted = self._instance
        if not _has_driver():
            packages = _PACKAGES.get(wanted.neuroncore_version or 0, _NEWEST)
            return (
                f"this host has no Neuron device (no driver in {_DEVICES}): run on {self.instance_type} "
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
                f"installation changes: ask for fewer, or run on {self.instance_type}"
            )
        return None

    def facts(self) -> DeviceFacts:
        """The instance, by the firmware where that has its chip; what decides the code is as configured."""
        wanted, rented = self._instance, _rented()
        same = rented is not None and rented.device == wanted.device
        driver = _DRIVER.read_text().strip() if _DRIVER.is_file() else None
        return DeviceFacts(
            device_name=f"NeuronCore-v{wanted.neuroncore_version}",
            cores=self.cores,
            instance_type=rented.instance_type if same and rented else self.instance_type,
            driver_version=driver,
            target=wanted.target,
        )

    def configure_process(self) -> None:
        """Show the runtime the cores of this run; it reads this when it starts, and holds them to the end.

        Raises:
            Unavailable: other processes hold too many of them.
        """
        if self.lnc:
            os.environ["NEURON_LOGICAL_NC_CONFIG"] = str(self.lnc)
        os.environ.pop("NEURON_RT_NUM_CORES", None)  # a count, where cores are named: those win
        os.environ["NEURON_RT_VISIBLE_CORES"] = self._range()
        os.environ[TAG] = f"benchmark-{os.getpid()}"

    def synchronized(self, session: Session) -> Session:
        """Calls return CPU tensors, so they are done when they return."""
        return session

    def state(self) -> DeviceState:
        """What neuron-monitor tells of this process; neither clock nor heat are told anywhere."""
        return telemetry().state() if self.monitor else DeviceState(other_processes=tools.others())

    def _range(self) -> str:
        """Cores in a row, for others the runtime refuses (neuron-runtime/guides/nrt-developer-guide.rst)."""
        first = self._first_free()
        return str(first) if self.cores == 1 else f"{first}-{first + self.cores - 1}"

    def _first_free(self) -> int:
        try:
            devices = tools.ls()
        except tools.NotInstalled:
            return 0
        except tools.Unreadable as error:
            log.warning("the first %d NeuronCores are taken, whoever has them: %s", self.cores, error)
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
        """Its logical cores, as the run will count them."""
        if self.lnc in {None, device.lnc}:
            return device.cores
        count = len(device.cores) * device.lnc // (self.lnc or 1)
        return range(device.index * count, (device.index + 1) * count)

    def _scarcity(self, free: int, there: int, holders: Sequence[str]) -> str:
        text = f"hardware.cores={self.cores}: {free} of {there} NeuronCores are free"
        if not holders:
            return f"{text}, not so many in a row: ask for fewer"
        return f"{text}: {'; '.join(dict.fromkeys(holders))}: wait for it, stop it, or ask for fewer"


def _holders(device: NeuronDevice) -> Iterator[str]:
    """Who else holds a device. Which of its cores neuron-ls doesn't tell: all count as taken."""
    for process in device.processes:
        if tools.foreign(process.pid):
            yield f"pid {process.pid} ({process.command}) uses device {device.index}"


def _has_driver() -> bool:
    try:
        return re.search(r"\bneuron\b", _DEVICES.read_text()) is not None
    except OSError:
        return False


def _chip() -> str | None:
    """The chip by the driver's files, as the catalogue names it; None where they don't tell."""
    for folder in sorted(_CHIPS.glob("neuron*")):
        try:
            return (folder / _CHIP_NAME).read_text().strip().replace("Trainium1", "Trainium") or None
        except OSError:
            continue
    return None


def _rented() -> Instance | None:
    """The instance that the firmware names, where the catalogue has it."""
    name = machine.instance_type()
    try:
        return instances.find(name) if name else None
    except ValueError:
        return None


def _cores_of(instance: Instance, lnc: int | None) -> int:
    return (instance.physical_cores if lnc == 1 else instance.cores) or 0

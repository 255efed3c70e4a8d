"""AWS Inferentia and Trainium."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import PositiveInt

from benchmark import host
from benchmark.measured import DeviceState
from benchmark.records import DeviceFacts, Session, frozen

_DEVICES = Path("/proc/devices")
_DRIVER = Path("/sys/module/neuron/version")


@frozen
class Neuron:
    """One NeuronCore of the instance, unless more are asked for."""

    name: str
    instance_type: str
    """Which instance this hardware is meant to be; the firmware's own word wins where there is one."""
    generation: Literal[1, 2, 3]
    """Of the NeuronCore: 1 is inf1, 2 is inf2 and trn1, 3 is trn2."""
    cores: PositiveInt = 1
    """NeuronCores that a run may see."""

    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        """Which compilers can target it."""
        return f"neuroncore-v{self.generation}"

    def missing(self) -> str | None:
        """Look for the driver's entry in /proc/devices."""
        try:
            present = re.search(r"\bneuron\b", _DEVICES.read_text()) is not None
        except OSError:
            present = False
        if present:
            return None
        return (
            f"this host has no Neuron device (no driver in {_DEVICES}): run on {self.instance_type} "
            "with `sudo apt-get install aws-neuronx-dkms aws-neuronx-runtime-lib aws-neuronx-tools`"
        )

    def facts(self) -> DeviceFacts:
        """The instance, by the firmware if it tells."""
        driver = _DRIVER.read_text().strip() if _DRIVER.is_file() else None
        return DeviceFacts(
            device_name=f"NeuronCore-v{self.generation}",
            cores=self.cores,
            instance_type=host.instance_type() or self.instance_type,
            driver_version=driver,
        )

    def settle(self) -> None:
        """Show the runtime the cores of this run; it reads this when it starts."""
        os.environ["NEURON_RT_NUM_CORES"] = str(self.cores)

    def synchronised(self, session: Session) -> Session:
        """Calls return CPU tensors, so they are done when they return."""
        return session

    def state(self) -> DeviceState:
        """The driver's files tell neither clock nor heat."""
        return DeviceState()

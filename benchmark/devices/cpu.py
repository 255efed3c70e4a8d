"""This host's CPU."""

from __future__ import annotations

import os
from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt, Strict

from benchmark.cloud.instances import InstanceType
from benchmark.host import machine, sensors
from benchmark.measurement import DeviceState
from benchmark.records import DeviceFacts, Session, frozen

Cores = Annotated[tuple[NonNegativeInt, ...], Strict(False)]  # noqa: FBT003 - YAML knows lists only


@frozen
class Cpu:
    """Threads and affinity are set in the child, before a library starts its pool."""

    name: str = "cpu"
    threads: PositiveInt | None = None
    """Intra-op threads; null takes one for each physical core that may be used."""
    affinity: Cores | None = None
    """Logical CPUs to stay on, as `taskset -c` counts them; null leaves the host's own."""
    instance_type: InstanceType | None = None
    """Cloud instance type; null asks the firmware."""

    kind: ClassVar[str] = "cpu"
    torch_device: ClassVar[Literal["cpu"]] = "cpu"
    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True

    def missing(self) -> str | None:
        """Refuse CPUs that this host doesn't grant."""
        if self.affinity is None:
            return None
        absent = sorted(set(self.affinity) - os.sched_getaffinity(0))
        allowed = sorted(os.sched_getaffinity(0))
        return f"hardware.affinity names CPUs {absent}, this host grants {allowed}" if absent else None

    def facts(self) -> DeviceFacts:
        """The CPU by name, with the threads it will use."""
        cores = len(self.affinity) if self.affinity else machine.usable_cores()
        return DeviceFacts(
            device_name=machine.cpu_model(),
            cores=cores,
            instance_type=self.instance_type or machine.instance_type(),
            threads=self.threads or cores,
            isa=machine.isa(),
        )

    def configure_process(self) -> None:
        """Move this process to its CPUs."""
        if self.affinity:
            os.sched_setaffinity(0, self.affinity)

    def synchronized(self, session: Session) -> Session:
        """CPU calls return when they are done."""
        return session

    def state(self) -> DeviceState:
        """Clock and heat of the CPUs this process may use."""
        clocks = sensors.frequency_mhz()
        return DeviceState(
            clock_mhz=sum(clocks) / len(clocks) if clocks else None,
            temperature_c=sensors.temperature_c(),
            throttle_count=sensors.throttle_count(),
        )

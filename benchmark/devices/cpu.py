"""This host's CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt, Strict

from benchmark.cloud.instances import InstanceType
from benchmark.host import machine, sensors
from benchmark.measurement import DeviceState
from benchmark.records import DeviceFacts, Session, frozen

Cores = Annotated[tuple[NonNegativeInt, ...], Strict(False)]  # noqa: FBT003 - YAML knows lists only


@frozen
class Cpu:
    """This host's CPU. Threads and affinity are set in the child process, before libraries start."""

    name: str = "cpu"
    threads: PositiveInt | None = None
    """Intra-op threads; null: OMP_NUM_THREADS, else one for each physical core that this process may use."""
    affinity: Cores | None = None
    """Logical CPUs to run on, numbered as by `taskset -c`; null: those of this process."""
    instance_type: InstanceType | None = None
    """Cloud instance type; null: that of the firmware's DMI tables."""

    kind: ClassVar[str] = "cpu"
    torch_device: ClassVar[Literal["cpu"]] = "cpu"
    simulated: ClassVar[bool] = False
    isolated: ClassVar[bool] = True
    core_memory_bytes: ClassVar[int | None] = None

    def refuse(self) -> str | None:
        """Refuse nothing."""
        return None

    def missing(self) -> str | None:
        """Return which CPUs of `affinity` this process may not use, or None."""
        if self.affinity is None:
            return None
        absent = sorted(set(self.affinity) - os.sched_getaffinity(0))
        allowed = sorted(os.sched_getaffinity(0))
        return f"hardware.affinity has CPUs {absent}, but this process may use {allowed}" if absent else None

    def facts(self) -> DeviceFacts:
        """Name of the CPU, and the threads of a run."""
        cores = len(self.affinity) if self.affinity else machine.usable_cores()
        return DeviceFacts(
            device_name=machine.cpu_model(),
            cores=cores,
            instance_type=self.instance_type or machine.instance_type(),
            threads=self.threads or machine.omp_threads() or cores,
            isa=machine.isa(),
        )

    def shares(self, replicas: int) -> tuple[tuple[int, ...], ...]:
        """Adjacent CPUs for each of several copies; more copies than CPUs share them."""
        if replicas == 1 or not hasattr(os, "sched_getaffinity"):
            return ()
        cpus = sorted(self.affinity or os.sched_getaffinity(0))
        each = max(1, len(cpus) // replicas)
        firsts = [number * each % len(cpus) for number in range(replicas)]
        return tuple(tuple(cpus[first : first + each]) for first in firsts)

    def configure_process(self, share: Sequence[int] = ()) -> None:
        """Bind this process to its CPUs."""
        if cpus := share or self.affinity:
            os.sched_setaffinity(0, cpus)

    def synchronized(self, session: Session) -> Session:
        """Return it as it is: CPU calls return when they are done."""
        return session

    def of_rank(self, rank: int) -> Cpu | None:
        """This CPU, for as many processes as it has cores."""
        return self if rank < self.facts().cores else None

    def state(self) -> DeviceState:
        """Clock, temperature and throttling of the CPUs that this process may use."""
        clocks = sensors.frequency_mhz()
        return DeviceState(
            clock_mhz=sum(clocks) / len(clocks) if clocks else None,
            temperature_c=sensors.temperature_c(),
            throttle_count=sensors.throttle_count(),
        )

"""A device that doesn't exist: latencies follow a formula instead of being measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from benchmark.measurement import DeviceState
from benchmark.records import DeviceFacts, Session, frozen


@frozen
class SimulatedDevice:
    """For tests, documentation and drills; its rows have `simulated=true`."""

    name: str = "simulated"
    isolated: bool = False
    """true: every run has a real child process, for drills with faults."""
    instance_type: str | None = None

    kind: ClassVar[str] = "simulated"
    torch_device: ClassVar[None] = None
    simulated: ClassVar[bool] = True
    core_memory_bytes: ClassVar[int | None] = None

    def refuse(self) -> str | None:
        """Refuse nothing."""
        return None

    def missing(self) -> str | None:
        """Nothing is missing."""
        return None

    def facts(self) -> DeviceFacts:
        """One simulated core."""
        return DeviceFacts(device_name="simulated", cores=1, instance_type=self.instance_type)

    def shares(self, replicas: int) -> tuple[tuple[int, ...], ...]:  # noqa: ARG002 - whatever their number
        """None: copies of a model share it."""
        return ()

    def configure_process(self, share: Sequence[int] = ()) -> None:
        """Nothing to configure."""

    def synchronized(self, session: Session) -> Session:
        """Return it as it is: simulated calls are done when they return."""
        return session

    def of_rank(self, rank: int) -> SimulatedDevice | None:
        """It trains nothing."""
        return self if rank == 0 else None

    def state(self) -> DeviceState:
        """No readings."""
        return DeviceState()

"""A device that isn't there: whatever runs on it follows a law instead of taking time."""

from __future__ import annotations

from typing import ClassVar

from benchmark.measurement import DeviceState
from benchmark.records import DeviceFacts, Session, frozen


@frozen
class SimulatedDevice:
    """Its rows say `simulated=true`."""

    name: str = "simulated"
    isolated: bool = False
    """true gives every run a real child process, for drills with faults."""
    instance_type: str | None = None

    kind: ClassVar[str] = "simulated"
    torch_device: ClassVar[None] = None
    simulated: ClassVar[bool] = True

    def missing(self) -> str | None:
        """Nothing to miss."""
        return None

    def facts(self) -> DeviceFacts:
        """One imaginary core."""
        return DeviceFacts(device_name="simulated", cores=1, instance_type=self.instance_type)

    def configure_process(self) -> None:
        """Nothing to settle."""

    def synchronized(self, session: Session) -> Session:
        """Simulated calls return when they are done."""
        return session

    def state(self) -> DeviceState:
        """Nothing to tell."""
        return DeviceState()

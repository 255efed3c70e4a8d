"""An NVIDIA GPU, by torch's documented interface; it has not run on a device yet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from pydantic import NonNegativeInt

from benchmark import host
from benchmark.records import DeviceFacts, frozen

_DRIVER = Path("/proc/driver/nvidia/version")
_CARDS = Path("/proc/driver/nvidia/gpus")


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

    def synchronised(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """CUDA calls return before they are done: wait for the card."""
        import torch

        def call() -> Any:
            outputs = run()
            torch.cuda.synchronize()
            return outputs

        return call

    def _cards(self) -> list[str]:
        """Names of the cards, in PCI bus order."""
        names = []
        for card in sorted(_CARDS.glob("*/information")):
            found = re.search(r"^Model:\s*(.+)$", card.read_text(), re.MULTILINE)
            names.append(found[1].strip() if found else "NVIDIA GPU")
        return names

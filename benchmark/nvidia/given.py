"""Cards that a command was given: Slurm, Kubernetes and users name them in CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

from benchmark.nvidia import nvml

PROC: Final = Path("/proc/driver/nvidia")
DEVICES: Final = Path("/dev")
_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
_NAMES: Final = ("GPU-", "MIG-")


class Card(NamedTuple):
    """A card of this host."""

    uuid: str
    """Empty where only its file in /dev is known."""
    name: str


@lru_cache(maxsize=1)
def names() -> tuple[str, ...] | None:
    """Names of the given cards, as CUDA reads them: numbers in PCI bus order or UUIDs; None: every card.

    Read once: `configure_process` narrows the variable to one card. What follows a name that CUDA can't read
    doesn't count (CUDA C++ Programming Guide, CUDA environment variables).
    """
    text = os.environ.get(_VARIABLE)
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    return tuple(takewhile(lambda part: part.isdecimal() or part.startswith(_NAMES), parts))


def on_host() -> list[Card]:
    """Cards of this host, in PCI bus order: by NVML, else by the driver's files, else by /dev."""
    if (found := nvml.cards()) is not None:
        return [Card(*one) for one in found]
    files = sorted(PROC.glob("gpus/*/information"))
    if files:
        return [_described(file.read_text(errors="replace")) for file in files]
    return [Card("", "NVIDIA GPU") for _ in sorted(DEVICES.glob("nvidia[0-9]*"))]


def refusal(index: int, cards: Sequence[Card]) -> str | None:
    """Why there is no given card of this number, in one line; None: there is one."""
    given = names()
    if given is None:
        return None if index < len(cards) else f"hardware.index={index}: this host has {len(cards)} GPU(s)"
    text = os.environ.get(_VARIABLE, "")
    if not given:
        return f"{_VARIABLE}={text} gives this command no GPU: unset it, or name cards by number or UUID"
    if index >= len(given):
        return f"hardware.index={index}: {_VARIABLE}={text} gives {len(given)} GPU(s), numbered from 0"
    name = given[index]
    if name.isdecimal():
        known = int(name) < len(cards)
    elif name.startswith("MIG-"):
        known = nvml.Device(name).is_known
    else:
        known = any(card.uuid.startswith(name) for card in cards)
    if not known:
        missing = "" if name.isdecimal() or nvml.library()[0] else f" ({nvml.library()[1]})"
        return f"{_VARIABLE}={text}: this host has no GPU {name}{missing}; `nvidia-smi -L` lists them"
    return None


def name_of(index: int) -> str:
    """What CUDA and NVML call the given card of this number."""
    given = names()
    return given[index] if given is not None and index < len(given) else str(index)


def _described(text: str) -> Card:
    model = re.search(r"^Model:\s*(.+)$", text, re.MULTILINE)
    uuid = re.search(r"^GPU UUID:\s*(\S+)$", text, re.MULTILINE)
    return Card(uuid[1] if uuid else "", model[1].strip() if model else "NVIDIA GPU")


def driver() -> str | None:
    """Version of the driver, by its own file."""
    file = PROC / "version"
    found = re.search(r"(\d+\.\d+(?:\.\d+)?)", file.read_text(errors="replace")) if file.is_file() else None
    return found[1] if found else None

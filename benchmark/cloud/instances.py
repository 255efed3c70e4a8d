"""The catalogue of cloud instances: instance types with their chips, cores and memory.

Detection needs no network: a name is looked up in `instances.csv`, whose column `source` has the repository,
file, commit and date of each line. Neuron instances are from the architecture pages of the Neuron
documentation, the others from karpenter-provider-aws, which records EC2's answers to DescribeInstanceTypes.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, NonNegativeInt, PositiveFloat, PositiveInt

from benchmark.records import frozen
from benchmark.spelling import nearest, suggest

_CATALOGUE: Final = Path(__file__).with_name("instances.csv")
_SIZES: Final = {"nano": 1 / 32, "micro": 1 / 16, "small": 1 / 8, "medium": 1 / 4, "large": 1 / 2}
"""Sizes in xlarges, as EC2 doubles them; only their order and distance matter."""
_WHOLE: Final = "benchmark/cloud/instances.csv lists those that are known"


@frozen
class Instance:
    """An instance type."""

    instance_type: str
    family: str
    device: str | None
    """Its accelerator; None for CPU instances."""
    devices: NonNegativeInt
    """Number of accelerators."""
    cores: PositiveInt | None
    """NeuronCores that a program sees by default: on Trainium2 and Trainium3 two form a logical one."""
    physical_cores: PositiveInt | None
    neuroncore_version: Literal[1, 2, 3, 4] | None
    vcpu: PositiveInt
    memory_gib: PositiveFloat
    """Memory of the host."""
    device_memory_gib: PositiveFloat | None
    """Memory of all devices together."""
    target: str | None
    """Name for its chip's compiler; neuron-cc compiles for inf1 only and needs none."""
    source: str
    """Repository, file, commit and date of these figures."""


def find(name: str) -> Instance:
    """The instance type of this name.

    Raises:
        ValueError: it is unknown; suggests the nearest name, of the same family if that exists.
    """
    if found := _catalogue().get(name):
        return found
    raise ValueError(f"no such instance type: {suggest(_nearest(name.lower())) or _WHOLE}")


def known(family: str | None = None) -> tuple[Instance, ...]:
    """The instance types of a family, or all, from small to large."""
    return tuple(one for one in _catalogue().values() if family in {None, one.family})


InstanceType = Annotated[str, AfterValidator(lambda name: find(name).instance_type)]
"""Name of an instance type in the catalogue, for a field of a device."""


@lru_cache(maxsize=1)
def _catalogue() -> Mapping[str, Instance]:
    with _CATALOGUE.open(encoding="utf-8", newline="") as file:
        return {line["instance_type"]: _instance(line) for line in csv.DictReader(file)}


def _instance(line: Mapping[str, str]) -> Instance:
    version = _count(line["neuroncore_version"])
    return Instance(
        instance_type=line["instance_type"],
        family=line["family"],
        device=line["device"] or None,
        devices=_count(line["devices"]) or 0,
        cores=_count(line["cores"]),
        physical_cores=_count(line["physical_cores"]),
        neuroncore_version=version,  # type: ignore[arg-type]  # checked at construction
        vcpu=int(line["vcpu"]),
        memory_gib=float(line["memory_gib"]),
        device_memory_gib=float(line["device_memory_gib"]) if line["device_memory_gib"] else None,
        target=line["target"] or None,
        source=line["source"],
    )


def _count(text: str) -> int | None:
    return int(text) if text else None


def _nearest(name: str) -> str | None:
    """The nearest size of its family, since people misremember sizes; else the nearest spelling."""
    family, _, size = name.partition(".")
    families = dict.fromkeys(one.family for one in known())
    if family not in families:
        whole = nearest(name, _catalogue(), cutoff=0.85)
        close = nearest(family, families)
        if whole or not (close and size):
            return whole
        family = close
    names = [one.instance_type for one in known(family)]
    wanted = _xlarges(size)
    if wanted is None:
        return nearest(name, names, cutoff=0)
    return min(names, key=lambda known: abs(math.log2((_xlarges(known.split(".")[1]) or 1024) / wanted)))


def _xlarges(size: str) -> float | None:
    """A size in xlarges; None of others, such as `metal`."""
    found = re.fullmatch(r"(\d*)xlarge", size)
    return float(found[1] or 1) or None if found else _SIZES.get(size)

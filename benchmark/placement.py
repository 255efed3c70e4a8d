"""Which device cores each part of each copy of a model sits on: decided by the plan, before anything runs.

`python -m benchmark plan` refuses what doesn't fit; rows and commands print the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from pydantic import NonNegativeInt

from benchmark.protocols import Compiler, Device, Scenario, Task
from benchmark.records import Model, frozen

WHOLE: Final = "model"
"""Name of the part in a model of one network."""


@frozen
class Placed:
    """One part of one copy of the model, and its cores."""

    replica: NonNegativeInt
    part: str
    """`model` in a model of one network."""
    cores: tuple[NonNegativeInt, ...]
    """Adjacent cores, counted from the first core of the run; in a row, from the host's first one."""

    @property
    def key(self) -> str:
        """Key of the column `placement`, such as `0/unet`."""
        return f"{self.replica}/{self.part}"

    @property
    def value(self) -> str:
        """Its cores, as NEURON_RT_VISIBLE_CORES spells them: `2` or `2-3`."""
        first, last = self.cores[0], self.cores[-1]
        return str(first) if first == last else f"{first}-{last}"


def of_replica(task: Task, model: Model, compiler: Compiler, cores: int) -> Mapping[str, tuple[int, ...]]:
    """The cores of each part, of the `cores` that one copy of the model has, counted from 0.

    Empty where the compiler's models have no core of their own, as on a CPU.
    """
    return compiler.placement(task.parts_of(model) or (WHOLE,), cores)


def of_copy(
    task: Task, model: Model, compiler: Compiler, hardware: Device, scenario: Scenario
) -> Mapping[str, tuple[int, ...]]:
    """The cores of each part of one of the scenario's copies, counted from its first one."""
    return of_replica(task, model, compiler, max(1, hardware.facts().cores // scenario.replicas))


def placement(
    task: Task, model: Model, compiler: Compiler, hardware: Device, scenario: Scenario
) -> tuple[Placed, ...]:
    """Place every part of every copy. No device, library or network is needed.

    `placement(e.task, e.model, e.compiler, e.hardware, e.scenario)` places those of an experiment.
    """
    parts = of_copy(task, model, compiler, hardware, scenario)
    cores = max(1, hardware.facts().cores // scenario.replicas)
    return tuple(
        Placed(replica=replica, part=part, cores=tuple(replica * cores + core for core in places))
        for replica in range(scenario.replicas)
        for part, places in parts.items()
    )


def moved(placed: Iterable[Placed], shares: Sequence[Sequence[int]]) -> tuple[Placed, ...]:
    """The same on the cores that this host has given to each copy."""
    width = len(shares[0])
    return tuple(
        Placed(
            replica=one.replica,
            part=one.part,
            cores=tuple(shares[one.replica][core - one.replica * width] for core in one.cores),
        )
        for one in placed
    )


def column(placed: Iterable[Placed]) -> dict[str, str]:
    """The column `placement` of a row."""
    return {one.key: one.value for one in placed}


def words(column: Mapping[str, str]) -> str:
    """The column as text: `replica 0: prefill on core 0, decode on core 0; replica 1: …`."""
    replicas: dict[str, list[str]] = {}
    for key, cores in column.items():
        replica, _, part = key.partition("/")
        replicas.setdefault(replica, []).append(f"{part} on core{'s' * ('-' in cores)} {cores}")
    if len(replicas) < 2:  # noqa: PLR2004 - one of several
        return ", ".join(part for parts in replicas.values() for part in parts)
    return "; ".join(f"replica {replica}: {', '.join(parts)}" for replica, parts in replicas.items())


def refusals(
    task: Task, model: Model, compiler: Compiler, hardware: Device, scenario: Scenario
) -> Iterator[str]:
    """Why the copies and their parts don't fit on the cores of the run, or into their memory."""
    given, replicas = hardware.facts().cores, scenario.replicas
    least = _cores_in(of_replica(task, model, compiler, 1))
    if not least:
        return
    if (needed := replicas * least) > given:
        each = f" of {least} cores each" if least > 1 else ""
        yield (
            f"scenario.replicas={replicas}{each} needs hardware.cores={needed}, not {given}: use as many "
            "cores, or fewer replicas"
        )
        return
    parts = of_replica(task, model, compiler, given // replicas)
    if (used := replicas * _cores_in(parts)) != given:
        copies = "one copy" if replicas == 1 else f"{replicas} copies"
        yield (
            f"hardware.cores={given}: {copies} of model={model.name} can use {used}: use "
            f"hardware.cores={used}, or as many replicas as cores"
        )
    yield from _refuse_memory(task, model, compiler, parts, hardware.core_memory_bytes)


def _cores_in(parts: Mapping[str, Sequence[int]]) -> int:
    return len({core for cores in parts.values() for core in cores})


def _refuse_memory(
    task: Task, model: Model, compiler: Compiler, parts: Mapping[str, Sequence[int]], there: int | None
) -> Iterator[str]:
    """Why the weights alone are too large for a core, where both sizes are known."""
    parameters = model.parameters.get(task.name.replace("-", "_"))
    if there is None or parameters is None:
        return
    shares = task.shares_of(model)
    for core in sorted({core for cores in parts.values() for core in cores}):
        here = [part for part, cores in parts.items() if core in cores]
        share = max(sum(shares.get(part, 0.0) for part in here), float(len(here) == len(parts)))
        if (needed := share * parameters * min(map(compiler.weight_bytes, here))) > there:
            yield (
                f"model={model.name}: the weights of {', '.join(here)} take {needed / 2**30:.1f} GiB, and a "
                f"core has {there / 2**30:.0f} GiB: {_mend(task, model, compiler, parts)}"
            )


def _mend(task: Task, model: Model, compiler: Compiler, parts: Mapping[str, Sequence[int]]) -> str:
    more = _cores_in(parts) + 1
    if _cores_in(of_replica(task, model, compiler, more)) == more:
        return f"use {more} cores for each replica (hardware.cores), or a smaller model"
    return "use a smaller model"

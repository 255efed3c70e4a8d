"""What earlier rows let one expect of a cell, to choose what is compiled first. No verdict stands on it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import pyarrow.compute as pc

from benchmark.cell import PlannedRun
from benchmark.identity import options_of
from benchmark.pipeline.looks import Objective, value
from benchmark.store.results import ResultsStore
from benchmark.store.selection import OWN

_MOST: Final = 4000
"""Newest rows that are read."""


class Arithmetic(NamedTuple):
    """Where a cell computes, and how exactly."""

    hardware: str
    fast_math: str
    quantization: str


class Setup(NamedTuple):
    """What a prior needs to know of a cell."""

    cell_id: str
    work: tuple[Any, ...]
    """Model, scenario and sizes but for the batch."""
    arithmetic: Arithmetic
    compiler: str
    threads: int | None
    batch_size: int

    @property
    def kind(self) -> tuple[Any, ...]:
        """Cells of one kind differ in threads, batch and options of their compiler at most."""
        return self.work, self.arithmetic, self.compiler

    @property
    def place(self) -> tuple[Any, ...]:
        """Cells of one place have the same roofline, for each item of a batch."""
        return self.work, self.arithmetic, self.threads


_SIZES: Final = ("sequence_length", "image_size", "input_length", "output_length")
_COLUMNS: Final = (
    *(
        "cell_id",
        "model",
        "scenario",
        *_SIZES,
        "hardware",
        "fast_math",
        "quantization",
        "compiler",
        "threads",
    ),
    *("batch_size", "latency_p50_ms", "throughput_per_s", "qps_under_slo", "roofline_fraction"),
)


def expectations(store: ResultsStore, runs: Sequence[PlannedRun], objective: Objective) -> dict[str, float]:
    """Logarithm of an objective by earlier rows, by cell_id; cells of which nothing is known are absent."""
    if not store.exists:
        return {}
    rows = store.recent(_COLUMNS, OWN & (pc.field("status") == "ok"), _MOST).to_pylist()
    prior = Prior(row for row in rows if row["latency_p50_ms"] and row["throughput_per_s"])
    found = {}
    for run in runs:
        known = prior.expected(_setup_of(run))
        if known and (expected := value(objective, known, run)):
            found[run.cell.cell_id] = math.log(expected)
    return found


class Prior:
    """Latency and throughput that rows let one expect.

    Known best is the cell itself, then its kind at another batch or number of threads, scaled by the batch.
    Else the roofline: rows of other compilers show the shortest time that the machine allows, and rows of
    other models the share of it that this compiler reaches; without them it is that of the best compiler.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """`rows` are ok ones with a latency and a throughput, oldest first."""
        self._own: dict[str, Mapping[str, Any]] = {}
        self._kinds: dict[tuple[Any, ...], dict[int, Mapping[str, Any]]] = defaultdict(dict)
        self._rooflines: dict[tuple[Any, ...], tuple[float, float]] = {}
        """Shortest ms, and units of the throughput, for each item."""
        self._shares: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for row in rows:
            self._add(row)

    def expected(self, setup: Setup) -> Mapping[str, Any] | None:
        """Figures of this cell, as a row has them; None: nothing is known."""
        if row := self._own.get(setup.cell_id):
            return row
        if batches := self._kinds.get(setup.kind):
            nearest = min(batches, key=lambda batch: abs(math.log(batch / setup.batch_size)))
            row, times = batches[nearest], setup.batch_size / nearest
            return {**row, "latency_p50_ms": row["latency_p50_ms"] * times}
        roofline = self._rooflines.get(setup.place)
        share = self._share(setup)
        if roofline is None or share is None:
            return None
        shortest_ms, units = roofline
        return {
            "latency_p50_ms": shortest_ms * setup.batch_size / share,
            "throughput_per_s": 1e3 * units * share / shortest_ms,
            "qps_under_slo": None,
        }

    def _add(self, row: Mapping[str, Any]) -> None:
        setup = _setup_of_row(row)
        self._own[setup.cell_id] = self._kinds[setup.kind][setup.batch_size] = row
        if share := row["roofline_fraction"]:
            p50_ms, batch = row["latency_p50_ms"], setup.batch_size
            units = row["throughput_per_s"] * p50_ms / 1e3 / batch
            self._rooflines[setup.place] = share * p50_ms / batch, units
            self._shares[setup.arithmetic, setup.compiler].append(share)

    def _share(self, setup: Setup) -> float | None:
        if own := self._shares.get((setup.arithmetic, setup.compiler)):
            return median(own)
        others = [
            max(found) for (arithmetic, _), found in self._shares.items() if arithmetic == setup.arithmetic
        ]
        return max(others, default=None)


def _setup_of(run: PlannedRun) -> Setup:
    e, shape = run.cell.experiment, run.cell.shape
    return Setup(
        cell_id=run.cell.cell_id,
        work=(e.model.name, e.scenario.name, *(getattr(shape, name) for name in _SIZES)),
        arithmetic=Arithmetic(
            e.hardware.name, e.compiler.fast_math, options_of(e.compiler).get("quantization", "none")
        ),
        compiler=e.compiler.name,
        threads=run.environment.facts.threads,
        batch_size=e.batch,
    )


def _setup_of_row(row: Mapping[str, Any]) -> Setup:
    return Setup(
        cell_id=row["cell_id"],
        work=tuple(row[name] for name in ("model", "scenario", *_SIZES)),
        arithmetic=Arithmetic(row["hardware"], row["fast_math"], row["quantization"] or "none"),
        compiler=row["compiler"],
        threads=row["threads"],
        batch_size=row["batch_size"],
    )

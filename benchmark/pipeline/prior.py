"""What earlier rows let one expect of a cell, to choose what is compiled first. No verdict stands on it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.cell import PlannedRun
from benchmark.identity import options_of
from benchmark.pipeline.looks import Objective, value
from benchmark.store.results import ResultsStore
from benchmark.store.selection import OWN

_MOST: Final = 4000
"""Newest rows that are read: of the models in question, and of all."""


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

    def distance(self, other: Setup) -> tuple[bool, float]:
        """How little a row of the same kind says: another number of threads counts more than any batch."""
        return self.threads != other.threads, abs(math.log(self.batch_size / other.batch_size))


_SIZES: Final = ("sequence_length", "image_size", "input_length", "output_length")
_COLUMNS: Final = (
    *("cell_id", "model", "scenario", *_SIZES, "hardware", "threads", "batch_size"),
    *("compiler", "fast_math", "quantization"),
    *("latency_p50_ms", "throughput_per_s", "qps_under_slo", "roofline_fraction"),
)


def expectations(store: ResultsStore, runs: Sequence[PlannedRun], objective: Objective) -> dict[str, float]:
    """Logarithm of an objective by earlier rows, by cell_id; cells of which nothing is known are absent."""
    if not store.exists:
        return {}
    done = OWN & (pc.field("status") == "ok")
    of_models = pc.field("model").isin(pa.array(sorted({run.cell.experiment.model.name for run in runs})))
    rows = (
        row
        for chosen in (done, done & of_models)
        for row in store.recent(_COLUMNS, chosen, _MOST).to_pylist()
    )
    prior = Prior(row for row in rows if row["latency_p50_ms"] and row["throughput_per_s"])
    found = {}
    for run in runs:
        known = prior.expected(_setup_of(run))
        if known and (expected := value(objective, known, run)):
            found[run.cell.cell_id] = math.log(expected)
    return found


class Prior:
    """Expects what the nearest row says.

    The cell's own row comes first, then one of its kind: with as many threads if there is one, at the nearest
    batch, scaled by it. Else the roofline decides: rows of other compilers say the shortest time that the
    machine allows, rows of other models say which share of it this compiler reaches. Without the latter it is
    expected to reach what the best compiler does.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """`rows` are ok ones with a latency and a throughput, oldest first."""
        self._own: dict[str, Mapping[str, Any]] = {}
        self._kinds: dict[tuple[Any, ...], dict[Setup, Mapping[str, Any]]] = defaultdict(dict)
        self._rooflines: dict[tuple[Any, ...], tuple[float, float]] = {}
        """Shortest ms, and units of the throughput, for each item."""
        self._shares: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for row in rows:
            self._add(row)

    def expected(self, setup: Setup) -> Mapping[str, Any] | None:
        """Figures of this cell, as a row has them; None: nothing is known."""
        if row := self._own.get(setup.cell_id):
            return row
        if known := self._kinds.get(setup.kind):
            nearest = min(reversed(known), key=setup.distance)
            times = setup.batch_size / nearest.batch_size
            return {**known[nearest], "latency_p50_ms": known[nearest]["latency_p50_ms"] * times}
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
        self._kinds[setup.kind].pop(setup, None)  # the newest stands last
        self._own[setup.cell_id] = self._kinds[setup.kind][setup] = row
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

"""How long earlier runs took, as stored rows have it: what the estimate of a grid goes by.

A run's time follows its sampling, so only rows with the same sampling say how long a run takes. The others
say what a process takes beside its calls, how long a call is, and what a compilation took.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.store.results import ResultsStore
from benchmark.store.selection import OWN

_ENOUGH_ROWS: Final = 4_000
"""Newest rows that are read: more would hardly change the estimate and cost seconds."""
_EFFORT: Final = (
    *("warmup_calls", "warmup_s", "min_calls", "max_calls", "min_s", "max_s"),
    *("precision", "precision_percentile", "noise_retries"),
)
"""Keys of `sampling` on which the time of a process depends."""
_EFFORT_OF_CELL: Final = (*_EFFORT, "repeats", "min_repeats", "repeat_precision")
"""Those on which the number of processes depends."""
_ASIDE: Final = frozenset({"build", "compile", "wait", "peak"})
"""Stages that a run doesn't have each time: made once for many runs, or depending on other commands."""
_SAMPLED: Final = ("measure.warmup", "measure.calls", "measure.retries")
_CACHED_S: Final = 0.1
"""Most seconds of a build whose results come from the cache."""
_SAMPLING: Final = r'"sampling": (?P<sampling>\{[^}]*\})'
_COLUMNS: Final = (
    *("campaign", "cell_id", "environment_id", "model", "hardware", "compiler", "simulated", "config"),
    *("compile_s", "latency_p50_ms", "stage_seconds"),
)


class Case(NamedTuple):
    """What a run is compared by."""

    cell_id: str
    model: str
    hardware: str
    compiler: str

    @property
    def alike(self) -> tuple[tuple[str, ...], ...]:
        """Keys of rows that are like it, the most alike first."""
        return (
            (self.cell_id, self.hardware),
            (self.model, self.hardware, self.compiler),
            (self.model, self.hardware),
            (self.hardware, self.compiler, ""),
            (self.hardware, "", ""),
        )


class Known(NamedTuple):
    """A typical value of stored rows, and their number."""

    value: float
    rows: int


class Durations:
    """Seconds that runs took, found by what they have in common with another run."""

    def __init__(self) -> None:
        self._values: dict[Hashable, list[float]] = defaultdict(list)
        self._known: dict[Hashable, Known] = {}

    def process(self, case: Case, sampling: object) -> Known | None:
        """Seconds of a process with the same sampling after its start, until it has its row."""
        return self._first(("work", effort(sampling), key) for key in case.alike[:2])

    def start(self, case: Case) -> float | None:
        """Seconds until a process begins to work."""
        return _value(self._first((("start", key) for key in case.alike), median))

    def overhead(self, case: Case) -> float | None:
        """Seconds of a process beside its calls and its start."""
        return _value(self._first(("overhead", key) for key in case.alike))

    def call(self, case: Case) -> float | None:
        """Seconds of a call of this cell, else of this model under this compiler."""
        return _value(self._first(("call", key) for key in case.alike[:2]))

    def making(self, case: Case, stage: Literal["build", "compile"]) -> float | None:
        """Seconds to build a model or to compile it: this one, else another under this compiler."""
        return _value(self._first((stage, key) for key in case.alike[1:4]))

    def processes(self, case: Case, sampling: object) -> float | None:
        """Number of processes in which a cell is measured with the same sampling."""
        of_cell = effort_of_cell(sampling)
        return _value(self._first(("processes", of_cell, key) for key in case.alike[:3]))

    def _first(
        self, keys: Iterable[Hashable], typical: Callable[[Sequence[float]], float] = fmean
    ) -> Known | None:
        """What rows say by the first key that any row has.

        Means, for their sum is the time of a grid; a median for what has outliers that aren't typical.
        """
        for key in keys:
            if key in self._known:
                return self._known[key]
            if values := self._values.get(key):
                self._known[key] = Known(typical(values), len(values))
                return self._known[key]
        return None

    def add(self, row: Mapping[str, Any], sampling: Mapping[str, Any]) -> None:
        """Remember what one run took."""
        case = Case(row["cell_id"], row["model"], row["hardware"], row["compiler"])
        seconds = dict(row["stage_seconds"] or ())
        if "measure" not in seconds:
            return
        work, start = work_and_start(seconds)
        sampled = 0.0 if row["simulated"] else sum(seconds.get(name, 0.0) for name in _SAMPLED)
        self._add("work", work, case.alike[:2], effort(sampling))
        self._add("overhead", max(0.0, work - sampled), case.alike)
        if "measure.start" in seconds:
            self._add("start", start, case.alike)
        if row["latency_p50_ms"] is not None:
            self._add("call", row["latency_p50_ms"] / 1e3, case.alike[:2])
        if row["compile_s"] is not None:  # on a cache hit that of the compilation, while the stage took none
            self._add("compile", row["compile_s"], case.alike[1:4])
        if seconds.get("build", 0.0) > _CACHED_S:
            self._add("build", seconds["build"], case.alike[1:4])

    def add_cell(self, case: Case, sampling: Mapping[str, Any], processes: int) -> None:
        """Remember in how many processes a cell was measured."""
        self._add("processes", processes, case.alike[:3], effort_of_cell(sampling))

    def _add(self, what: str, value: float, keys: Iterable[tuple[str, ...]], *of: Hashable) -> None:
        for key in keys:
            self._values[(what, *of, key)].append(value)


def durations(store: ResultsStore, models: Collection[str], hardware: Collection[str]) -> Durations:
    """What about 4,000 of the newest ok rows on this hardware took, of these models as far as there are any.

    Raises:
        StoreError: the store can't be read.
    """
    found = Durations()
    if not store.exists:
        return found
    here = (pc.field("status") == "ok") & OWN & pc.field("compiler").is_valid()
    here &= pc.field("hardware").isin(pa.array(list(hardware), pa.string()))
    of_models = pc.field("model").isin(pa.array(list(models), pa.string()))
    rows = store.recent(_COLUMNS, here & of_models, _ENOUGH_ROWS)
    if {*models} - {*rows["model"].unique().to_pylist()}:
        rows = pa.concat_tables([store.recent(_COLUMNS, here & ~of_models, _ENOUGH_ROWS), rows])
    rows = rows.slice(max(0, len(rows) - _ENOUGH_ROWS))
    samplings = _samplings(rows["config"])
    cells: dict[Case, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    last: dict[Case, Mapping[str, Any]] = {}
    for row, sampling in zip(rows.drop_columns("config").to_pylist(), samplings, strict=True):
        found.add(row, sampling)
        case = Case(row["cell_id"], row["model"], row["hardware"], row["compiler"])
        cells[case][row["campaign"], row["environment_id"]] += 1
        last[case] = sampling
    for case, campaigns in cells.items():
        *_, processes = campaigns.values()
        if processes >= min(last[case].get(name) or 1 for name in ("min_repeats", "repeats")):
            found.add_cell(case, last[case], processes)
    return found


def work_and_start(stage_seconds: Mapping[str, float]) -> tuple[float, float]:
    """Seconds of a run's own stages without the start of its process, and of that start.

    The start is apart because the first process of a command waits for imports.
    """
    start = stage_seconds.get("measure.start", 0.0)
    own = sum(seconds for name, seconds in stage_seconds.items() if "." not in name and name not in _ASIDE)
    return max(0.0, own - start), start


def effort(sampling: object) -> tuple[object, ...]:
    """Equal for samplings with which a process takes the same time."""
    return _of_keys(sampling, _EFFORT)


def effort_of_cell(sampling: object) -> tuple[object, ...]:
    """Equal for samplings with which a cell is measured in the same number of processes."""
    return _of_keys(sampling, _EFFORT_OF_CELL)


def _of_keys(sampling: object, names: Sequence[str]) -> tuple[object, ...]:
    if isinstance(sampling, Mapping):
        return tuple(sampling.get(name) for name in names)
    return tuple(getattr(sampling, name, None) for name in names)


def _samplings(configs: pa.ChunkedArray) -> list[Mapping[str, Any]]:
    """The section `sampling` of each configuration; empty where there is none."""
    texts = pc.struct_field(pc.extract_regex(configs, _SAMPLING), "sampling").to_pylist()
    parsed = {text: json.loads(text or "{}") for text in set(texts)}
    return [parsed[text] for text in texts]


def _value(known: Known | None) -> float | None:
    return known and known.value

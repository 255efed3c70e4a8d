"""Results that can't be right: rules over stored rows, each a small pure function of a frame of them.

Mistakes that were really published suggested the rules, and honest rows come first: a rule speaks only
where no honest measurement could look like that, or else it gives a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmark.analysis import lint_pairs, lint_rows
from benchmark.records import Names, frozen
from benchmark.store.schema import SCHEMA

_UNREAD = {"latency_ns", "config", "command", "error", "log_path", "stage_seconds", "overrides"}
COLUMNS: Final = tuple(name for name in SCHEMA.names if name not in _UNREAD)
"""What is to be read for the rules; samples besides, of `lint_pairs.lookalikes` only."""

_FIELDS = [SCHEMA.field(name) for name in (*COLUMNS, "latency_ns")]
_NUMBERS = [field.name for field in _FIELDS if field.type in {pa.int64(), pa.float64()}]
_TEXTS = [field.name for field in _FIELDS if field.type == pa.string()]
_LISTS = [field.name for field in _FIELDS if pa.types.is_list(field.type)]
_REST = [field.name for field in _FIELDS if field.name not in {*_NUMBERS, *_TEXTS, *_LISTS}]


@frozen
class Finding:
    """What a rule found."""

    rule: str
    rows: Names
    """Their run_ids."""
    reason: str
    """One sentence: the figures, and what to do."""


@frozen
class Rule:
    """One rule: `check` yields the run_ids and the reason of each finding."""

    name: str
    meaning: str
    check: Callable[[pd.DataFrame], Iterator[lint_rows.Told]]
    note: bool = False
    """An honest row can be like that: worth knowing before it is published, but nothing is wrong."""


def findings(rows: pd.DataFrame) -> list[Finding]:
    """What every rule finds, in the order of `RULES`.

    The frame is as `results.to_frame` makes it, and may lack any column but run_id.
    """
    known = typed(rows)
    return [
        Finding(rule=rule.name, rows=tuple(ids), reason=reason)
        for rule in RULES
        for ids, reason in rule.check(known)
    ]


RULES: Final = (
    Rule(
        name="identical series",
        meaning="two runs that differ have the very same figures",
        check=lint_pairs.identical_series,
    ),
    Rule(
        name="latency falls",
        meaning="a greater batch or length of the same cell is clearly faster",
        check=lint_pairs.latency_falls,
    ),
    Rule(
        name="above Little's law",
        meaning="more throughput than replicas x workers callers can ask for at that latency",
        check=lint_rows.more_than_its_callers_ask,
    ),
    Rule(
        name="few samples",
        meaning="a percentile that its samples can't support: p90 needs 36, p95 72, p99 368",
        check=lint_rows.percentiles_of_few_samples,
    ),
    Rule(
        name="out of order",
        meaning="percentiles that don't rise, or a figure outside its own interval",
        check=lint_rows.figures_out_of_order,
    ),
    Rule(
        name="impossible figure",
        meaning="not above zero, not finite, or out of range",
        check=lint_rows.impossible_figures,
    ),
    Rule(name="no result", meaning="an ok row without any figure", check=lint_rows.no_result),
    Rule(
        name="simulated passed off",
        meaning="made by the simulated device, but not marked",
        check=lint_rows.simulated_passed_off,
    ),
    Rule(
        name="unknown instance",
        meaning="an instance type without a price",
        check=lint_rows.unknown_instance_type,
    ),
    Rule(
        name="busier than its cores",
        meaning="more CPU time than the cores can give",
        check=lint_rows.busier_than_its_cores,
    ),
    Rule(
        name="mixed units",
        meaning="one model's throughput counted in several units",
        check=lint_pairs.mixed_units,
    ),
    Rule(name="noisy", meaning="an ok row whose samples are unsteady or disturbed", check=lint_rows.noisy),
    Rule(
        name="first call too fast",
        meaning="the first call took less than half of any later one",
        check=lint_rows.first_call_too_fast,
        note=True,
    ),
    Rule(
        name="no difference",
        meaning="accuracies on the same data that don't differ measurably",
        check=lint_pairs.accuracy_within_noise,
        note=True,
    ),
    Rule(
        name="flag without effect",
        meaning="fast_math computed the very numbers that none did",
        check=lint_pairs.flag_without_effect,
        note=True,
    ),
    Rule(
        name="mixed environments",
        meaning="a campaign has the same cell from several environments",
        check=lint_pairs.mixed_environments,
        note=True,
    ),
)


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """The frame as rules take it: every column there, numbers float64, texts and lists empty where null."""
    frame = rows.reindex(columns=[*_NUMBERS, *_TEXTS, *_LISTS, *_REST]).reset_index(drop=True)
    texts = frame[_TEXTS].astype(object)
    lists = frame[_LISTS].astype(object).map(lambda entries: list(entries) if np.ndim(entries) else [])
    kinds = (
        frame[_NUMBERS].astype("float64"),
        texts.where(texts.notna(), ""),
        lists,
        frame[_REST].astype(object),
    )
    return pd.concat(kinds, axis=1)

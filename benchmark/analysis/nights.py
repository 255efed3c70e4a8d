"""Nights of a store: campaigns in time order, their series, and the findings of earlier checks."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from pydantic import TypeAdapter

from benchmark import axes
from benchmark.errors import ConfigError
from benchmark.report.sanitize import one_line
from benchmark.sealed import opened, sealed
from benchmark.stats.regression_detector import Finding
from benchmark.stats.regression_evidence import NIGHTS, levels, middle
from benchmark.store import query, selection
from benchmark.store.results import ResultsStore, to_frame

logger = logging.getLogger(__name__)

SERIES: Final = ("cell_id", "hardware", "device_name", "instance_type", "hostname", "threads")
"""Columns that identify a series from night to night; versions may change, and their effect is checked."""
_FIGURES: Final = ("latency_p50_ms", "latency_p95_ms", "samples")
_BUILD: Final = ("git_commit", "framework_versions")
_NEEDED: Final = (
    *("run_id", "campaign", "started_at", "overrides", "config", *_FIGURES, *_BUILD, *selection.COLUMNS),
    *dict.fromkeys((*SERIES, *axes.USUAL)),
)
_FAILED: Final = ("status", "stage", "error", *axes.USUAL)
_HISTORY: Final = 30
"""Earlier nights that define what is usual, as in the detector."""
_LEAST_SHARE: Final = 0.5
"""Of the judged night's series: a campaign with fewer is no night."""
_FINDINGS = TypeAdapter(tuple[Finding, ...])


class Night(NamedTuple):
    """One campaign: its rows, by process."""

    campaign: str
    rows: pd.DataFrame

    @property
    def start(self) -> datetime:
        """Start of its first run."""
        start: datetime = self.rows["started_at"].min().to_pydatetime()
        return start

    @property
    def data(self) -> dict[str, list[float]]:
        """Medians in ms of each series' processes."""
        return {str(name): list(rows["latency_p50_ms"]) for name, rows in self.rows.groupby("series")}

    def row(self, series: str) -> pd.Series[Any]:
        """Any row of a series."""
        return self.rows[self.rows["series"] == series].iloc[0]

    @property
    def simulated(self) -> bool:
        """Whether its rows are simulated."""
        return selection.any_simulated(self.rows)


def nights_of(store: ResultsStore, text: str, last: str, *, simulated: bool) -> tuple[list[Night], int]:
    """Campaigns in time order, up to the judged one, and how many others are no nights of its series.

    A campaign counts as a night if it has at least half of the judged one's series: a demo, a replay or a
    comparison has fewer.

    Raises:
        ConfigError: there is no campaign, or not the requested one.
    """
    conditions = query.parse(text)
    wanted = query.expression(conditions)
    usable = (pc.field("status") == "ok") & pc.field("latency_p50_ms").is_valid()
    found = store.table(list(_NEEDED), usable if wanted is None else usable & wanted)
    rows = to_frame(selection.judged(found, conditions, simulated=simulated))
    if rows.empty:
        raise ConfigError("no rows with status ok: run `experiment=nightly` first, or use fewer conditions")
    rows["series"] = [" ".join(map(str, key)) for key in rows[[*SERIES]].itertuples(index=False)]
    starts = rows.groupby("campaign")["started_at"].min().sort_values()
    if last and last not in starts.index:
        raise ConfigError(f"--night {last}: no such campaign; the last are {', '.join(starts.index[-3:])}")
    campaigns = list(starts.index[: list(starts.index).index(last) + 1] if last else starts.index)
    by_campaign = dict(iter(rows.groupby("campaign")))
    tonight = {*by_campaign[campaigns[-1]]["series"]}
    shares = {name: len(tonight & {*by_campaign[name]["series"]}) / len(tonight) for name in campaigns}
    nights = [Night(str(name), by_campaign[name]) for name in campaigns if shares[name] >= _LEAST_SHARE]
    return nights, len(campaigns) - len(nights)


def failed(store: ResultsStore, text: str, night: Night) -> pd.DataFrame:
    """Failed runs of a night: statuses, reasons and axes."""
    conditions = query.parse(text)
    wanted = query.expression(conditions)
    lost = ~pc.field("status").isin(["ok", "incompatible"])
    found = store.table(
        [*_FAILED, *selection.COLUMNS],
        lost if wanted is None else lost & wanted,
        among=pc.field("campaign") == night.campaign,
    )
    kept = selection.judged(found, conditions, simulated=night.simulated)
    return to_frame(kept)


def standing(nights: Sequence[Night]) -> pd.DataFrame:
    """Each series of the last night, with its usual latency and spread by the nights before.

    Returns:
        By series: `tonight` and `usual`, p50s in ms, and `spread`, a standard deviation of logs; NaN without
        a night before, or two.
    """
    tonight = {name: middle(p50s) for name, p50s in nights[-1].data.items()}
    past = [{name: middle(p50s) for name, p50s in night.data.items()} for night in nights[-_HISTORY - 1 : -1]]
    nothing = dict.fromkeys(tonight, np.nan)
    table = np.array([[night.get(name, np.nan) for name in tonight] for night in past or [nothing]])
    count, level, spread = levels(table)
    return pd.DataFrame(
        {
            "tonight": np.exp([*tonight.values()]),
            "usual": np.exp(level),
            "spread": np.where(count > 1, spread, np.nan),
        },
        index=pd.Index([*tonight], name="series"),
    )


def judged_series(nights: Sequence[Night], least_nights: int) -> int:
    """Number of the last night's series that enough nights before the latest ones have, to know the usual."""
    counts = Counter(name for night in nights[:-NIGHTS] for name in {*night.rows["series"]})
    return sum(counts[name] >= least_nights for name in {*nights[-1].rows["series"]})


def label(row: pd.Series[Any]) -> str:
    """A series in a few words, for people, on one line."""
    return one_line(axes.label({name: row[name] for name in axes.USUAL if not pd.isna(row[name])}))


def stem(row: pd.Series[Any]) -> str:
    """A series as the stem of a file."""
    words, cell = (
        re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") for text in (label(row), str(row["cell_id"]))
    )
    return f"{words[:80].lower()}-{cell[:8]}"


def kept(store: ResultsStore, campaign: str) -> Sequence[Finding]:
    """Findings of the check of that night, if there was one."""
    data = store.findings(campaign)
    if data is None:
        return ()
    try:
        is_old = data[:1] == b"["  # of a version that wrote no checksum
        return _FINDINGS.validate_json(data if is_old else json.dumps(opened(data)["findings"]))
    except (ValueError, KeyError) as error:
        file = store.paths.nightly(campaign)
        logger.warning("%s is not used: %s; the nights after %s are judged anew", file, error, campaign)
        return ()


def keep(store: ResultsStore, campaign: str, findings: Sequence[Finding]) -> None:
    """Store the findings: later checks restart an alarmed series at its new level."""
    # Not with pydantic, which writes the infinite bounds of a single round as null.
    store.keep_findings(campaign, sealed({"findings": [asdict(finding) for finding in findings]}))

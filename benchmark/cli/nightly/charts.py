"""Charts of series over the nights, and a Markdown page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.analysis.nights import Night, kept, label, standing, stem
from benchmark.frames import with_columns
from benchmark.paths import write_whole
from benchmark.report.display import job_summary
from benchmark.report.display.timeline import MOST_PANELS, Change, Panel, multiples, timeline
from benchmark.report.document import Chart
from benchmark.report.render import images
from benchmark.stats.regression_detector import Finding
from benchmark.store.results import ResultsStore

PAGE = "timeline.md"


def draw(folder: Path, nights: Sequence[Night], store: ResultsStore, series: Sequence[str]) -> list[Path]:
    """Write a chart of each series as PNG and SVG, and a Markdown page with all of them.

    Raises:
        LibraryMissing: the libraries that draw are not installed.
    """
    return _written(folder, nights[-1], [timeline(panel) for panel in _panels(nights, store, series)])


def draw_all(folder: Path, nights: Sequence[Night], store: ResultsStore) -> tuple[list[Path], int]:
    """Write small multiples of all series, largest change first; return files and number of series left out.

    Series with a confirmed slow-down also get a chart of their own.
    """
    table = standing(nights)
    changed = (table["tonight"] / table["usual"] - 1).abs().sort_values(ascending=False, na_position="last")
    panels = _panels(nights, store, [str(name) for name in changed.index])
    shown = [panel for panel in panels if panel.changes] + [panel for panel in panels if not panel.changes]
    charts = [timeline(panel) for panel in panels if panel.changes]
    charts.append(multiples("all-series", shown[:MOST_PANELS]))
    return _written(folder, nights[-1], charts), max(0, len(panels) - MOST_PANELS)


def suspects(findings: Sequence[Finding]) -> list[str]:
    """Suspicious series: confirmed ones first, then by their change."""
    ordered = sorted(findings, key=lambda one: (not one.confirmed, -one.night_ratio))
    return [one.series for one in ordered]


def _panels(nights: Sequence[Night], store: ResultsStore, series: Sequence[str]) -> list[Panel]:
    rows = pd.concat([with_columns(night.rows, night=night.start) for night in nights])
    by_campaign = {night.campaign: kept(store, night.campaign) for night in nights}
    by_series = dict(iter(rows[rows["series"].isin(series)].groupby("series")))
    panels = []
    for name in series:
        own = by_series[name]
        campaigns = {*own["campaign"]}
        changes = tuple(
            Change(campaign=campaign, ratio=one.ratio, low=one.low, high=one.high)
            for campaign, findings in by_campaign.items()
            for one in findings
            if one.series == name and one.confirmed and campaign in campaigns
        )
        last = own.iloc[-1]
        panels.append(Panel(stem=stem(last), label=label(last), rows=own, changes=changes))
    return panels


def _written(folder: Path, night: Night, charts: Sequence[Chart]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for chart in charts:
        for ending, data in ((".png", images.png(chart)), (".svg", images.svg(chart))):
            files.append(folder / f"{chart.name}{ending}")
            write_whole(files[-1], data)
    files.append(folder / PAGE)
    page = job_summary.gallery(f"Nights up to {night.campaign}", charts)
    write_whole(files[-1], page.encode())
    return files

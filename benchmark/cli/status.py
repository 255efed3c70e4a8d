"""`status`: the state of a running grid, for a second terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import pyarrow.compute as pc
import typer

from benchmark.cli.progress import duration
from benchmark.errors import ConfigError
from benchmark.formatting import counted
from benchmark.paths import CampaignPaths, at_home
from benchmark.pipeline.progress import read_state
from benchmark.report.sanitize import say
from benchmark.store.results import ResultsStore

_OUTPUTS = Path(at_home("outputs"))


def status(
    campaign: Annotated[
        str, typer.Argument(help="Its name; the one that changed last if none is given.")
    ] = "",
    outputs: Annotated[Path, typer.Option(help="Folder of the campaigns' folders.")] = _OUTPUTS,
    store: Annotated[
        str, typer.Option(help="Show the rows of a campaign there, by host, instead of this host's commands.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each command.")] = False,
) -> None:
    """Show the running commands of a campaign, and the one that finished last.

    Of each: cells, busy devices, time left, money, last failures. Commands of
    other hosts show by their rows: --store names what they share.
    """
    if store:
        for host in _hosts(ResultsStore(store), campaign):
            say(json.dumps(host) if as_json else _of_host(host))
        return
    states = []
    for file in _files(campaign, outputs):
        with suppress(FileNotFoundError):  # a newer command has just removed it
            states.append(read_state(file))
    running = [state for state in states if state["state"] == "running"]
    finished = [state for state in states if state["state"] != "running"]
    for number, state in enumerate([*finished[-1:], *running]):
        if as_json:
            say(json.dumps(state))
        else:
            say("\n" * bool(number) + "\n".join(_lines(state)))


def _hosts(store: ResultsStore, campaign: str) -> Iterator[dict[str, Any]]:
    """Rows of a campaign by host: the one that wrote the newest row, if none is named."""
    chosen = pc.field("campaign") == campaign if campaign else None
    rows = store.table(["campaign", "hostname", "status", "finished_at"], among=chosen).to_pylist()
    if not rows:
        raise ConfigError(f"no rows at {store.name}: name another campaign, or another --store")
    newest = max(rows, key=itemgetter("finished_at"))["campaign"]
    rows = [row for row in rows if row["campaign"] == newest]
    for name in sorted({row["hostname"] or "" for row in rows}):
        own = [row for row in rows if (row["hostname"] or "") == name]
        yield {
            "campaign": newest,
            "hostname": name,
            "statuses": dict(Counter(row["status"] for row in own)),
            "last_row_at": max(row["finished_at"] for row in own).isoformat(),
        }


def _of_host(host: dict[str, Any]) -> str:
    counts = ", ".join(f"{status} {count}" for status, count in host["statuses"].items())
    passed = duration(_since(host["last_row_at"]))
    return f"{host['campaign']} on {host['hostname'] or 'an unknown host'}: {counts}; last row {passed} ago"


def _files(campaign: str, outputs: Path) -> tuple[Path, ...]:
    """States of the commands of a campaign, the one that changed last at the end."""
    if campaign:
        if files := CampaignPaths(folder=outputs / campaign).all_progress:
            return files
        folder = outputs / campaign
        raise ConfigError(
            f"no grid has written its state to {folder}: give the name of a campaign, or --outputs FOLDER"
        )
    campaigns = [CampaignPaths(folder=folder).all_progress for folder in outputs.glob("*") if folder.is_dir()]
    if not any(campaigns):
        raise ConfigError(f"no grid has run below {outputs}: run one, or give --outputs FOLDER")
    return max(filter(None, campaigns), key=lambda files: files[-1].stat().st_mtime)


def _lines(state: dict[str, Any]) -> list[str]:
    statuses = ", ".join(f"{status} {count}" for status, count in state["statuses"].items())
    total = state["finished"] + state["remaining"]
    several = state.get("processes", state["cells"]) > state["cells"]
    of_cells = f" of {counted(state['cells'], 'cell')}" if several else ""
    counts = f"{state['finished']} of {counted(total, 'process' if several else 'cell')}{of_cells}"
    before = f", {state['done_before']} done before" if state["done_before"] else ""
    lines = [f"{state['campaign']}: {state['state']} on {state['hostname']}, pid {state['pid']}"]
    lines.append(f"{counts}{f' ({statuses})' if statuses else ''}{before}")
    lines += [
        f"  {at['where']}: {at['cell']}: {at['stage']} for {duration(_since(at['since']))}"
        + (f": {at['holder']}" if at.get("holder") else "")
        for at in state["busy"]
    ]
    passed_s = _since(state["updated_at"]) if state["state"] == "running" else 0.0
    if state["state"] == "running" and state["eta_s"] is not None:
        left_s = max(state["eta_s"] - passed_s, state.get("eta_after_busy_s", 0.0))
        lines.append(f"about {duration(left_s)} left")
    limit = {"hours": state["budget_hours"], "usd": state["budget_usd"]}
    spent = f"{duration(state['hours'] * 3600 + passed_s)}" + (
        f" of {limit['hours']:g} h" if limit["hours"] else ""
    )
    if state["usd"] is not None:
        spent += f", ${state['usd']:.2f}" + (f" of ${limit['usd']:g}" if limit["usd"] else "")
    waits_s = max(
        (_since(at["since"]) for at in state["busy"] if passed_s and at["stage"] == "wait"), default=0.0
    )
    lost = {"waiting": state.get("wait_s", 0.0) + waits_s, "noise retries": state.get("retries_s", 0.0)}
    parts = ", ".join(f"{duration(seconds)} {what}" for what, seconds in lost.items() if round(seconds))
    lines.append(f"used {spent}" + (f": {parts}" if parts else ""))
    lines += [f"! {failure}" for failure in state["last_failures"][-3:]]
    return lines


def _since(moment: str) -> float:
    return (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds()

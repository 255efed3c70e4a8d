"""`status`: what a grid is at, asked from a second terminal."""

from __future__ import annotations

import json
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmark.cli.progress import duration
from benchmark.errors import ConfigError
from benchmark.paths import CampaignPaths

_OUTPUTS = Path("outputs")


def status(
    campaign: Annotated[
        str, typer.Argument(help="Its name; the one that changed last if none is given.")
    ] = "",
    outputs: Annotated[Path, typer.Option(help="Folder of the campaigns' folders.")] = _OUTPUTS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the state as JSON.")] = False,
) -> None:
    """Say what a grid is at: cells, busy devices, time left, money, last failures."""
    state = _read(_file(campaign, outputs))
    if as_json:
        typer.echo(json.dumps(state, indent=1))
        return
    for line in _lines(state):
        typer.echo(line)


def _file(campaign: str, outputs: Path) -> Path:
    if campaign:
        file = CampaignPaths(folder=outputs / campaign).progress
        if not file.is_file():
            raise ConfigError(f"no grid has written {file}: give the name of a campaign, or --outputs FOLDER")
        return file
    files = [CampaignPaths(folder=folder).progress for folder in outputs.glob("*") if folder.is_dir()]
    files = sorted((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime)
    if not files:
        raise ConfigError(f"no grid has run below {outputs}: run one, or give --outputs FOLDER")
    return files[-1]


def _read(file: Path) -> dict[str, Any]:
    """The state as written; a process that is gone without a word has stopped."""
    state: dict[str, Any] = json.loads(file.read_bytes())
    here = state["hostname"] == socket.gethostname()
    if state["state"] == "running" and here and not psutil.pid_exists(state["pid"]):
        state["state"] = "stopped"
    return state


def _lines(state: dict[str, Any]) -> list[str]:
    told = ", ".join(f"{status} {count}" for status, count in state["statuses"].items())
    counts = f"{state['finished']} of {state['finished'] + state['remaining']} cells"
    before = f", {state['done_before']} done before" if state["done_before"] else ""
    lines = [f"{state['campaign']}: {state['state']} on {state['hostname']}, pid {state['pid']}"]
    lines.append(f"{counts}{f' ({told})' if told else ''}{before}")
    lines += [
        f"  {at['where']}: {at['cell']}: {at['stage']} for {duration(_since(at['since']))}"
        for at in state["busy"]
    ]
    if state["state"] == "running" and state["eta_s"] is not None:
        lines.append(f"about {duration(max(0.0, state['eta_s'] - _since(state['updated_at'])))} left")
    limit = {"hours": state["budget_hours"], "usd": state["budget_usd"]}
    spent = f"{duration(state['hours'] * 3600)}" + (f" of {limit['hours']:g} h" if limit["hours"] else "")
    if state["usd"] is not None:
        spent += f", ${state['usd']:.2f}" + (f" of ${limit['usd']:g}" if limit["usd"] else "")
    lines.append(f"used {spent}")
    lines += [f"! {failure}" for failure in state["last_failures"][-3:]]
    return lines


def _since(moment: str) -> float:
    return (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds()

"""`server`: show and stop the servers that wait for later commands with their libraries loaded."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import psutil
import typer
from rich.filesize import decimal

from benchmark.execution.server_connection import statuses, stop_all
from benchmark.report.sanitize import say

app = typer.Typer(
    help="Show and stop the servers that wait for later commands (launcher.keep_warm_s).",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each server.")] = False,
) -> None:
    """Show your servers of this host."""
    found = list(statuses())
    for server in found:
        server["bytes"] = _bytes(server["pid"])
        say(json.dumps(server) if as_json else _line(server))
    if not (found or as_json):
        say("no server waits for later commands")


@app.command()
def stop() -> None:
    """End your servers of this host. Commands that run keep their child processes."""
    ended = [server["pid"] for server in stop_all()]
    say(f"ended: {', '.join(map(str, ended))}" if ended else "no server waits for later commands")


def _bytes(pid: int) -> int | None:
    """Memory of the process; shared libraries count too."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _line(server: dict[str, Any]) -> str:
    memory = "" if server["bytes"] is None else f", {decimal(server['bytes'])}"
    state = (
        f"serves {server['serving']} now"
        if server["serving"]
        else f"ends in {max(0, server['ends_at'] - time.time()):.0f} s unless it is used"
    )
    return (
        f"pid {server['pid']}: for {server['interpreter']} in {server['folder']}{memory}; "
        f"commands so far: {server['served']}; {state}"
    )

"""`cluster`: how to start a Ray cluster, what its nodes offer, and what a grid lacks there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any, Final

import pandas as pd
import typer

from benchmark.cluster import versions
from benchmark.cluster.connection import AUTH_MODE, TOKEN_FILE, connected
from benchmark.cluster.nodes import Node, missing, nodes_of, resources_text
from benchmark.cluster.survey import ask
from benchmark.cluster.tasks import NICENESS
from benchmark.cluster.versions import Version
from benchmark.config.sweep import compose_grid
from benchmark.errors import ConfigError
from benchmark.formatting import counted
from benchmark.report.display.table import print_table
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen

_LACKS: Final = 2
_TOKEN: Final = "~/.ray/auth_token"  # noqa: S105 - a path
_PORT: Final = 6379


def cluster(
    context: typer.Context,
    address: Annotated[
        str, typer.Option(help="Of the head, HOST:PORT; else RAY_ADDRESS or the cluster with a node here.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Show how to start the nodes of a cluster, what runs, and what is missing.

    OVERRIDES are those of a run with hydra/launcher=ray, such as experiment=demo: then its hardware is looked
    for, and exit code 2 says that some is missing. Of the token only the path is shown.
    """
    hardware = _hardware(context.args)
    lines = start_lines(hardware)
    try:
        with connected(address or None) as ray:
            nodes = nodes_of(ray.nodes())
            found = {node: Version(*answer) for node, answer in ask(ray, nodes, versions.reader()).items()}
    except ConfigError as none:
        if as_json:
            say(json.dumps({"start": lines, "nodes": [], "missing": hardware, "error": str(none)}))
        else:
            say("\n".join([*lines, "", str(none)]))
        return _LACKS if hardware or address else 0
    lacking = [text for name in hardware if (text := missing(name, nodes))]
    shown = [_node(node, found.get(node)) for node in nodes]
    if as_json:
        say(json.dumps({"start": lines, "nodes": shown, "missing": lacking}))
    else:
        say("\n".join([*lines, "", f"{counted(len(nodes), 'node')} now:"]))
        print_table(pd.DataFrame(shown), console=Screen())
        say(
            "\n".join(
                lacking or ["nothing is missing" if hardware else "name an experiment to see what it lacks"]
            )
        )
    return _LACKS if lacking or any(one["version"] != "same" and one["CPUs"] for one in shown) else 0


def start_lines(hardware: Sequence[str]) -> list[str]:
    """What to type on the head and on each node; the token is named by its path."""
    token = f"{AUTH_MODE}=token {TOKEN_FILE}={os.environ.get(TOKEN_FILE, _TOKEN)}"
    kinds = hardware or ["HARDWARE"]
    return [
        "once, and copy the file to every host:",
        "  ray get-auth-token --generate",
        "on the head, from which you run commands:",
        f"  {token} ray start --head --port={_PORT} --num-cpus=0 --include-dashboard=false",
        "on each other host, with this program of the same commit:",
        *(
            f"  {token} {NICENESS}=0 ray start --address=HEAD:{_PORT} --resources='{resources_text(name)}'"
            for name in kinds
        ),
        "then, on the head:",
        f"  {token} python -m benchmark -m hydra/launcher=ray hardware={','.join(kinds)} ...",
    ]


def _hardware(arguments: Sequence[str]) -> list[str]:
    """Names of the hardware of a grid; none without overrides."""
    if not arguments:
        return []
    return list(dict.fromkeys(e.hardware.name for e in compose_grid(arguments).experiments))


def _node(node: Node, version: Version | None) -> dict[str, Any]:
    offers = [f"{name} {n:g}" for name, n in sorted(node.offers.items()) if name != "CPU"]
    if version is None or not version.release:
        state = "no answer" if version is None else "no benchmark"
    else:
        state = "same" if version == versions.here() else str(version)
    return {"node": node.name, "CPUs": node.cpus, "offers": ", ".join(offers) or "-", "version": state}

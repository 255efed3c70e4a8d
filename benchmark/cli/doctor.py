"""`doctor`: what this host can run, what is missing, and what makes its timings unsteady."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import pandas as pd
import typer
from rich.console import Console

from benchmark.bucket.objects import is_address
from benchmark.config.experiment import Experiment
from benchmark.config.folder import file_of, options, read
from benchmark.config.sweep import grid
from benchmark.errors import BucketError, ConfigError, LibraryMissing
from benchmark.execution.leftovers import leftovers
from benchmark.formatting import counted
from benchmark.host import libraries, machine, tuning
from benchmark.nvidia import toolkit
from benchmark.paths import StorePaths, at_home
from benchmark.protocols import Compiler, Device
from benchmark.report.display.table import print_table
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.store.bucket_rows import BucketRows
from benchmark.store.results import DEFAULT_ROOT

_UNUSABLE: Final = 1
"""Exit code if a bucket that was named can't be used."""


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    store: Annotated[
        str, typer.Option(help="Folder of the rows, or a bucket, which is tested.")
    ] = DEFAULT_ROOT,
    cache: Annotated[str, typer.Option(help="Folder of the compile cache, or a bucket.")] = at_home(
        "compile_cache"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="Say how to make timings steadier.")] = False,
) -> None:
    """List what this host can run, what is missing, and the command that installs it.

    With --quiet: list what to change for steadier timings, with benefit and cost.
    Nothing is changed. Takes words as a run does, such as hardware=inf2 hardware.python=PYTHON.
    """
    if quiet:
        _print_quiet(tuning.look(), as_json=as_json)
        return
    for group in ("hardware", "compiler"):
        _chosen(group, context.args)
    here = machine.provenance()
    findings: dict[str, Any] = {
        "host": {
            "cpu": here.cpu_model,
            "cores": here.cores,
            "memory_gib": here.memory_gib,
            "isa": machine.isa(),
            "instance_type": machine.instance_type(),
            "os": here.os,
            "python": here.python,
        },
        "hardware": [_hardware(name, one.hardware) for name, one in _composed("hardware", context.args)],
        "compiler": [_compiler(name, one.compiler) for name, one in _composed("compiler", context.args)],
        "task": _libraries(),
        "places": [_place("results", store), _place("compile cache", cache), _temporary_files()],
    }
    unusable = any(is_address(place) for place in (store, cache)) and not all(
        place["ready"] for place in findings["places"]
    )
    if as_json:
        say(json.dumps(findings, indent=2))
    else:
        _print(findings)
    if unusable:
        raise typer.Exit(_UNUSABLE)


def _print(findings: Mapping[str, Any]) -> None:
    console = Screen()
    for name, value in findings["host"].items():
        console.print(
            f"{name:14} {value if value is not None else 'unknown to the firmware'}",
            highlight=False,
        )
    for section in ("hardware", "compiler", "task", "places"):
        console.print()
        _show(section, findings[section], console)


def _show(section: str, rows: Any, console: Console) -> None:
    table = [
        {section: row["name"], "ready": "yes" if row["ready"] else "no", "detail": row["detail"]}
        for row in rows
    ]
    print_table(pd.DataFrame(table), console=console)


def _print_quiet(probes: Sequence[tuning.Probe], *, as_json: bool) -> None:
    """Print a table of the probes, then for each advice its command and its effect."""
    if as_json:
        say(json.dumps({"quiet": [asdict(probe) for probe in probes]}, indent=2))
        return
    console = Screen()
    words = {True: "yes", False: "no", None: ""}
    table = [{"quiet": one.name, "good": words[one.good], "found": one.found} for one in probes]
    print_table(pd.DataFrame(table), console=console)
    for one in probes:
        if one.advice:
            command, effect = one.advice.split("\n")
            say(f"\n{one.name}: {command}")
            say(textwrap.fill(effect, console.width, initial_indent="  ", subsequent_indent="  "))
    if not any(one.advice for one in probes):
        say("\nnothing to change")


def _hardware(name: str, device: Device) -> dict[str, Any]:
    missing = device.missing()
    facts = device.facts()
    device_name = facts.device_name + (f", {facts.instance_type}" if facts.instance_type else "")
    lacking = toolkit.lacking_for_aot_inductor() if device.kind == "cuda" else None
    found = f"{device_name}; {lacking}" if lacking else device_name
    return {"name": name, "ready": missing is None, "detail": missing or found}


def _compiler(name: str, compiler: Compiler) -> dict[str, Any]:
    try:
        versions = compiler.versions()
    except LibraryMissing as error:
        return {"name": name, "ready": False, "detail": str(error)}
    return {
        "name": name,
        "ready": True,
        "detail": ", ".join(f"{key} {value}" for key, value in versions.items()),
    }


def _libraries() -> list[dict[str, Any]]:
    """Libraries of the tasks, each checked on its own, so that a missing one hides no other."""
    targets = [read(file_of("task", name))["_target_"].rpartition(".") for name in options("task")]
    tasks = [getattr(import_module(module), kind) for module, _, kind in targets]
    names = sorted({name for task in tasks for name in task.libraries})
    rows = []
    for name in names:
        try:
            rows.append({"name": name, "ready": True, "detail": libraries.versions(name, install="")[name]})
        except LibraryMissing:
            rows.append({"name": name, "ready": False, "detail": f"not installed: pip install {name}"})
    return rows


def _place(name: str, root: str) -> dict[str, Any]:
    if is_address(root):
        return _bucket(name, root)
    path = Path(root).resolve()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    free = f"{shutil.disk_usage(existing).free / 1e9:.0f} GB free"
    detail = f"{root}, {free}" if writable else f"{root} can't be written: choose another folder"
    return {"name": name, "ready": writable, "detail": detail}


def _bucket(name: str, address: str) -> dict[str, Any]:
    """Whether a bucket does what this program relies on: each is tried on an object that is deleted again."""
    try:
        rows = BucketRows(address)
        clock = rows.check(StorePaths(root=rows.root))
    except BucketError as error:
        return {"name": name, "ready": False, "detail": str(error)}
    works = f"{rows.bucket.address}: put if absent, compare and swap, listing and deletion work"
    return {"name": name, "ready": True, "detail": f"{works}; {clock}" if clock else works}


def _temporary_files() -> dict[str, Any]:
    left = leftovers()
    detail = f"{counted(len(left), 'file')} of commands that were killed: the next run removes them"
    return {"name": "temporary files", "ready": True, "detail": detail if left else "nothing left behind"}


def _chosen(group: str, words: Sequence[str]) -> str | None:
    """The name that the words choose in a group.

    Raises:
        ConfigError: they set keys of it, and choose no name.
    """
    chosen = next((word.partition("=")[2] for word in words if word.startswith(f"{group}=")), None)
    keys = [word for word in words if word.startswith(f"{group}.")]
    if keys and chosen is None:
        raise ConfigError(
            f"{keys[0]}: doctor looks at every {group}, say which has it: {group}=NAME {keys[0]}"
        )
    return chosen


def _composed(group: str, words: Sequence[str]) -> Iterator[tuple[str, Experiment]]:
    """Each name of a group, of the search path too, with the default cell that uses it.

    Words about the group itself, such as hardware=inf2 hardware.python=P, are for the name that they choose.
    """
    own = [word for word in words if word.lstrip("+").startswith((f"{group}=", f"{group}."))]
    others = [word for word in words if word not in own]
    chosen = _chosen(group, words)
    for cell in grid([*others, f"{group}=glob(*)"]):
        (name,) = [word.partition("=")[2] for word in cell.overrides if word.startswith(f"{group}=")]
        yield name, next(iter(grid([*others, *own]))) if name == chosen else cell

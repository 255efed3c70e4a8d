"""`cache`: list, verify, shrink and share the compile cache."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal
from rich.table import Table

from benchmark.bucket.objects import is_address
from benchmark.cache.compile_cache import CompileCache, Entry
from benchmark.cache.manifest import Manifest
from benchmark.cache.remote import OWN, RemoteCache
from benchmark.cache.trust import mark
from benchmark.formatting import counted
from benchmark.paths import at_home, trusted_caches
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen

app = typer.Typer(
    help="List, verify, shrink and share the compile cache.", no_args_is_help=True, add_completion=False
)

DAMAGED = 2
"""Exit code of `verify` when entries are damaged."""

Folder = Annotated[Path, typer.Option("--cache", metavar="FOLDER", help="Folder of the compile cache.")]
Remote = Annotated[
    str, typer.Option("--remote", metavar="BUCKET", help="Address of the bucket, as s3://BUCKET/PREFIX.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_FOLDER = Path(at_home("compile_cache"))


@app.command()
def ls(
    cache: Folder = DEFAULT_FOLDER,
    remote: Annotated[str, typer.Option(help="List those of this bucket instead.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the entries, last used first."""
    if remote:
        _list_remote(RemoteCache(remote), as_json=as_json)
        return
    entries = sorted(CompileCache(cache).entries(), key=lambda entry: -entry.used_at)
    total = sum(entry.bytes for entry in entries)
    if as_json:
        _print_json({"cache": str(cache), "bytes": total, "entries": [_local(entry) for entry in entries]})
        return
    if entries:
        _print_entries(entries)
    say(f"{cache}: {counted(len(entries), 'entry', 'entries')}, {decimal(total)}")


@app.command()
def verify(cache: Folder = DEFAULT_FOLDER, as_json: AsJson = False) -> None:
    """Compare every file with its manifest. Exit code 2 if an entry is damaged."""
    opened = CompileCache(cache)
    sound = {entry.manifest.key for entry in opened.entries()}
    damaged = dict(opened.verify())
    checked = len(sound | damaged.keys())
    if as_json:
        listed = [{"key": key, "problem": problem} for key, problem in damaged.items()]
        _print_json({"cache": str(cache), "checked": checked, "damaged": listed})
    else:
        for key, problem in damaged.items():
            say(f"damaged: {cache / key}: {problem}")
        say(f"{cache}: {counted(checked, 'entry', 'entries')} checked, {len(damaged)} damaged")
        if damaged:
            say("A run that needs a damaged entry moves it aside and builds it again; `cache gc` then")
            say("deletes what was moved. You can also delete the folders above.")
    if damaged:
        raise typer.Exit(DAMAGED)


@app.command()
def push(remote: Remote, cache: Folder = DEFAULT_FOLDER, as_json: AsJson = False) -> None:
    """Copy the entries that a bucket lacks into it; again: nothing."""
    there, shared = RemoteCache(remote), CompileCache(cache)
    known = {*there.list_keys()}
    lacking = [e for e in shared.entries() if e.manifest.kind not in OWN and e.manifest.key not in known]
    pushed = [entry for entry in lacking if there.push(entry.folder, entry.manifest)]
    _print_copied("pushed", pushed, there.address, as_json=as_json)


@app.command()
def pull(remote: Remote, cache: Folder = DEFAULT_FOLDER, as_json: AsJson = False) -> None:
    """Copy the entries of a bucket that this cache lacks; every file's digest is checked. Again: nothing.

    Exit code 2 if an entry is damaged or may not be loaded from there: one line says why.
    """
    there, own = RemoteCache(remote), CompileCache(cache, remote)
    own.prepare()
    known = {entry.manifest.key for entry in own.entries()}
    lacking = [key for key in there.list_keys() if key not in known]
    pulled = [entry for key in lacking if (entry := own.pulled(key))]
    _print_copied("pulled", pulled, there.address, as_json=as_json)
    if len(pulled) < len(lacking):
        raise typer.Exit(DAMAGED)


def _print_copied(verb: str, entries: Sequence[Entry], address: str, *, as_json: bool) -> None:
    total = sum(entry.bytes for entry in entries)
    if as_json:
        listed = [_record(entry.manifest) for entry in entries]
        _print_json({"remote": address, "bytes": total, verb: listed})
        return
    way = "to" if verb == "pushed" else "from"
    say(f"{verb} {counted(len(entries), 'entry', 'entries')}, {decimal(total)}, {way} {address}")


def _list_remote(there: RemoteCache, *, as_json: bool) -> None:
    manifests = sorted(there.manifests(), key=lambda one: one.created_at, reverse=True)
    total = sum(one.total_bytes for one in manifests)
    if as_json:
        listed = [_record(one) for one in manifests]
        _print_json({"remote": there.address, "bytes": total, "entries": listed})
        return
    if manifests:
        lines = [
            (one.kind, decimal(one.total_bytes), _duration(one.made_s), one.hostname, _label(one))
            for one in manifests
        ]
        _print_lines([("kind", "size", "built in", "on", "what"), *lines])
    say(f"{there.address}: {counted(len(manifests), 'entry', 'entries')}, {decimal(total)}")


@app.command()
def trust(
    place: Annotated[str, typer.Argument(metavar="FOLDER|BUCKET", help="Compile cache.")],
) -> None:
    """Load artefacts from a cache that other users can write too. Artefacts are code: see its README."""
    mark(place)
    name = place.rstrip("/") if is_address(place) else Path(place).resolve()
    say(f"{name} is trusted; {trusted_caches()} lists all that are")


@app.command()
def gc(
    limit_gb: Annotated[float, typer.Option(min=0, help="Largest size of the rest; 1 GB is 1e9 bytes.")],
    cache: Folder = DEFAULT_FOLDER,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the least recently used entries beyond a size limit, and damaged ones that runs moved aside.

    Entries used within the last minute stay.
    """
    opened = CompileCache(cache)
    limit_bytes = int(limit_gb * 1e9)
    before = sum(entry.bytes for entry in opened.entries())
    removed = opened.gc(limit_bytes, dry_run=dry_run)
    freed = sum(entry.bytes for entry in removed)
    kept = before - freed
    if as_json:
        facts = {"limit_bytes": limit_bytes, "removed_bytes": freed, "kept_bytes": kept, "dry_run": dry_run}
        _print_json({"cache": str(cache), **facts, "removed": [_local(entry) for entry in removed]})
        return
    if removed:
        _print_entries(removed)
    verb = "would remove" if dry_run else "removed"
    entries = counted(len(removed), "entry", "entries")
    say(f"{cache}: {verb} {entries}, {decimal(freed)}; {decimal(kept)} remain")
    if kept > limit_bytes:
        say(f"Still above {decimal(limit_bytes)}: the rest was used within the last minute.")


def _record(manifest: Manifest) -> dict[str, Any]:
    return {
        "key": manifest.key,
        "kind": manifest.kind,
        "label": _label(manifest),
        "bytes": manifest.total_bytes,
        "made_s": manifest.made_s,
        "created_at": manifest.created_at,
        "hostname": manifest.hostname,
    }


def _local(entry: Entry) -> dict[str, Any]:
    more = {"unused_s": round(_unused_s(entry), 3), "folder": str(entry.folder)}
    return {**_record(entry.manifest), **more}


def _print_entries(entries: Sequence[Entry]) -> None:
    lines = [("kind", "size", "built in", "unused for", "what")]
    for entry in entries:
        built, unused = _duration(entry.manifest.made_s), _duration(_unused_s(entry))
        lines.append((entry.manifest.kind, decimal(entry.bytes), built, unused, _label(entry.manifest)))
    _print_lines(lines)


def _print_lines(lines: Sequence[tuple[str, ...]]) -> None:
    """Print a table on a terminal; into a pipe, lines whose columns are two or more spaces apart."""
    if sys.stdout.isatty():
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in lines[0]:
            table.add_column(name, no_wrap=name != "what", overflow="fold")
        for line in lines[1:]:
            table.add_row(*line)
        Screen(markup=False, emoji=False, highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _label(manifest: Manifest) -> str:
    return str(manifest.facts.get("label") or manifest.key)


def _unused_s(entry: Entry) -> float:
    return max(0.0, time.time() - entry.used_at)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def _print_json(document: dict[str, Any]) -> None:
    say(json.dumps(document, indent=2))

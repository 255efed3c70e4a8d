"""Where summaries of `compare` and `nightly check` go, and what both say of builds and hardware."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from typer.core import TyperCommand

from benchmark.errors import ConfigError
from benchmark.report.display.job_summary import Summary, annotation, markdown
from benchmark.report.document import Field, Head, Table
from benchmark.report.sanitize import one_line

STDOUT: Final = "-"
MD: Final = "Append a summary in Markdown to a file, such as $GITHUB_STEP_SUMMARY; without one, print it."
_HARDWARE: Final = ("device_name", "instance_type", "hostname")
_MOST: Final = 3


class WithFile(TyperCommand):
    """A command whose --md may do without its file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the file in where it was left out: Typer knows no options whose value is optional."""
        whole = []
        for place, one in enumerate(args):
            whole.append(one)
            following = args[place + 1] if place + 1 < len(args) else STDOUT
            if one == "--md" and (place + 1 == len(args) or (following[:1] == "-" and following != STDOUT)):
                whole.append(STDOUT)
        return super().parse_args(ctx, whole)


def refuse(md: str, *, as_json: bool) -> None:
    """Refuse what can't be written, before anything is measured.

    Raises:
        ConfigError: two forms on the standard output, or a file that can't be written.
    """
    if as_json and md == STDOUT:
        raise ConfigError("--json and --md exclude each other on standard output: give --md a file")
    if md and md != STDOUT:
        _append(md, "")


def put(summary: Summary, where: str) -> None:
    """Print it, or append it to a file; nothing where it wasn't asked for.

    Raises:
        ConfigError: the file can't be written.
    """
    if not where:
        return
    text = markdown(summary)
    if where == STDOUT:
        print(text, end="")
        return
    _append(where, text + "\n")


def _append(where: str, text: str) -> None:
    try:
        with Path(where).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--md {where}: {error.strerror}: name a file that can be written") from error


def annotate(errors: Sequence[tuple[str, str]], *, aside: bool) -> None:
    """Mark each error, a title and a message, in a job on GitHub, which reads both outputs."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for title, message in errors:
            print(annotation(title, message), file=sys.stderr if aside else sys.stdout, flush=True)


def table(
    name: str,
    caption: str,
    heads: Mapping[str, bool],
    lines: Sequence[Sequence[str]],
    notes: tuple[str, ...] = (),
) -> Table:
    """Texts under heads, of which it is said whether they are figures."""
    return Table(
        name=name,
        caption=caption,
        heads=tuple(Head(text=text, figures=figures) for text, figures in heads.items()),
        lines=tuple(tuple(Field(text=text) for text in line) for line in lines),
        notes=notes,
    )


def between(values: pd.Series[Any]) -> str:
    """How many there are: one number, or from where to where."""
    least, most = values.min(), values.max()
    return str(least) if least == most else f"{least} to {most}"


def hardware(rows: pd.DataFrame) -> str:
    """On what these rows were measured."""
    places = rows[[*_HARDWARE]].drop_duplicates().itertuples(index=False)
    found = [" ".join(str(part) for part in place if not pd.isna(part)) or "unknown" for place in places]
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return f"Hardware: {', '.join(found[:_MOST])}{more}."


def build(rows: pd.DataFrame) -> dict[str, str]:
    """Commit of the program and versions of the libraries that stand behind rows; several are all named."""
    found: dict[str, dict[str, None]] = {}
    for commit, versions in rows[["git_commit", "framework_versions"]].itertuples(index=False):
        told = {"commit": None if pd.isna(commit) else commit[:12], **(versions or {})}
        for library, version in told.items():
            found.setdefault(library, {})[version or "?"] = None
    return {library: " / ".join(versions) for library, versions in found.items()}


def builds(before: Mapping[str, str], after: Mapping[str, str], names: tuple[str, str]) -> list[str]:
    """Tell two builds by their commits and by the versions that differ."""
    differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    told = ["commit", *(name for name in differing if name != "commit")]
    lines = []
    for name, facts in zip(names, (before, after), strict=True):
        versions = ", ".join(f"{one} {facts.get(one, '?')}" for one in told)
        lines.append(f"{name}: {versions}.")
    same = [] if differing else ["Both have the same commit and versions."]
    return [one_line(line) for line in (*lines, *same)]

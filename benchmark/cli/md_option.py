"""The option --md of `compare` and `nightly check`: where the Markdown summary goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from typer.core import TyperCommand

from benchmark.errors import ConfigError
from benchmark.report.display.job_summary import Summary, annotation, markdown
from benchmark.report.sanitize import say

STDOUT: Final = "-"
MD: Final = "Append a Markdown summary to FILE, such as $GITHUB_STEP_SUMMARY; without FILE, print it."


class WithFile(TyperCommand):
    """A command whose option --md may stand without a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert `-` where the file is left out: Typer has no options with an optional value."""
        completed = []
        for place, one in enumerate(args):
            completed.append(one)
            following = args[place + 1] if place + 1 < len(args) else STDOUT
            if one == "--md" and (place + 1 == len(args) or (following[:1] == "-" and following != STDOUT)):
                completed.append(STDOUT)
        return super().parse_args(ctx, completed)


def refuse(md: str, *, as_json: bool) -> None:
    """Refuse a summary that can't be written, before anything is measured.

    Raises:
        ConfigError: JSON and Markdown would share standard output, or the file can't be written.
    """
    if as_json and md == STDOUT:
        raise ConfigError("--json and --md can't both print to standard output: give --md a file")
    if md and md != STDOUT:
        _append(md, "")


def put(summary: Summary, where: str) -> None:
    """Print the summary, or append it to a file; do nothing without the option.

    Raises:
        ConfigError: the file can't be written.
    """
    if not where:
        return
    text = markdown(summary)
    if where == STDOUT:
        say(text, end="")
        return
    _append(where, text + "\n")


def _append(where: str, text: str) -> None:
    try:
        with Path(where).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--md {where}: {error.strerror}: name a file that can be written") from error


def annotate(errors: Sequence[tuple[str, str]], *, aside: bool) -> None:
    """Print an annotation for each title and message in a job on GitHub, which reads stdout and stderr."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for title, message in errors:
            say(annotation(title, message), file=sys.stderr if aside else sys.stdout, flush=True)

"""Commands that are neither a verb nor a run: help, version, completion, and a word that is no command."""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Sequence
from importlib import metadata
from typing import Final

from benchmark.cli import completion
from benchmark.errors import ConfigError
from benchmark.host import machine
from benchmark.host.libraries import DISTRIBUTION
from benchmark.report.sanitize import say
from benchmark.spelling import did_you_mean

_NAMED: Final = ("model", "compiler", "hardware", "experiment", "sampling", "scenario", "task")
"""Groups whose options a user may name without the group."""


def normal(words: list[str], verbs: Collection[str]) -> list[str]:
    """Write `help`, `-h` and `help VERB` as `--help` and `VERB --help`."""
    if words in (["help"], ["-h"]):
        return ["--help"]
    if len(words) == 2 and words[0] == "help" and words[1] in verbs:  # noqa: PLR2004 - a pair
        return [words[1], "--help"]
    return words


def answers(words: Sequence[str], verbs: Collection[str]) -> bool:
    """Print what is asked for; return whether that is all.

    Raises:
        ConfigError: the first word is no command.
    """
    if words == ["--version"]:
        say(version())
        return True
    if completion.is_query(words):
        return not completion.complete(verbs)
    word = words[-1] if words[:1] == ["help"] else words[0] if words else ""
    if re.fullmatch(r"[A-Za-z][\w-]*", word):
        raise ConfigError(f"{word}: no such command: {_meant(word, verbs)}")
    return False


def version() -> str:
    """Version of this program, and of what its results depend on most."""
    found = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers"))
    return f"benchmark {metadata.version(DISTRIBUTION)} (Python {platform.python_version()}, {found})"


def _meant(word: str, verbs: Collection[str]) -> str:
    """What a word that is no command may have been meant for."""
    from benchmark.config import folder

    for group in _NAMED:
        if word in folder.options(group):
            return f"did you mean {group}={word}?"
    if word in folder.read(folder.CONF / "config.yaml"):
        return f"did you mean {word}=VALUE?"
    return (
        did_you_mean(word, verbs) or f"{machine.program()} --help lists them; overrides look like key=value"
    )

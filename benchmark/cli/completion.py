"""What completes a command line: verbs and their options here, overrides by Hydra.

Hydra's script for the shell, `benchmark -sc install=bash`, asks `benchmark -sc query=bash` with the line in
COMP_LINE. Words are separated by any white space in the answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from typing import Any, Final

_QUERY: Final = re.compile(r"(-sc|--shell-completion)=?")
_OF_OVERRIDES: Final = frozenset({"plan", "compile", "largest", "doctor"})
"""Verbs that take what a run takes."""


def is_query(words: Sequence[str]) -> bool:
    """Whether a shell asks for completions."""
    return bool(words) and bool(_QUERY.match(words[0])) and any("query=" in word for word in words[:2])


def complete(verbs: Collection[str]) -> bool:
    """Print what may come next in COMP_LINE; return whether Hydra's answer belongs to it too."""
    line = os.environ.get("COMP_LINE", "")
    _, *words = line.split() or [""]
    last = words.pop() if words and not line[-1:].isspace() else ""
    if not words:
        print(*sorted(verb for verb in verbs if verb.startswith(last)))
        return True
    verb, *rest = words
    if verb not in verbs:
        return True
    print(*_of_verb([verb, *rest], last))
    if verb in _OF_OVERRIDES and not last.startswith("-"):
        os.environ["COMP_LINE"] = line.replace(f" {verb}", "", 1)
        return True
    return False


def _of_verb(words: list[str], last: str) -> list[str]:
    """Options and further verbs that begin so; a file's name is the shell's own matter."""
    import typer

    from benchmark.cli.app import app

    command: Any = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    options = [option for parameter in command.params for option in parameter.opts if option[:2] == "--"]
    names = options if last.startswith("-") else getattr(command, "commands", ())
    return [name for name in names if name.startswith(last)]

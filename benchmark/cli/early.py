"""The server of a grid's children, started with the first lines of a command: its imports take the longest.

Nothing but the standard library is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from benchmark.config.folder import file_of
from benchmark.execution.server_connection import keep_warm_s, start_early

_SHOWS: Final = re.compile(
    r"(--help|--hydra-help|--version|--cfg|--info|--package|--resolve|--shell-completion)(=.*)?|-[hcipsc]+"
)
_ELSEWHERE: Final = re.compile(r".*simulated.*|\+*hardware=(?!cpu$|cuda\w*$).*|.*\.python=.*")
"""Overrides whose children need other libraries, or none."""
_KEPT: Final = re.compile(r"\+*launcher\.keep_warm_s=([0-9.]+)")


def start(words: Sequence[str]) -> None:
    """Start the server if these words of the command line look as if children will run on this host."""
    if words[:1] != ["compile"] and any(re.fullmatch(r"[a-z]+", word) for word in words[:1]):
        return  # a verb
    if any(_SHOWS.fullmatch(word) or _ELSEWHERE.fullmatch(word) for word in words):
        return
    for word in words:
        if word.startswith("experiment="):
            with suppress(OSError):
                text = file_of("experiment", word.removeprefix("experiment=")).read_text()
                if "simulated" in text or "hardware: inf" in text:
                    return
    kept = [float(found[1]) for word in words if (found := _KEPT.fullmatch(word))]
    start_early(kept[-1] if kept else keep_warm_s(None))

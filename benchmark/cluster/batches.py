"""How many runs that compute nothing share a task: handing one out takes as long as several of them."""

from __future__ import annotations

from typing import Final

_TASK_S: Final = 0.25
"""Length of a task: short enough for progress and Ctrl-C, and for the nodes to end together."""
_MOST: Final = 50
_GROWTH: Final = 4


class Batches:
    """The size of the next task, by how long the last one took; the first ones load libraries."""

    def __init__(self) -> None:
        self.size = 1
        """Runs of the next task, at most."""

    def add(self, runs: int, seconds: float) -> None:
        """So many runs took so long."""
        fit = int(_TASK_S * runs / max(seconds, 1e-9))
        self.size = max(1, min(fit, _GROWTH * self.size, _MOST))

"""Fresh runs of the accepted and the new build, in turns: what confirms a suspect of `nightly check`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from typing_extensions import Self

from benchmark.analysis.nights import Night, label
from benchmark.stats.ratio_test import turns_ratio
from benchmark.timing import duel
from benchmark.timing.interleaved import Side


class Reruns:
    """Fresh runs of both builds; a series' sides stay seated until another's are asked for."""

    sides: tuple[Side, Side] | None = None
    """The accepted and the new build as they were seated last; null as long as nothing was rerun."""

    def __init__(
        self, night: Night, pythons: tuple[str, str], numbers: tuple[int, int], console: Console
    ) -> None:
        self._night, self._pythons, self._numbers, self._console = night, pythons, numbers, console
        self._seats = ExitStack()
        self._seated = ""
        self._pairs: Iterator[Any] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._seats.close()

    def rerun(self, series: str, rounds: int) -> tuple[list[float], list[float]]:
        """Medians in ms of so many processes of the accepted and the new build; NaN without an accepted one.

        The pair's figure is the median over turns of the ratio of both sides: the accepted side's median
        carries the unit.
        """
        accepted, candidate = self._pythons
        if not accepted:
            return [math.nan] * rounds, [math.nan] * rounds
        if series != self._seated:
            self._seat(series, accepted, candidate)
        before, after = [], []
        for _ in range(rounds):
            pair = next(self._pairs)
            ratio = turns_ratio(pair.a.blocks, pair.b.blocks)
            middle = sorted(ns for block in pair.a.blocks for ns in block)
            before.append(middle[len(middle) // 2] / 1e6)
            after.append(before[-1] * ratio)
            told = f"{label(self._night.row(series))}: new / accepted {ratio:.4f}"
            self._console.print(told, highlight=False, markup=False)
        return before, after

    def _seat(self, series: str, *pythons: str) -> None:
        self._seats.close()
        row = self._night.row(series)
        wanted = ("run_id", "campaign", "config")
        stored = {name: row[name] for name in wanted} | {"overrides": [*row["overrides"]]}
        specs = [duel.SideSpec(overrides=(), row=json.dumps(stored), python=python) for python in pythons]
        turns, calls = self._numbers
        match = self._seats.enter_context(
            duel.run(
                *specs,
                folder=Path(f"outputs/nightly-{self._night.campaign}/{row['cell_id']}"),
                pairs=sys.maxsize,
                turns=turns,
                calls=calls,
            )
        )
        self._seated, self._pairs, self.sides = series, match.pairs, (match.a, match.b)

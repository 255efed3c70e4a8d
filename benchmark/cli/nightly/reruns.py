"""Interleaved reruns of the accepted and the new build: they confirm a suspicion of `nightly check`."""

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
from benchmark.paths import as_name
from benchmark.stats.ratio_test import turns_ratio
from benchmark.timing import duel
from benchmark.timing.interleaved import Side


class Reruns:
    """Reruns of both builds. The processes of a series live until another series is rerun."""

    sides: tuple[Side, Side] | None = None
    """The accepted and the new build of the last rerun; null before the first."""

    def __init__(
        self,
        night: Night,
        pythons: tuple[str, str],
        numbers: tuple[int, int],
        console: Console,
        *,
        trust: bool,
    ) -> None:
        self._night, self._pythons, self._numbers, self._console = night, pythons, numbers, console
        self._trust = trust
        self._processes = ExitStack()
        self._series = ""
        self._pairs: Iterator[Any] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def rerun(self, series: str, rounds: int) -> tuple[list[float], list[float]]:
        """Medians in ms of `rounds` processes of the accepted and the new build; NaN without an accepted one.

        The new build's figure is the accepted side's median times the median ratio over turns.
        """
        accepted, candidate = self._pythons
        if not accepted:
            return [math.nan] * rounds, [math.nan] * rounds
        if series != self._series:
            self._start(series, accepted, candidate)
        before, after = [], []
        for _ in range(rounds):
            pair = next(self._pairs)
            ratio = turns_ratio(pair.a.blocks, pair.b.blocks)
            middle = sorted(ns for block in pair.a.blocks for ns in block)
            before.append(middle[len(middle) // 2] / 1e6)
            after.append(before[-1] * ratio)
            line = f"{label(self._night.row(series))}: new / accepted {ratio:.4f}"
            self._console.print(line, highlight=False, markup=False)
        return before, after

    def _start(self, series: str, *pythons: str) -> None:
        self._processes.close()
        row = self._night.row(series)
        wanted = ("run_id", "campaign", "config")
        stored = {name: row[name] for name in wanted} | {"overrides": [*row["overrides"]]}
        stored |= {"trust": self._trust}
        specs = [duel.SideSpec(overrides=(), row=json.dumps(stored), python=python) for python in pythons]
        turns, calls = self._numbers
        match = self._processes.enter_context(
            duel.run(
                *specs,
                folder=Path("outputs", f"nightly-{as_name(self._night.campaign)}", as_name(row["cell_id"])),
                pairs=sys.maxsize,
                turns=turns,
                calls=calls,
            )
        )
        self._series, self._pairs, self.sides = series, match.pairs, (match.a, match.b)

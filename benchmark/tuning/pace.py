"""How long a look at each candidate takes: as measured, else as estimated and scaled by those measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from benchmark.tuning.candidates import Candidate


class Pace:
    """Seconds of looks, without compilations."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._estimated = [one.look_s for one in candidates]
        self._took: dict[int, list[float]] = {}

    def took(self, index: int, seconds: float) -> None:
        """Remember how long a look took."""
        self._took.setdefault(index, []).append(seconds)

    def look_s(self, index: int) -> float:
        """Seconds of the next look at this candidate."""
        if index in self._took:
            return fmean(self._took[index])
        return self._estimated[index] * self._ratio()

    def _ratio(self) -> float:
        """Measured to estimated seconds of the candidates with looks."""
        ratios = [fmean(seconds) / self._estimated[index] for index, seconds in self._took.items()]
        return median(ratios) if ratios else 1.0

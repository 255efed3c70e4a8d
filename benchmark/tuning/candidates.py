"""What races: candidates with their costs, what a look finds, and the question."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from benchmark.records import frozen


@frozen
class Candidate:
    """One cell of the space."""

    name: str
    """Key of the candidate, unique in its race."""
    look_s: PositiveFloat = 1.0
    """Seconds of one look, estimated."""
    making: str | None = None
    """Key of its artefact: candidates with the same key are compiled once. Null: nothing to compile."""
    making_s: NonNegativeFloat = 0.0
    """Seconds to build and compile it, estimated; 0 if the cache has it."""
    expected: float | None = None
    """Logarithm of its first objective by earlier rows: it decides the order of compilations alone."""


class Look(NamedTuple):
    """What one fresh process of a candidate found."""

    values: tuple[float, ...]
    """Each objective as a number of which less is better, above 0; empty where the look failed."""
    p95_ms: float | None = None
    refused: str = ""
    """Why the candidate is out, whatever its speed: it failed, or is below a floor."""
    perhaps: bool = False
    """Whether it may have failed by chance, so that it is tried once more."""
    seconds: float = 0.0
    """How long it took, without building and compiling; 0: not known."""


@frozen
class Question:
    """What is asked: how near to the best, how sure, within which limit."""

    objectives: PositiveInt = 1
    """One, or two for a Pareto front."""
    tolerance: PositiveFloat = 0.02
    """Relative difference that doesn't matter."""
    p95_ms: PositiveFloat | None = None
    """Highest 95th percentile of a call; null: no limit."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Chance that the whole race makes no wrong claim."""
    most_rounds: PositiveInt = 500
    """Rounds after which even an unlimited race ends without a decision."""
    seed: int = 0
    """Of the order within rounds."""

    @property
    def margin(self) -> float:
        """The tolerance as a logarithm."""
        return math.log1p(self.tolerance)

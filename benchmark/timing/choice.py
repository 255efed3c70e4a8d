"""Choose the fastest of the settings that a session may be called under, by its own calls."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Final

from benchmark.records import Session
from benchmark.timing.harness import measure_calls

_WARM_UP_CALLS: Final = 2
"""TorchScript optimises during its first two calls."""
_TURNS: Final = 16
_LONGEST_NS: Final = 500_000_000
_BLOCK_NS: Final = 10_000_000
"""A setting is called for about so long in its turn."""
_MOST_CALLS: Final = 200
"""In a turn: a simulated clock may stand still."""
_FASTER: Final = 0.98
"""A setting replaces the first if it takes less than this share of its time: noise alone must not."""


def fastest(session: Session) -> Session:
    """Time the session's choices in turns, half a second in all; return it under the fastest one.

    Slow calls get one turn: three calls to begin with, and one for each choice.
    """
    if not session.choices:
        return session
    session.choices[0]()
    *_, call_ns = measure_calls(session.run, _WARM_UP_CALLS + 1, session.clock)
    calls = max(1, min(_MOST_CALLS, _BLOCK_NS // max(1, call_ns)))
    turns: list[list[float]] = []
    ends = session.clock() + _LONGEST_NS
    while len(turns) < _TURNS and (not turns or session.clock() < ends):
        turns.append([])
        for choose in session.choices:
            choose()
            if calls > 1:
                session.run()  # a library makes what the setting needs, and caches are warm again
            turns[-1].append(statistics.median(measure_calls(session.run, calls, session.clock)))
    first, *others = (statistics.median(took) for took in zip(*turns, strict=True))
    ranked = [first * _FASTER, *others]
    return replace(session, arithmetic=session.choices[ranked.index(min(ranked))](), choices=())

"""What the suites of plug-ins share: cells with a short sampling, and one compile cache."""

from __future__ import annotations

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.config.sweep import grid

LOOK = tuple(
    f"sampling.{knob}"
    for knob in ("warmup_calls=0", "warmup_s=0", "min_calls=2", "min_s=0", "max_calls=3", "max_s=9")
)


@pytest.fixture(scope="session")
def experiment():
    """Compose one cell with a short sampling; the stages are called by hand, it writes nowhere itself."""

    def composed(*overrides):
        (one,) = grid([*LOOK, *overrides])
        return one

    return composed


@pytest.fixture(scope="session")
def cache(compile_cache_of_all):
    """The cache of all tests: weights and references are made once."""
    opened = CompileCache(compile_cache_of_all)
    opened.prepare()
    return opened

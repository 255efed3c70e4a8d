"""What the suites of plug-ins share: children with the libraries loaded, and one compile cache."""

from __future__ import annotations

import os
from functools import partial
from multiprocessing import forkserver

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.config.sweep import grid
from benchmark.execution.forkserver import Forkserver
from benchmark.records import ChildLimits
from tests.contracts.folder_listing import group

LOOK = tuple(
    f"sampling.{knob}"
    for knob in ("warmup_calls=0", "warmup_s=0", "min_calls=2", "min_s=0", "max_calls=3", "max_s=9")
)


@pytest.fixture(scope="session")
def experiment():
    """Compose one cell with a short look; the stages are called by hand, so it writes nowhere by itself."""

    def composed(*overrides):
        (one,) = grid([*LOOK, *overrides])
        return one

    return composed


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One compile cache for all suites: weights and references are made once."""
    opened = CompileCache(tmp_path_factory.mktemp("contracts") / "compile_cache")
    opened.prepare()
    return opened


@pytest.fixture(scope="session")
def in_a_child(tmp_path_factory):
    """Call in a child that has every library of these suites, from a server of their own."""
    preload = {"torch", "benchmark.models.networks", "benchmark.stages.measure"}
    for kind in group("compiler").values():
        if os.environ.get("BENCHMARK_HARDWARE", "cpu") in kind.runs_on:
            preload.update(kind.preload)
    limits = ChildLimits(log=tmp_path_factory.mktemp("logs") / "child.log", timeout_s=240)
    forkserver._forkserver._stop()
    yield partial(Forkserver(preload).call, limits)
    forkserver._forkserver._stop()
    forkserver.set_forkserver_preload(["__main__"])

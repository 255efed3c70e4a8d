"""What the suites of plug-ins share: children with the libraries loaded, and one compile cache."""

from __future__ import annotations

from multiprocessing import forkserver

import pytest
from folder_listing import group

from benchmark.cli.compose import grid
from benchmark.compile_cache import CompileCache
from benchmark.isolation import Forkserver
from benchmark.records import ChildLimits

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
def limits(tmp_path_factory):
    """Limits of every child."""
    return ChildLimits(log=tmp_path_factory.mktemp("logs") / "child.log", timeout_s=240)


@pytest.fixture(scope="session")
def children():
    """Children that have every library of these suites, from a server that no other suite has shaped."""
    preload = {"torch", "benchmark.torch_models", "benchmark.stages.measure"}
    for kind in group("compiler").values():
        if "cpu" in kind.runs_on:
            preload.update(kind.preload)
    forkserver._forkserver._stop()
    server = Forkserver(preload)
    server.warm()
    yield server
    forkserver._forkserver._stop()
    forkserver.set_forkserver_preload(["__main__"])

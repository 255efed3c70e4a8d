"""What several tests share: conf/ composed into a temporary folder, grids run there, the command line."""

from __future__ import annotations

import copy
import gc
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from benchmark.cache.compile_cache import CompileCache
from benchmark.cli.run import laid_out
from benchmark.config import experiment
from benchmark.config.folder import CONF
from benchmark.execution.interpreters import Interpreters
from benchmark.pipeline.budget import BudgetTracker
from benchmark.pipeline.runner import Pipeline
from benchmark.pipeline.services import Services
from benchmark.store.results import ResultsStore


@cache
def _composed(*groups):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", overrides=list(groups))


def _chooses_group(override):
    key = override.partition("=")[0]
    return (CONF / key).is_dir() or not key.replace(".", "_").isidentifier()


@cache
def _experiment(*overrides):
    """Compose each choice of groups once, for Hydra needs 60 ms for that, and set values afterwards."""
    cfg = copy.deepcopy(_composed(*filter(_chooses_group, overrides)))
    values = [override for override in overrides if not _chooses_group(override)]
    for override in OverridesParser.create().parse_overrides(values):
        OmegaConf.update(cfg, override.key_or_group, override.value())
    return experiment.load(cfg, overrides)


@pytest.fixture
def compose(tmp_path):
    """Compose conf/ with overrides into a typed experiment; whatever it writes stays in tmp_path."""
    places = {
        "store.root": str(tmp_path / "outputs" / "results"),
        "cache.root": str(tmp_path / "compile_cache"),
        "output_folder": str(tmp_path / "outputs" / "test"),
        "campaign": "test",
    }

    def composed(*overrides):
        asked = {override.partition("=")[0] for override in overrides}
        here = {key.replace(".", "_"): place for key, place in places.items() if key not in asked}
        return replace(_experiment(*overrides), **here)

    return composed


@pytest.fixture
def simulated(compose):
    """Compose an experiment on the device that computes nothing; its latencies follow its compiler's law."""
    return lambda *overrides: compose("hardware=simulated", *overrides)


class Silent:
    """An observer that does nothing; tests that want more derive from it."""

    def working(self, where, label, stage):  # noqa: ARG002 - the seam's signature
        return nullcontext()

    def finished(self, row):
        pass

    def skipped(self, run_id, label):
        pass


@pytest.fixture
def silent():
    return Silent


CHILDREN = Interpreters(
    {
        "benchmark.stages.compile",
        "benchmark.stages.measure",
        "benchmark.compilers.simulated",
        "benchmark.devices.simulated",
        "benchmark.scenarios.latency",
        "benchmark.tasks.text_classification",
        "pytest",  # the main module, which each child would have to import anew
    },
    {},
)
"""Where children come from, with all that a simulated cell needs."""


def pytest_collection_finish(session):
    """Start the server if some test will want children: it imports for a second, beside the first tests."""
    gc.freeze()  # what is imported stays, so no collection need look at it
    if any("interpreters" in getattr(item, "fixturenames", ()) for item in session.items):
        CHILDREN.start()


@pytest.fixture
def interpreters():
    return CHILDREN


@pytest.fixture
def run_cells(interpreters):
    """Plan and run experiments; return the rows that their store holds of them, in the order of the plan."""

    def ran(*experiments, observer=None, budget=None, workers=1):
        first = experiments[0]
        store, compile_cache = ResultsStore(first.store_root), CompileCache(first.cache_root)
        store.prepare()
        compile_cache.prepare()
        planned = laid_out(experiments, (), store)
        tracker = budget or BudgetTracker(first.budget)
        running = Pipeline(Services(store, compile_cache, interpreters, observer or Silent(), tracker))
        running.run(planned, workers)
        rows = {row["run_id"]: row for row in store.table().to_pylist()}
        return [rows[id_] for run in planned.runs if (id_ := run.row_id or run.run_id) in rows]

    return ran


@pytest.fixture
def command(tmp_path):
    """Run `python -m benchmark` in tmp_path, where its output folders land; there is no network."""

    def ran(*arguments, timeout=60, env=None):
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return ran

"""What several tests share: conf/ composed into a temporary folder, grids run there, the command line."""

from __future__ import annotations

import copy
import gc
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache, partial
from multiprocessing import util
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from xdist.scheduler import LoadScopeScheduling

from benchmark.cache.compile_cache import CompileCache
from benchmark.cli import early
from benchmark.cli.run import laid_out
from benchmark.config import experiment
from benchmark.config.folder import CONF
from benchmark.execution.forkserver import ChildLimits, Forkserver
from benchmark.execution.host_lock import LOCK_NAME
from benchmark.execution.interpreters import Interpreters
from benchmark.pipeline.budget import BudgetTracker
from benchmark.pipeline.runner import Pipeline
from benchmark.pipeline.services import Services
from benchmark.store.results import ResultsStore
from tests.buckets import BucketServer, use
from tests.commands import CommandServer
from tests.plugins import group

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tmp_path stays where it always is
OWN_HOST = tempfile.mkdtemp(prefix="host-")  # short: sockets lie there too
"""Temporary folder of this process and of all that it starts."""
tempfile.tempdir = os.environ["TMPDIR"] = OWN_HOST
os.environ[LOCK_NAME] = Path(OWN_HOST).name  # the lock on the host is no other test process's
os.environ["XDG_CACHE_HOME"] = f"{OWN_HOST}/cache"  # where commands remember the host's peak
os.environ["XDG_CONFIG_HOME"] = f"{OWN_HOST}/config"  # and which caches the user trusts
# after multiprocessing has removed its own folder in it, at -100
util.Finalize(None, shutil.rmtree, (OWN_HOST,), {"ignore_errors": True}, exitpriority=-200)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
early.start = lambda _: None  # most commands of the tests end before children are needed


@pytest.fixture(autouse=True)
def _full_errors_end_with_a_test():
    """`main` asks Hydra for whole errors by a variable, which later commands would inherit."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    yield
    os.environ.pop("HYDRA_FULL_ERROR", None)
    if before is not None:
        os.environ["HYDRA_FULL_ERROR"] = before


_parse = yaml.load
_parsed = cache(lambda text: _parse(text, get_yaml_loader()))


def _load(stream, Loader):  # noqa: N803 - yaml's name
    """`yaml.load` that parses each text once for OmegaConf: Hydra reads each file four times a command."""
    if Loader.__name__ == "OmegaConfLoader" and hasattr(stream, "seek"):
        with suppress(yaml.YAMLError):  # which the second time names the file
            return _parsed(stream.read())
        stream.seek(0)
    return _parse(stream, Loader)


yaml.load = _load


def pytest_configure(config):
    """Give each process of a real suite a core of its own.

    Two models of two threads each on two cores wait for each other at each operator: 4 times slower, not 2.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    cores = sorted(os.sched_getaffinity(0))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker and config.getoption("markexpr").startswith("real") and len(cores) >= workers:
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) :: workers])


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
    """Compose conf/ with overrides into a typed experiment; whatever it writes stays in tmp_path.

    Its cells are of one process, unless the test says how many.
    """
    places = {
        "store.root": str(tmp_path / "outputs" / "results"),
        "cache.root": str(tmp_path / "compile_cache"),
        "output_folder": str(tmp_path / "outputs" / "test"),
        "campaign": "test",
    }

    def composed(*overrides):
        asked = {override.partition("=")[0] for override in overrides}
        here = {key.replace(".", "_"): place for key, place in places.items() if key not in asked}
        composed_one = replace(_experiment(*overrides), **here)
        if "sampling.repeats" in asked:
            return composed_one
        return replace(composed_one, sampling=replace(composed_one.sampling, repeats=1))

    return composed


@pytest.fixture
def simulated(compose):
    """Compose an experiment on the device that computes nothing; its latencies follow its compiler's law."""
    return lambda *overrides: compose("hardware=simulated", *overrides)


class Silent:
    """An observer that does nothing; tests that want more derive from it."""

    def working(self, where, run_id, stage):  # noqa: ARG002 - the seam's signature
        return nullcontext()

    def waiting(self, where, run_id, holder):
        pass

    def finished(self, row):
        pass

    def skipped(self, run_id):
        pass

    def unneeded(self, run_id):
        pass


@pytest.fixture(autouse=True)
def logs_are_closed():
    """Close the log that a grid of a test has opened in this process: a later test would get the warning."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if getattr(handler, "baseFilename", "").endswith("benchmark.log"):
            root.removeHandler(handler)
            handler.close()


@pytest.fixture
def silent():
    return Silent


CHILDREN = Interpreters(
    {
        "benchmark.stages.compile",
        "benchmark.stages.measure",
        "benchmark.stages.serve",
        "benchmark.compilers.simulated",
        "benchmark.devices.simulated",
        "benchmark.scenarios.latency",
        "benchmark.tasks.text_classification",
    },
    {},
)
"""Where children come from, with all that a simulated cell needs."""


COMPILERS = sorted(group("compiler"), key=len, reverse=True)
FIRST = (
    *(
        f"tests/contracts/test_compiler_contract.py {name}"
        for name in ("aot_inductor", "inductor", "onnxruntime", "openvino", "eager", "torchscript")
    ),
    "tests/contracts/test_task_contract.py",
    "tests/contracts/test_verification_contract.py",
    "tests/conf/test_parameters.py",
    "tests/models/test_convnets.py",
    "tests/chaos/test_interrupts.py",
    "tests/cli/test_launchers.py",
    "tests/neuron/test_grid.py",
    "tests/models/test_decoders.py",
    "tests/cli/test_main.py",
    "tests/pipeline/test_prepare.py",
    "tests/conf/test_yaml_files.py",
    "tests/timing/test_duel.py",
    "tests/config/test_compose.py",
)
"""Groups that start first: those that share the children of `in_a_child`, then the longest, so that no core
is idle at the end."""


COMMANDS = Path(__file__).with_name("cli")
"""Tests of whole commands."""


def group_of(nodeid):
    """Tests of one group run in one process: those of a file, for they share fixtures, or of a part of it."""
    file = nodeid.partition("::")[0]
    if file.endswith("test_compiler_contract.py"):
        return f"{file} {next((name for name in COMPILERS if name in nodeid), '')}"
    if file.startswith("tests/cluster/"):  # one test cluster at a time: each has processes by the dozen
        return "tests/cluster/"
    return nodeid if "test_a_run_of_the_guides_works" in nodeid else file


class Groups(LoadScopeScheduling):
    """Distributes tests by group. (xdist's own loadgroup does nothing with pytest 9.2.)"""

    def _split_scope(self, nodeid):
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Groups(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_ignore_collect(collection_path, config):
    """Leave out files no test of which can be selected: to import and to parametrise them takes seconds."""
    wanted = config.getoption("markexpr").partition(" and ")[0]
    if wanted not in {"real", "alone", "not real"} or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    if wanted == "not real":
        if "not commands" in config.getoption("markexpr") and COMMANDS in collection_path.parents:
            return True
        return True if re.search(r"^pytestmark = [(\[]?\s*pytest\.mark\.real\b", text, re.MULTILINE) else None
    return None if f"mark.{wanted}" in text else True


@pytest.hookimpl(tryfirst=True)  # marks decide what is selected
def pytest_collection_modifyitems(items):
    for item in items:
        if COMMANDS in item.path.parents:
            item.add_marker("commands")
    order = {item: group_of(item.nodeid) for item in items}
    items.sort(key=lambda item: FIRST.index(order[item]) if order[item] in FIRST else len(FIRST))


def pytest_collection_finish(session):
    """Start the server if some test will want children: it imports for a second, beside the first tests."""
    gc.freeze()  # what is imported stays, so no collection need look at it
    if any("interpreters" in getattr(item, "fixturenames", ()) for item in session.items):
        CHILDREN.start()


def pytest_sessionfinish():
    CHILDREN.close()


@pytest.fixture
def interpreters():
    return CHILDREN


@pytest.fixture
def run_cells(interpreters):
    """Plan and run experiments; return the rows that their store holds of them, in the order of the plan."""

    def ran(*experiments, observer=None, budget=None, workers=1):
        first = experiments[0]
        store = ResultsStore(first.store_root)
        compile_cache = CompileCache(first.cache_root, first.cache_remote)
        store.prepare()
        compile_cache.prepare()
        planned = laid_out(experiments, (), store)
        tracker = budget or BudgetTracker(first.budget)
        running = Pipeline(Services(store, compile_cache, interpreters, observer or Silent(), tracker))
        running.run(planned, workers)
        rows = {row["run_id"]: row for row in store.table().to_pylist()}
        return [rows[id_] for run in planned.runs if (id_ := run.row_id or run.run_id) in rows]

    return ran


@pytest.fixture(scope="session")
def in_a_child(tmp_path_factory):
    """Call in a child of a server that has torch, the compilers' libraries and every small architecture.

    One server for all files: each architecture takes longer to import than to run.
    """
    preload = {"tests.architectures", "benchmark.stages.measure"}
    for kind in group("compiler").values():
        if os.environ.get("BENCHMARK_HARDWARE", "cpu") in kind.runs_on:
            preload.update(kind.preload)
    limits = ChildLimits(log=tmp_path_factory.mktemp("logs") / "child.log", timeout_s=240)
    children = Forkserver(preload)
    yield partial(children.call, limits)
    children.close()


@pytest.fixture(scope="session")
def compile_cache_of_all(tmp_path_factory):
    """Folder of one compile cache for all tests of a run that don't test the cache itself."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compile_cache"


@pytest.fixture(scope="session")
def bucket_server():
    """S3-compatible storage on loopback, once for all tests of a process."""
    server = BucketServer()
    yield server
    server.stop()


@pytest.fixture
def bucket(bucket_server, monkeypatch, tmp_path):
    """Address of an empty bucket; this process is a host that uses it."""
    use(monkeypatch, bucket_server.endpoint, tmp_path / "host")
    return bucket_server.new_bucket()


@pytest.fixture(scope="session")
def command_server():
    with CommandServer() as server:
        yield server


@pytest.fixture
def command(tmp_path, command_server):
    """Run `python -m benchmark` in tmp_path, where its output folders land; there is no network.

    Variables of `env` may be for the interpreter (PYTHONPATH): such a command has one of its own.
    """

    def ran(*arguments, timeout=60, env=None):
        everything = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", **(env or {})}
        if "HYDRA_FULL_ERROR" not in (env or {}):
            everything.pop("HYDRA_FULL_ERROR", None)  # `main` sets it, also where a test calls it
        if env is None:
            return command_server.run([*map(str, arguments)], tmp_path, everything, timeout)
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *map(str, arguments)],
            cwd=tmp_path,
            env=everything,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return ran

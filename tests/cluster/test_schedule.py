"""Which runs share a task, and what a lost one means: the cluster is played in this process."""

from __future__ import annotations

import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.cache.remote import RemoteCache
from benchmark.cli.run import laid_out
from benchmark.cluster import batches, schedule, tasks
from benchmark.cluster.batches import Batches
from benchmark.cluster.schedule import Schedule
from benchmark.execution.interpreters import Interpreters
from benchmark.pipeline.budget import BudgetTracker
from benchmark.pipeline.services import Services
from benchmark.store.results import ResultsStore


class Lost(Exception):
    """The process of a task is gone."""


class Played:
    """Ray's part: a task runs when its result is asked for."""

    exceptions = SimpleNamespace(
        RayError=Lost,
        RayTaskError=type("RayTaskError", (Lost,), {}),
        TaskCancelledError=type("TaskCancelledError", (Lost,), {}),
        OutOfMemoryError=type("OutOfMemoryError", (Lost,), {}),
        TaskUnschedulableError=type("TaskUnschedulableError", (Lost,), {}),
    )

    def __init__(self, ends_its_process, how):
        self._ends_its_process, self._how = ends_its_process, how
        self.jobs = {}

    def remote(self, function):
        def handed_out(job, *arguments):
            def task():
                return function(job, *arguments)

            self.jobs[task] = job
            return task

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=handed_out))

    def get(self, task):
        if any(map(self._ends_its_process, self.jobs[task].runs)):
            raise self.exceptions.__dict__[self._how]
        return task()

    @staticmethod
    def wait(handed_out, num_returns, timeout):  # noqa: ARG004 - all are done at once
        return handed_out, []


NODE = SimpleNamespace(
    nodes=(SimpleNamespace(node_id="n1"),),
    changed_at=0.0,
    home=lambda *_: frozenset({"n1"}),
    compilers=lambda *_: frozenset(),
    name=lambda node_id: node_id,
    refresh=lambda: None,
)


@pytest.fixture
def played(simulated, silent, monkeypatch, tmp_path):
    """Run simulated cells of these sizes; return the tasks, by their runs, and the rows."""
    context = SimpleNamespace(get_node_id=lambda: "n1")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    monkeypatch.setattr(tasks, "_as_started", lambda: None)
    monkeypatch.setattr(batches, "_TASK_S", 10.0)  # however slow this host is
    monkeypatch.setattr(sys, "argv", ["benchmark"])

    def run(sizes, *words, ends_its_process=lambda _: False, how="RayError"):
        experiments = [simulated(f"batch={batch}", *words) for batch in sizes]
        store = ResultsStore(experiments[0].store_root)
        store.prepare()
        cache = CompileCache(tmp_path / "cache")
        budget = BudgetTracker(experiments[0].budget)
        services = Services(store, cache, Interpreters(set(), {}), silent(), budget)
        ray = Played(ends_its_process, how)
        assert Schedule(ray, NODE, laid_out(experiments, (), store), services, {}).run() == "done"
        return [job.runs for job in ray.jobs.values()], store.table().to_pylist()

    return run


def test_runs_that_compute_nothing_share_tasks_but_not_those_of_one_cell(played):
    five = ("sampling=quick", "sampling.repeats=5", "sampling.repeat_precision=null")
    shared, rows = played(range(1, 6), *five)
    assert len(rows) == len({row["run_id"] for row in rows}) == 25
    assert {row["status"] for row in rows} == {"ok"}
    assert len(shared) < 15
    assert all(len({run.processes_of for run in runs}) == len(runs) for runs in shared)


def test_a_run_for_which_ray_has_no_node_yet_is_not_lost(played, monkeypatch):
    monkeypatch.setattr(schedule, "_TICK_S", 0.01)
    tries = Counter()

    def too_early(run):
        tries[run.run_id] += 1
        return tries[run.run_id] <= 6

    _, rows = played([1], ends_its_process=too_early, how="TaskUnschedulableError")
    assert [row["status"] for row in rows] == ["ok"]


@pytest.mark.parametrize(
    ("how", "status", "attempts"), [("RayError", "crashed", 4), ("OutOfMemoryError", "oom_host", 2)]
)
def test_a_run_that_ends_its_process_has_its_row_and_those_beside_it_run_again_alone(
    played, how, status, attempts
):
    shared, rows = played(range(1, 31), ends_its_process=lambda run: run.cell.experiment.batch == 30, how=how)
    assert len(rows) == 30
    assert {row["batch_size"]: row["status"] for row in rows if row["status"] != "ok"} == {30: status}
    times = Counter(run.cell.experiment.batch for runs in shared for run in runs)
    beside = {run.cell.experiment.batch for runs in shared if len(runs) > 1 for run in runs} & {
        batch for batch, count in times.items() if count > 1
    }
    assert len(beside) > 1
    assert {batch: times[batch] for batch in beside} == {**dict.fromkeys(beside, 2), 30: attempts}


def test_what_a_node_builds_goes_to_the_bucket_of_the_cache(played, bucket):
    address = f"{bucket}/team/cache"
    played([1], f"cache.remote={address}")
    assert [manifest.kind for manifest in RemoteCache(address).manifests()] == ["artifact"]


def test_a_task_grows_to_a_quarter_of_a_second():
    pace, sizes = Batches(), []
    for seconds_a_run in (1.0, 0.01, 0.01, 0.01, 0.001, 0.5):
        sizes.append(pace.size)
        pace.add(pace.size, pace.size * seconds_a_run)
    assert [*sizes, pace.size] == [1, 1, 4, 16, 25, 50, 1]

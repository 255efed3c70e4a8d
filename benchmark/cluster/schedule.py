"""The loop of a grid on a cluster: hand out runs, store rows as they come, run those of lost nodes again.

Ray chooses among the nodes that may run something, by resources. Here it is decided what may start: a node
has one run to time at a time, so that what a row changes (a budget, a limit of memory, the number of
processes) counts for the next one.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from benchmark.cell import MemoryLimits, Plan, PlannedRun
from benchmark.cluster.batches import Batches
from benchmark.cluster.mailbox import Mailbox, Receiver
from benchmark.cluster.nodes import TIMING, only_on
from benchmark.cluster.survey import Survey
from benchmark.cluster.tasks import Job, Result, work
from benchmark.errors import ConfigError
from benchmark.execution.forkserver import defer_signals
from benchmark.pipeline.budget import Ending
from benchmark.pipeline.row_writer import RowWriter
from benchmark.pipeline.services import Services
from benchmark.pipeline.stage_clock import INTERRUPTED
from benchmark.records import Failure, Row
from benchmark.stages.row import Attempt, row
from benchmark.store.history import RowsSince

logger = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_LOOK_S: Final = 1.0
"""How often the living nodes are looked at."""
_MOST_LOSSES: Final = 3
"""A run whose process is lost so often is a crash."""
_LONGEST_UNPLACED_S: Final = 30.0
"""Until a run for which Ray has no node, though one seems to be there, counts as lost."""
_AT_ONCE: Final = 2
"""Tasks of runs that compute nothing for each node: it has the next one while the results of one travel."""
_ENDING_S: Final = 10.0
"""Time for runs that are stopped to end their children."""


class _UnderWay(NamedTuple):
    """A task that was handed to Ray."""

    job: Job
    nodes: frozenset[str]
    """Ids of those that may run it."""


class Schedule:
    """Runs the pending part of a plan."""

    def __init__(
        self, ray: Any, survey: Survey, plan: Plan, services: Services, hosts: dict[str, str]
    ) -> None:
        """`hosts` takes the name of the node that each row comes from, by run_id."""
        self._ray, self._survey, self._plan, self._services = ray, survey, plan, services
        self._rows = RowWriter(services.store, services.observer)
        self._rows_since = RowsSince(services.store)
        self._limits = MemoryLimits()
        self._work = ray.remote(work)
        self._events = Receiver(services.observer, survey.name)
        self._mailbox: Any = None
        self._under_way: dict[Any, _UnderWay] = {}
        self._losses = Counter[str]()
        self._not_placed = Counter[str]()
        """How often Ray had no node for a run, by run_id."""
        self._batches = Batches()
        self._failed: set[Hashable] = set()
        """Groups whose artefact can't be made."""
        self._to_prepare: deque[tuple[PlannedRun, ...]] = deque()
        self._waiting: dict[Hashable, tuple[PlannedRun, ...]] = {}
        """Runs whose artefact is being made, by group."""
        self._ready: dict[Hashable, deque[PlannedRun]] = defaultdict(deque)
        """Runs that can be timed; those of one hardware take turns."""
        self._looked_at = time.monotonic()
        self._hosts = hosts

    def run(self) -> Ending:
        """Run until every run has its row, or until the user or the budget stops it.

        Raises:
            KeyboardInterrupt: runs under way have left `interrupted` rows.
            ConfigError: a fault of a node that each of its runs would have.
        """
        self._sort()
        if any(_computes(run) for run in self._plan.pending):
            driver = self._ray.get_runtime_context().get_node_id()
            actor = self._ray.remote(Mailbox)
            self._mailbox = actor.options(num_cpus=0, label_selector=only_on([driver])).remote()
        ending: Ending = "done"
        with self._rows:
            try:
                while True:
                    if reason := self._services.budget.stop_reason():
                        ending = reason
                        self._withdraw()
                    else:
                        self._submit()
                    if not self._under_way and (ending != "done" or not any(self._ready.values())):
                        return ending
                    self._turn()
            except BaseException:
                self._stop()
                raise

    def _sort(self) -> None:
        """Runs that share an artefact wait for it, where another node may make it."""
        shared = []
        for run in self._plan.pending:
            if _computes(run) and self._compile_nodes(run):
                shared.append(run)
            else:
                self._ready[_home_key(run)].append(run)
        self._to_prepare.extend(_groups(shared))
        self._waiting = {group[0].artifact_group: group for group in self._to_prepare}

    def _compile_nodes(self, run: PlannedRun) -> frozenset[str]:
        return self._survey.compilers(run.cell.experiment, run.environment)

    def _submit(self) -> None:
        """Hand out what may start now."""
        preparing = Counter[frozenset[str]]()
        timing = Counter[Hashable]()
        for one in self._under_way.values():
            if one.job.prepare_only:
                preparing[one.nodes] += 1
            else:
                timing[_home_key(one.job.runs[0])] += 1
        self._submit_preparations(preparing)
        for key, runs in self._ready.items():
            while runs and (nodes := self._home_of(runs)):
                if timing[key] >= len(nodes) * (1 if _computes(runs[0]) else _AT_ONCE):
                    break
                job = self._next_job(runs)
                if job is None:
                    continue
                timing[key] += 1
                e = job.runs[0].cell.experiment
                if e.needs_no_device:  # nothing is timed
                    self._hand_out(job, nodes, {}, cpus=1)
                else:
                    self._hand_out(job, nodes, {e.hardware.name: 1, TIMING: 1}, cpus=0)

    def _next_job(self, runs: deque[PlannedRun]) -> Job | None:
        """The first of these runs; with it the next ones, where they take milliseconds. None may be left."""
        taken: list[PlannedRun] = []
        cells, home = set[Hashable](), runs[0].environment.environment_id
        most = 1 if _computes(runs[0]) else self._batches.size
        while runs and len(taken) < most:
            run = runs[0]
            is_alone = self._losses[run.run_id] > 0  # it may be the one that ended the process of all
            if taken and (is_alone or run.processes_of in cells or run.environment.environment_id != home):
                break
            runs.popleft()
            if self._may_start(run):
                taken.append(run)
                cells.add(run.processes_of)
                if is_alone:
                    break
        return Job(tuple(taken), prepare_only=False, workers=1) if taken else None

    def _submit_preparations(self, preparing: Counter[frozenset[str]]) -> None:
        """Hand out artefacts to be made: a task makes as many as its node can at a time."""
        under_way = sum(one.job.workers for one in self._under_way.values() if one.job.prepare_only)
        while self._to_prepare:
            first = self._to_prepare[0][0]
            if not (nodes := self._compile_nodes(first)):  # they are lost; each home makes its own
                self._prepared(self._to_prepare.popleft()[0])
                continue
            most = first.cell.experiment.launcher.compile_workers or math.inf
            at_once = int(min(self._survey.workers(nodes), most - under_way))
            if preparing[nodes] >= 2 * len(nodes) or at_once < 1:
                return
            groups = [self._to_prepare.popleft()]
            while len(groups) < at_once and self._to_prepare and self._made_by(nodes):
                groups.append(self._to_prepare.popleft())
            preparing[nodes] += 1
            under_way += len(groups)
            runs = tuple(run for group in groups for run in group)
            self._hand_out(Job(runs, prepare_only=True, workers=len(groups)), nodes, {}, cpus=len(groups))

    def _made_by(self, nodes: frozenset[str]) -> bool:
        """Whether these nodes can make the next artefact too."""
        return self._compile_nodes(self._to_prepare[0][0]) == nodes

    def _home_of(self, runs: deque[PlannedRun]) -> frozenset[str]:
        """Nodes for the next of these runs. Without any it is given up, unless one may still join."""
        while runs:
            e = runs[0].cell.experiment
            if nodes := self._survey.home(e, runs[0].environment):
                return nodes
            if time.monotonic() - self._survey.changed_at < e.launcher.wait_s:
                break
            text = (
                f"the last node with hardware={e.hardware.name} was lost: start it again, and run the same "
                "command; launcher.wait_s= waits for it"
            )
            self._leave(runs.popleft(), Failure(status="interrupted", stage="wait", error=text))
        return frozenset()

    def _may_start(self, run: PlannedRun) -> bool:
        """Whether the run still has to be timed; it may have got its row in the meantime."""
        e, observer = run.cell.experiment, self._services.observer
        if run.artifact_group in self._failed and _computes(run):
            return False  # its row is stored
        if self._plan.processes.enough(run):
            observer.unneeded(run.run_id)
        elif _computes(run) and self._rows_since.has(run.run_id, e.campaign):
            observer.skipped(run.run_id)
        elif smaller := self._limits.dominate(run.cell, run.environment):
            self._leave(run, Failure(status="dominated", stage="plan", error=smaller))
        else:
            return True
        return False

    def _hand_out(self, job: Job, nodes: frozenset[str], resources: dict[str, int], cpus: int) -> None:
        computes = _computes(job.runs[0])
        what = "prepare" if job.prepare_only else "run"
        task = self._work.options(
            name=f"benchmark {what} {job.runs[0].run_id}",
            num_cpus=cpus,
            resources=resources,
            max_retries=0,  # it is decided here where a lost run goes
            label_selector=only_on(nodes),
        )
        mailbox = self._mailbox if computes else None
        self._under_way[task.remote(job, mailbox, sys.argv[1:])] = _UnderWay(job, nodes)

    def _turn(self) -> None:
        """Wait for a moment; take what is done, show what begins, look at the nodes now and then."""
        done = self._done(1, _TICK_S)
        if done:
            done = self._done(len(self._under_way), 0)
        else:
            self._rows.flush()
        self._show_events()
        for task in done:
            self._take(task)
        if time.monotonic() - self._looked_at >= _LOOK_S:
            self._survey.refresh()
            self._looked_at = time.monotonic()
            self._take_from_the_dead()

    def _done(self, enough: int, seconds: float) -> list[Any]:
        """Tasks that have ended; wait so long for so many."""
        if not self._under_way:
            time.sleep(seconds)
            return []
        done, _ = self._ray.wait(list(self._under_way), num_returns=enough, timeout=seconds)
        return list(done)

    def _show_events(self) -> None:
        if self._mailbox is not None:
            with suppress(self._ray.exceptions.RayError):
                self._events.repeat(self._ray.get(self._mailbox.take.remote()))

    def _take(self, task: Any) -> None:
        under_way = self._under_way.pop(task)
        job = under_way.job
        for run in job.runs:
            self._events.lost(run.run_id)
        errors = self._ray.exceptions
        try:
            result: Result = self._ray.get(task)
        except errors.TaskCancelledError:
            return
        except errors.RayTaskError as error:  # a fault of this program: everything else is a row
            raise error.cause from error
        except errors.TaskUnschedulableError as error:
            self._not_begun(job, type(error).__name__)
        except errors.OutOfMemoryError as error:
            if len(job.runs) > 1 and not job.prepare_only:  # alone each shows whether it was the one
                self._lost(job, type(error).__name__)
                return
            self._fail(job, "oom_host", f"Ray ended its process, for its node ran out of memory: {error}")
        except errors.RayError as error:
            self._lost(job, type(error).__name__)
        else:
            self._store(job, result)

    def _store(self, job: Job, result: Result) -> None:
        runs = {run.run_id: run for run in job.runs}
        if result.error:
            raise ConfigError(f"node {self._survey.name(result.node_id)}: {result.error}")
        self._services.budget.spend(result.seconds, job.runs[0])
        if not _computes(job.runs[0]):
            self._batches.add(len(job.runs), result.seconds)
        is_first = not self._hosts
        for one in result.rows:
            self._hosts[one.run_id] = self._survey.name(result.node_id)
            with defer_signals():
                if (answers := result.answers.get(one.run_id)) is not None:
                    self._services.store.keep_answers(one.run_id, answers)
                if (requests := result.loads.get(one.run_id)) is not None:
                    self._services.store.keep_loads(one.run_id, requests)
                self._rows.write(one, at_once=is_first or _computes(job.runs[0]))
            self._remember(one, runs[one.run_id])
        self._rows.compact_if_due()
        if job.prepare_only:
            failed = {one.run_id for one in result.rows}
            for group in _groups(job.runs):
                self._prepared(group[0], failed=any(member.run_id in failed for member in group))

    def _prepared(self, run: PlannedRun, *, failed: bool = False) -> None:
        """The artefact of a group is there, or can't be made."""
        members = self._waiting.pop(run.artifact_group)
        if failed:
            self._failed.add(run.artifact_group)
        else:
            self._ready[_home_key(run)].extend(members)

    def _remember(self, one: Row, run: PlannedRun) -> None:
        """What later runs depend on."""
        self._plan.processes.add(run, one.status, one.values.get("latency_p50_ms"))
        if one.status in {"oom_host", "oom_device"}:
            self._limits.add_run(run)

    def _not_begun(self, job: Job, how: str) -> None:
        """Hand it out again, and look at the nodes before: those that it was for are gone; Ray knows first.

        That is no loss of a run, which no node had begun.
        """
        self._not_placed.update(run.run_id for run in job.runs)
        if self._not_placed[job.runs[0].run_id] * _TICK_S > _LONGEST_UNPLACED_S:
            self._lost(job, how)
            return
        time.sleep(_TICK_S)
        self._looked_at = -math.inf
        self._hand_back(job)

    def _lost(self, job: Job, how: str) -> None:
        """Run it again: its process or its node is gone."""
        first = job.runs[0]
        self._losses.update(run.run_id for run in job.runs)
        if self._losses[first.run_id] > _MOST_LOSSES:  # of several timed runs none was lost before
            self._fail(job, "crashed", f"the process on its node was lost {_MOST_LOSSES + 1} times ({how})")
            return
        others = f" and {len(job.runs) - 1} more" if len(job.runs) > 1 else ""
        again = "they run again" if others else "it runs again"
        logger.warning("%s%s: its process or node was lost (%s); %s", first.cell.label, others, how, again)
        self._hand_back(job)

    def _hand_back(self, job: Job) -> None:
        if job.prepare_only:
            self._to_prepare.extendleft(_groups(job.runs))
        else:
            self._ready[_home_key(job.runs[0])].extendleft(reversed(job.runs))

    def _fail(self, job: Job, status: str, text: str) -> None:
        stage = "compile" if job.prepare_only else "measure"
        for run in job.runs:
            self._leave(run, Failure(status=status, stage=stage, error=text.splitlines()[0][:300]))
        if job.prepare_only:
            for group in _groups(job.runs):
                self._prepared(group[0], failed=True)

    def _take_from_the_dead(self) -> None:
        """Tasks all of whose nodes are gone would wait for ever."""
        alive = {node.node_id for node in self._survey.nodes}
        for task, one in list(self._under_way.items()):
            if not one.nodes & alive:
                del self._under_way[task]
                self._cancel([task])
                for run in one.job.runs:
                    self._events.lost(run.run_id)
                self._lost(one.job, "no node is left")

    def _leave(self, run: PlannedRun, failure: Failure) -> None:
        """Store the row of a run that has no result of its own."""
        now = datetime.now(timezone.utc)
        one = row(Attempt(planned=run, started_at=now, finished_at=now, failure=failure))
        with defer_signals():
            self._rows.write(one, at_once=True)
        self._remember(one, run)

    def _withdraw(self) -> None:
        """Take back what no node has begun: the runs under way finish."""
        idle = [
            task
            for task, one in self._under_way.items()
            if self._mailbox is not None and not any(run.run_id in self._events.begun for run in one.job.runs)
        ]
        self._cancel(idle)
        for task in idle:
            del self._under_way[task]

    def _stop(self) -> None:
        """End what runs now; what has begun leaves its own row, or else one that says `interrupted`."""
        self._cancel(self._under_way)
        self._show_events()
        for task in self._done(len(self._under_way), _ENDING_S if self._events.begun else 0):
            with suppress(self._ray.exceptions.RayError):
                result: Result = self._ray.get(task)
                for one in result.rows:
                    self._rows.write(one, at_once=True)
                if result.rows:
                    del self._under_way[task]
        for job in [one.job for one in self._under_way.values()]:
            for run in job.runs:
                begun = run.run_id in self._events.begun
                self._events.lost(run.run_id)
                if begun:
                    stage = "compile" if job.prepare_only else "measure"
                    self._leave(run, Failure(status="interrupted", stage=stage, error=INTERRUPTED))
        self._under_way.clear()

    def _cancel(self, tasks: Iterable[Any]) -> None:
        for task in tasks:
            with suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(task, force=False)


def _groups(runs: Iterable[PlannedRun]) -> list[tuple[PlannedRun, ...]]:
    """Runs that share an artefact, together."""
    groups: dict[Hashable, list[PlannedRun]] = defaultdict(list)
    for run in runs:
        groups[run.artifact_group].append(run)
    return [tuple(group) for group in groups.values()]


def _computes(run: PlannedRun) -> bool:
    """Whether it needs child processes; the others take milliseconds."""
    return run.cell.experiment.hardware.isolated


def _home_key(run: PlannedRun) -> Hashable:
    """Equal for runs that take turns on the same nodes."""
    e = run.cell.experiment
    return (e.hardware.name, _computes(run), e.needs_no_device)

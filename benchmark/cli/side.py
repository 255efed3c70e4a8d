"""One side of a comparison, as a program: it answers each JSON line of its input with one.

    {"overrides": [...], "folder": "..."}   {"planned": {...}}     or a stored "row" instead of overrides
    {"prepare": true}                       {"ready": {...}}
    {"pair": 0}                             {"warmed": {...}}      a fresh measuring child is warm
    {"turn": 0, "block": 40}                {"block": {...}}       it has timed 40 calls, and waits
    {"done": true}                          {"done": true}         it has ended; the next pair may come

The contents are records of `benchmark.timing.interleaved`. `{"error": "..."}` is the last answer. When its
input is closed, the program ends at once with all it has started.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from queue import SimpleQueue
from typing import Any

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import Cell, PlannedRun, cell_of
from benchmark.config.experiment import Experiment
from benchmark.errors import ConfigError
from benchmark.execution.interpreters import Interpreters
from benchmark.execution.leash import follow_parent
from benchmark.execution.preload import preload
from benchmark.execution.stage_calls import StageCalls, stage_calls

# Each measuring child imports this module anew, as its main one: what is heavy is imported in functions.
from benchmark.host import machine
from benchmark.records import Artifact, Row, Workload
from benchmark.timing.interleaved import Planned, Player, Side


def main() -> None:
    """Answer until the input is closed."""
    follow_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # output of libraries is no answer
    commands, ending = SimpleQueue[str](), ExitStack()
    listener = threading.Thread(target=_listen, args=(commands, ending), daemon=True)
    listener.start()
    with suppress(BrokenPipeError):  # the input is closed too: the listener ends this process
        try:
            for answer in play(map(json.loads, iter(commands.get, None)), ending):
                print(json.dumps(answer), file=answers)
        except Exception as error:  # noqa: BLE001 - the conductor raises it
            from benchmark.cli.error_messages import sentence

            traceback.print_exc()
            print(json.dumps({"error": sentence(error)}), file=answers)
    listener.join()


def _listen(commands: SimpleQueue[str], ending: ExitStack) -> None:
    """Pass lines on; at the end of the input, end this process and its children at once."""
    for line in sys.stdin:
        commands.put(line)
    ending.close()
    os._exit(0)


def play(commands: Iterator[Mapping[str, Any]], ending: ExitStack) -> Iterator[dict[str, Any]]:
    """Answer each command; resources to close are pushed on `ending`.

    Raises:
        ConfigError, HydraException: overrides that don't make exactly one cell.
        RunFailure: a cell that can't be measured here, or how a child ended.
    """
    request = next(commands)
    cell = _one_cell(request["overrides"], request.get("row", ""), request["folder"])
    if cell.experiment.compiler.python is not None:
        raise ConfigError("compiler.python cannot be used with compare --run: use --python-a and --python-b")
    children = Interpreters({*preload([cell.experiment]), "benchmark.timing.interleaved"}, {})
    ending.callback(children.close)
    if cell.experiment.hardware.isolated:
        children.start()
    run, calls = _planned(cell, children)
    yield {"planned": asdict(_plan(cell))}
    next(commands)
    workload, artifact = _prepared(run, calls)
    yield {"ready": asdict(_side(run, artifact))}
    for _pair in commands:
        player = Player(calls.measure, cell, workload, artifact)
        yield {"warmed": asdict(player.warmed())}
        for command in commands:
            if "block" not in command:
                break
            yield {"block": asdict(player.block(command["turn"], command["block"]))}
        player.end()
        yield {"done": True}


def _one_cell(overrides: Sequence[str], row: str, folder: str) -> Cell:
    from benchmark.cli.start import set_environment
    from benchmark.config.sweep import grid

    experiments = [_of_row(json.loads(row))] if row else grid(overrides, "compare --run")
    cells = {cell.cell_id: cell for cell in map(cell_of, experiments)}
    if len(cells) > 1:
        raise ConfigError(f"a side is one cell, but {' '.join(overrides)} makes {len(cells)}: choose one")
    (cell,) = cells.values()
    set_environment(experiments)
    return replace(cell, experiment=replace(cell.experiment, output_folder=folder))


def _of_row(request: Mapping[str, Any]) -> Experiment:
    """Experiment of a stored row; what it names is used only if the request trusts it."""
    from benchmark.cli.replay import configured_as
    from benchmark.store.results import DEFAULT_ROOT

    row = Row(values={name: value for name, value in request.items() if name != "trust"})
    return configured_as(row, "", DEFAULT_ROOT, "", trust=request.get("trust") is True)


def _planned(cell: Cell, children: Interpreters) -> tuple[PlannedRun, StageCalls]:
    """The run, refused if this host can't make it, and the calls of its stages."""
    from benchmark.stages.plan import plan

    run = plan([cell.experiment], lambda _: {}).runs[0]  # one of its processes
    if run.refusal:
        raise run.refusal
    return run, stage_calls(run, children)


def _prepared(run: PlannedRun, calls: StageCalls) -> tuple[Workload, Artifact]:
    from benchmark.stages.build import build
    from benchmark.stages.compile import compile_

    cache = CompileCache(run.cell.experiment.cache_root, run.cell.experiment.cache_remote)
    cache.prepare()
    workload = build(run.cell, run.environment, cache, calls.build)
    both = 2  # sides compile at a time
    return workload, compile_(run.cell, workload, run.environment, cache, calls.compile, both)


def _plan(cell: Cell) -> Planned:
    limits = cell.experiment.limits
    return Planned(
        isolated=cell.experiment.hardware.isolated,
        prepare_s=2 * limits.build_timeout_s
        + limits.compile_timeout_s,  # weights and reference are two builds
        measure_s=limits.measure_timeout_s,
    )


def _side(run: PlannedRun, artifact: Artifact) -> Side:
    here = machine.provenance()
    return Side(
        label=run.cell.label,
        cell_id=run.cell.cell_id,
        environment_id=run.environment.environment_id,
        versions={"python": here.python, **run.environment.versions},
        git_commit=here.git_commit,
        cache_hit=artifact.cache_hit,
        simulated=run.cell.experiment.hardware.simulated,
    )


if __name__ == "__main__":
    main()

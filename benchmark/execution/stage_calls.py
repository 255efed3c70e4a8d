"""Where the heavy part of each stage of a run is called, and within which limits."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from benchmark.cell import PlannedRun
from benchmark.execution.forkserver import ChildLimits, inline
from benchmark.execution.interpreters import Interpreters
from benchmark.host import machine
from benchmark.protocols import Call


class StageCalls(NamedTuple):
    """A child process for each heavy part; for devices that compute nothing, this process."""

    build: Call
    compile: Call
    measure: Call


def stage_calls(run: PlannedRun, interpreters: Interpreters) -> StageCalls:
    """Children of the interpreter that the run's compiler names, within the limits of each stage."""
    e = run.cell.experiment
    if not e.in_children:
        return StageCalls(build=inline, compile=inline, measure=inline)
    call = interpreters.call_in(e.compiler.python)
    memory = None if e.limits.memory_gib is None else int(e.limits.memory_gib * 2**30)

    def within(seconds: float, *, may_linger: bool = False) -> Call:
        limits = ChildLimits(
            log=run.log,
            timeout_s=seconds,
            memory_bytes=memory,
            command_pid=machine.command_pid(),
            may_linger=may_linger,
        )
        return partial(call, limits)

    if not e.hardware.isolated:
        return StageCalls(build=inline, compile=inline, measure=within(e.limits.measure_timeout_s))
    return StageCalls(
        build=within(e.limits.build_timeout_s),
        compile=within(e.limits.compile_timeout_s),
        # A CPU's cores are free before its child is; of another device the next child needs the memory.
        measure=within(e.limits.measure_timeout_s, may_linger=e.hardware.kind == "cpu"),
    )

"""Where the children of a grid come from: a server that imports their libraries while this process plans."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from benchmark.cell import Excluded
from benchmark.config import Experiment
from benchmark.foreign import Interpreters
from benchmark.paths import CampaignPaths


def start(experiments: Sequence[Experiment], excluded: tuple[Excluded, ...] = ()) -> int:
    """Run a grid; the libraries of its children load while this process loads its own and plans."""
    forkserver = interpreters(experiments)
    if any(map(_can_run, _distinct(experiments))) and not _is_finished(experiments[0]):
        forkserver.start()
    try:
        from benchmark.cli.run import run_grid

        return run_grid(experiments, excluded, forkserver)
    finally:
        forkserver.close()


def interpreters(experiments: Iterable[Experiment]) -> Interpreters:
    """The children's servers: of this interpreter, and of those that compilers name."""
    of: dict[str | None, list[Experiment]] = {}
    for e in _distinct(experiments):
        of.setdefault(e.compiler.python, []).append(e)
    modules = {python: preload(those) for python, those in of.items()}
    return Interpreters(modules.pop(None, set()), {str(python): those for python, those in modules.items()})


def preload(experiments: Iterable[Experiment]) -> set[str]:
    """Modules that the children will need; the server imports them once for all."""
    modules = {f"benchmark.stages.{stage}" for stage in ("build", "compile", "measure", "peak")}
    for e in filter(_can_run, _distinct(experiments)):
        modules.update(type(plugin).__module__ for plugin in (e.task, e.compiler, e.hardware, e.scenario))
        modules.update(() if e.hardware.simulated else (*e.task.preload, *e.compiler.preload))
    return modules


def _distinct(experiments: Iterable[Experiment]) -> Iterable[Experiment]:
    """One experiment for each combination of plug-ins."""
    return {(id(e.task), id(e.compiler), id(e.hardware), id(e.scenario)): e for e in experiments}.values()


def _can_run(e: Experiment) -> bool:
    possible = e.hardware.isolated and e.hardware.kind in e.compiler.runs_on
    return possible and (e.needs_no_device or e.hardware.missing() is None)


def _is_finished(e: Experiment) -> bool:
    """Whether this campaign has left nothing to run when it ran here last: then probably nothing will."""
    with suppress(OSError, ValueError, KeyError):
        state = json.loads(CampaignPaths(folder=Path(e.output_folder)).progress.read_bytes())
        return state["state"] == "done" and state["remaining"] == 0 and e.run in {"missing", "stale"}
    return False

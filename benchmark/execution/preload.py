"""The servers that a grid's children are forked from, and the modules that they load beforehand."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.config.experiment import Experiment
from benchmark.execution.interpreters import Interpreters
from benchmark.execution.server_connection import CORE, keep_warm_s

_SERVING = ("benchmark.stages.serve",)
_TRAINING = ("benchmark.stages.train", "benchmark.training.loop")


def interpreters(experiments: Iterable[Experiment]) -> Interpreters:
    """Servers of this interpreter and of those that compilers name; the caller closes them."""
    of: dict[str | None, list[Experiment]] = {}
    for e in distinct(experiments):
        of.setdefault(e.compiler.python, []).append(e)
    here = of.get(None, [])
    needs_core = any(can_run(e) and not e.hardware.simulated for e in here)
    modules = {python: preload(those) for python, those in of.items()}
    return Interpreters(
        modules.pop(None, set()),
        {str(python): those for python, those in modules.items()},
        core=CORE if needs_core else (),
        keep_warm_s=keep_warm_s(here[0].launcher.keep_warm_s) if here else 0,
    )


def preload(experiments: Iterable[Experiment]) -> set[str]:
    """Modules that the children need; the server imports them once."""
    modules = {f"benchmark.stages.{stage}" for stage in ("build", "compile", "measure", "peak", "seek")}
    for e in filter(can_run, distinct(experiments)):
        modules.update(type(plugin).__module__ for plugin in (e.task, e.compiler, e.hardware, e.scenario))
        modules.update(() if e.hardware.simulated else (*e.task.preload, *e.compiler.preload))
        modules.update(_TRAINING if e.scenario.training else ())
        modules.update(_SERVING if e.scenario.serving else ())
        if e.scenario.labelled and e.dataset:
            modules.update(
                ("benchmark.stages.items", "benchmark.labelled.questions", type(e.dataset).__module__)
            )
    return modules


def distinct(experiments: Iterable[Experiment]) -> Iterable[Experiment]:
    """One experiment for each combination of plug-ins."""
    return {
        (id(e.task), id(e.compiler), id(e.hardware), id(e.scenario), id(e.dataset)): e for e in experiments
    }.values()


def can_run(e: Experiment) -> bool:
    """Whether the cell needs child processes that this host can start."""
    possible = e.in_children and e.hardware.kind in e.compiler.runs_on
    return possible and (e.needs_no_device or e.hardware.missing() is None)

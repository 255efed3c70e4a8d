"""`model`: write the YAML of a model from its configuration, and check one."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import typer

from benchmark.cell import cell_of
from benchmark.cli.model_tasks import (
    as_model,
    chosen_class,
    count,
    ordered,
    possible_tasks,
    small_shape,
    tried_small,
)
from benchmark.cli.model_yaml import text_of
from benchmark.cli.start import start
from benchmark.config.experiment import Experiment
from benchmark.config.folder import CONF, options
from benchmark.config.sweep import grid
from benchmark.errors import ConfigError, LibraryMissing
from benchmark.host import machine
from benchmark.models import architectures
from benchmark.models.transformers_task import TransformersTask
from benchmark.protocols import Task
from benchmark.records import Model
from benchmark.report.display.table import print_table
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.stages.plan import refuse

app = typer.Typer(
    help="Write the YAML of a model, and check one.", no_args_is_help=True, add_completion=False
)

_MISMATCH = 2
"""Exit code of `check` where the YAML states another number of parameters."""
_TINY_RUN = (
    "batch=1", "seq_len=16", "input_length=8", "output_length=2", "steps=2", "sampling=quick",
    "campaign=check",
    "sampling.max_calls=2", "sampling.min_calls=1", "sampling.min_s=0", "sampling.warmup_s=0",
)  # fmt: skip


@app.command()
def new(  # noqa: PLR0913, PLR0917 - its options
    source: Annotated[
        str | None,
        typer.Argument(metavar="HUB_ID|FOLDER", help="What has the config.json.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: that of its source.")] = None,
    task: Annotated[str | None, typer.Option(help="Its usual task. Default: by its class.")] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Gets model/NAME.yaml. Default: conf/ of this program.", show_default=False
        ),
    ] = CONF,
    revision: Annotated[str | None, typer.Option(help="Commit of the hub repository. Default: main.")] = None,
    architecture: Annotated[
        str | None, typer.Option(metavar="MODEL_TYPE", help="The default configuration of an architecture.")
    ] = None,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Make a small twin: few layers, small sizes.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the YAML that is there.")] = False,
) -> None:
    """Write the YAML of a model from a config.json, in a folder or on the hub.

    It states fields that differ from transformers' defaults, and parameters by task.
    Nothing but the configuration is downloaded.
    """
    if (source is None) == (architecture is None):
        raise ConfigError("model new: give a folder or a hub id, or --architecture MODEL_TYPE")
    found = _found(source, architecture, revision)
    name = name or _derived(found.origin, shrink=shrink)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ConfigError(f"--name {name}: should be letters, digits, _ and -")
    file = out / "model" / f"{name}.yaml"
    if file.exists() and not force:
        raise ConfigError(f"{file}: is there already: add --force to overwrite it, or choose another --name")
    counted = _counted_model(found, name, task, shrink=shrink)
    text = text_of(
        comment=f"{found.comment}{', made small' if shrink else ''}.",
        task=counted.task,
        name=name,
        hub_id=found.hub_id,
        revision=getattr(found.config, "_commit_hash", None) if found.hub_id else None,
        image_size=None if counted.model.image_size else counted.image_size,
        parameters=counted.parameters,
        architecture=counted.model.architecture,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    _print(_report(file, found, counted, [] if out.resolve() == CONF else [_searched(out)]))


class _Found(NamedTuple):
    """A configuration, and where it was."""

    config: Any
    origin: str
    hub_id: str | None
    comment: str
    """What the YAML is, for its first line."""


class _Counted(NamedTuple):
    """A model, as its YAML will describe it."""

    model: Model
    parameters: Mapping[str, int]
    """By task; its usual task is the first."""
    image_size: int | None
    """Pixels that its small twin was called with."""
    note: str | None
    """Why its small twin can't be called."""

    @property
    def task(self) -> str:
        return next(iter(self.parameters))


def _found(source: str | None, architecture: str | None, revision: str | None) -> _Found:
    from importlib.metadata import version

    from benchmark.models import description

    description.quiet()
    if architecture is not None:
        made = f"The default {architecture} of transformers {version('transformers')}"
        return _Found(description.default_configuration(architecture), architecture, None, made)
    config, origin = description.read_configuration(str(source), revision), str(source)
    folder = Path(origin)
    name, hub_id = (folder.resolve().name, None) if folder.is_dir() else (origin, origin)
    return _Found(config, origin, hub_id, f"The {config.model_type} of {name}")


def _counted_model(found: _Found, name: str, task: str | None, *, shrink: bool) -> _Counted:
    """Choose the tasks that can call the model, and count its parameters for each.

    Raises:
        ConfigError: no task takes it, or not the wanted one; it has no small twin.
    """
    from benchmark.models import yaml_fields

    config, own_class = found.config, chosen_class(found.config)
    model = as_model(name, {**yaml_fields.architecture_of(config), **own_class})
    possible = ordered(task, possible_tasks(model), model, config.architectures or ())
    tried = tried_small(possible, config)
    never = tried.reasons.keys() == possible.keys()  # then it may be the twin that doesn't work
    if shrink and never:
        first, reason = next(iter(tried.reasons.items()))
        raise ConfigError(f"{found.origin}: its small twin can't be called with task={first}: {reason}")
    if shrink:
        model = as_model(name, {**tried.architecture, **own_class})
    if not never:
        possible = {other: one for other, one in possible.items() if other not in tried.reasons}
    counts, failed = count(possible, model)
    refused = {**failed, **({} if never else tried.reasons)}
    if not counts or (task is not None and task not in counts):
        raise ConfigError(
            f"--task {task}: {refused[task]}" if task in refused else "\n".join(failed.values())
        )
    chosen = next(iter(counts))
    edge = small_shape(possible[chosen], model).image_size
    return _Counted(model, counts, edge, tried.reasons[chosen] if never else None)


def _report(file: Path, found: _Found, counted: _Counted, searched: Sequence[str]) -> list[str]:
    """What was written, and what to do next."""
    counts, task = counted.parameters, counted.task
    others = ", ".join(f"{other} {counts[other]}" for other in counts if other != task)
    lines = [f"{file}: a {found.config.model_type} with {counts[task]} parameters for task={task}"]
    lines += [f"other tasks: {others}"] if others else []
    if found.config.to_dict().get("quantization_config"):
        lines.append("its quantization_config is left out: weights are fp32 here")
    if counted.note:
        lines.append(f"a small copy of this model failed, so the model may fail too: {counted.note}")
    name = counted.model.name
    return [
        *lines,
        " ".join([machine.program(), "model check", name, *searched]),
        " ".join([machine.program(), f"model={name}", "compiler=eager", *searched]),
    ]


def _searched(folder: Path) -> str:
    return f"'hydra.searchpath=[file://{folder.resolve()}]'"


def _derived(origin: str, *, shrink: bool) -> str:
    """A name for a model from that of its folder, repository or architecture."""
    last = Path(origin).resolve().name if Path(origin).is_dir() else origin.rstrip("/").rpartition("/")[2]
    return re.sub(r"\W+", "_", last).strip("_").lower() + ("_tiny" if shrink else "")


def _print(lines: Sequence[str]) -> None:
    console = Screen()
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def check(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of conf/model or of a search path.")],
    compile_: Annotated[
        bool,
        typer.Option("--compile", help="Try every compiler that takes it: two calls of the smallest cell."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Show what is known of a model before it runs: parameters, inputs, limits, tasks, compilers.

    Takes the overrides of a run too, behind NAME. Networks are built without memory.
    Exit code 2: the YAML states another number of parameters.
    """
    words = list(context.args)
    cells = grid([f"model={name}", f"compiler={','.join(options('compiler'))}", *words])
    e = cells[0]
    findings = _findings(e, cells)
    if as_json:
        say(json.dumps(findings, indent=2))
    else:
        _show(findings)
    wrong = any(one["stated"] not in {None, one["parameters"]} for one in findings["tasks"])
    if compile_:
        taking = [one["name"] for one in findings["compilers"] if one["takes"] == "yes"]
        with tempfile.TemporaryDirectory() as folder:
            places = [f"{key}={folder}/{key}" for key in ("store.root", "cache.root", "output_folder")]
            code = start(grid([f"model={name}", f"compiler={','.join(taking)}", *_TINY_RUN, *places, *words]))
        return code or (_MISMATCH if wrong else 0)
    return _MISMATCH if wrong else 0


def _findings(e: Experiment, cells: Sequence[Experiment]) -> dict[str, Any]:
    """What `check` shows: `e` is the first of the cells, which differ in their compiler."""
    from benchmark.models import description

    description.quiet()
    model = e.model
    shape = cell_of(e).shape
    inputs = description.inputs(e.task, model, shape)
    return {
        "model": model.name,
        "file": model.file,
        "architecture": model.architecture.get("model_type") or model.architecture.get("pipeline"),
        "task": e.task.name,
        "batch": e.batch,
        "inputs": inputs,
        "limits": _limits(model, e.task),
        "tasks": _parameters(e),
        "hardware": e.hardware.name,
        "compilers": [_compiler(cell) for cell in cells if cell.compiler.name != "simulated"],
    }


def _limits(model: Model, task: Task) -> list[dict[str, Any]]:
    """Largest lengths and usual sizes of the task's axes, and the fields that say so."""
    axes, limits = task.axes_of(model), []
    lengths = [axis for axis in axes if axis.endswith("length")]
    if lengths:
        most = model.max_sequence_length
        said = architectures.explain_limit(model.architecture, most) if most else "nothing states a limit"
        limits.append({"name": "tokens", "most": most, "field": said})
    if "image_size" in axes:
        own = architectures.edge_and_field(model.architecture)
        by_field = own is not None and own[0] == model.image_size
        said = (
            own[1]
            if own and by_field
            else "image_size of the YAML"
            if model.image_size
            else "nothing states it"
        )
        limits.append({"name": "pixels", "most": model.image_size, "field": said})
    return limits


def _parameters(e: Experiment) -> list[dict[str, Any]]:
    """For each task that takes the model: its parameters, those of the YAML, and megabytes."""
    from benchmark.models import description

    model = e.model
    if isinstance(e.task, TransformersTask):
        possible = possible_tasks(model)
        tried = tried_small(possible, description.configuration(model))
        if len(tried.reasons) < len(possible):
            possible = {name: task for name, task in possible.items() if name not in tried.reasons}
        counts, _ = count(possible, model)
    else:
        counts = {e.task.name.replace("-", "_"): description.pipeline_parameters(model)}
    return [
        {
            "name": task,
            "parameters": count,
            "stated": model.parameters.get(task),
            "fp32_mb": 4 * count / 1e6,
            "bf16_mb": 2 * count / 1e6,
        }
        for task, count in counts.items()
    ]


def _compiler(e: Experiment) -> dict[str, Any]:
    """Whether a compiler takes the model on this hardware, as `plan` knows it."""
    missing = None
    if e.hardware.kind in e.compiler.runs_on:
        refusal = refuse(cell_of(e))
    else:
        refusal = f"runs on {' or '.join(sorted(e.compiler.runs_on))} only"
    if refusal is None:
        try:
            e.compiler.versions()
        except LibraryMissing as error:
            missing = str(error)
    takes = "no" if refusal else "not here" if missing else "yes"
    return {"name": e.compiler.name, "takes": takes, "reason": refusal or missing or ""}


def _show(findings: Mapping[str, Any]) -> None:
    """Print what `check` found, in four short tables."""
    _print([f"{findings['model']}: a {findings['architecture']}, {_short(findings['file'])}"])
    tables = {
        "tasks": {
            "parameters": "parameters",
            "stated": "in YAML",
            "fp32_mb": "fp32 MB",
            "bf16_mb": "bf16 MB",
        },
        "inputs": {"dtype": "dtype", "shape": "shape"},
        "limits": {"most": "most", "field": "by"},
        "compilers": {"takes": "takes it", "reason": "reason"},
    }
    titles = {
        "tasks": "task",
        "inputs": f"input of {findings['task']}",
        "limits": "limit",
        "compilers": f"compiler, {findings['hardware']}",
    }
    for part, columns in tables.items():
        rows = [
            {titles[part]: one["name"], **{title: _text(one[key]) for key, title in columns.items()}}
            for one in findings[part]
        ]
        if rows:
            say()
            print_table(pd.DataFrame(rows), console=Screen())


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.0f}" if isinstance(value, float) else str(value)


def _short(file: str | None) -> str:
    """A file as seen from the working folder."""
    path = Path(file or "")
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

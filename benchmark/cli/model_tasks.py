"""Which tasks can call a model, tried with a small twin of it, and its parameters for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmark.config.folder import file_of, load_object, options
from benchmark.errors import BenchmarkError, ConfigError
from benchmark.models import architectures
from benchmark.models.transformers_task import TransformersTask
from benchmark.protocols import Task
from benchmark.records import Model, Shape
from benchmark.spelling import did_you_mean

_FIRST = (
    "automatic_speech_recognition", "text2text_generation", "zero_shot_image_classification",
    "object_detection", "image_classification", "image_segmentation", "video_classification",
    "document_classification", "text_generation", "text_classification",
)  # fmt: skip
"""Tasks by how likely an architecture is used for them; others follow by name."""
_SMALL = {"sequence_length": 16, "input_length": 8, "output_length": 4, "image_size": 224, "steps": 2}


def chosen_class(config: Any) -> dict[str, list[str]]:
    """Which class, where an Auto class has several for the architecture."""
    several = {
        name
        for auto_class in architectures.auto_classes_of(config.model_type)
        if len(classes := architectures.classes_of({"model_type": config.model_type}, auto_class)) > 1
        for name in classes
    }
    named = [name for name in config.architectures or () if name in several]
    return {"architectures": named} if named else {}


def as_model(name: str, architecture: Mapping[str, Any]) -> Model:
    """The model as its YAML will describe it."""
    return Model(
        name=name,
        architecture=architecture,
        max_sequence_length=architectures.most_tokens(architecture),
        image_size=architectures.image_edge(architecture),
    )


def _tasks() -> dict[str, TransformersTask]:
    """Every task whose models transformers builds, the likeliest first."""
    names = sorted(options("task"), key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    made = {name: load_object(file_of("task", name), Task) for name in names}  # type: ignore[type-abstract]
    return {name: task for name, task in made.items() if isinstance(task, TransformersTask)}


def small_shape(task: Task, model: Model) -> Shape:
    """A small shape of one call."""
    sizes = {axis: _SMALL[axis] for axis in task.axes_of(model)}
    most = model.max_sequence_length or _SMALL["sequence_length"]
    if "sequence_length" in sizes:
        sizes["sequence_length"] = min(sizes["sequence_length"], most)
    if "image_size" in sizes:
        sizes["image_size"] = model.image_size or sizes["image_size"]
    return Shape(batch_size=1, **sizes)


def possible_tasks(model: Model) -> dict[str, TransformersTask]:
    """Tasks that take the model.

    Raises:
        ConfigError: none does.
    """
    tasks = _tasks()
    reasons = {name: task.refuse(model, small_shape(task, model)) for name, task in tasks.items()}
    if possible := {name: task for name, task in tasks.items() if reasons[name] is None}:
        if "fill_mask" in possible and not architectures.value(model.architecture, "is_decoder"):
            possible.pop("text_generation", None)  # encoders have the class too, for pairs of two of them
        return possible
    model_type = model.architecture["model_type"]
    classes = architectures.auto_classes_of(model_type)
    near = [
        f"{name}: {reason}"
        for name, reason in reasons.items()
        if reason and tasks[name].auto_class in classes
    ]
    if not near:
        has = (
            f"transformers has {', '.join(classes)} for it"
            if classes
            else "transformers has no Auto class for it: it is a part of other models"
        )
        near = [has]
    raise ConfigError(f"no task here takes a {model_type}\n" + "\n".join(near[:2]))


def ordered(
    wanted: str | None, possible: Mapping[str, TransformersTask], model: Model, classes: Sequence[str]
) -> dict[str, TransformersTask]:
    """The tasks; first the wanted one, else those of the class that the configuration names.

    Raises:
        ConfigError: the wanted task doesn't take the model.
    """
    if wanted is not None and wanted not in possible:
        hint = did_you_mean(wanted, possible) if wanted not in options("task") else ""
        raise ConfigError(f"--task {wanted}: choose {', '.join(possible)}; {hint}".removesuffix("; "))

    def place(name: str) -> tuple[bool, bool]:
        own = architectures.classes_of(model.architecture, possible[name].auto_class)
        return name != wanted, not {*classes}.intersection(own)

    return {name: possible[name] for name in sorted(possible, key=place)}


class Tried(NamedTuple):
    """Calls of a small twin."""

    architecture: Mapping[str, Any]
    reasons: Mapping[str, str]
    """Why it can't be called, by task."""


def tried_small(tasks: Mapping[str, TransformersTask], config: Any) -> Tried:
    """Call a small twin of the model with the inputs of each task."""
    from benchmark.models import twin

    reasons: dict[str, str] = {}
    waiting, architecture = dict(tasks), None
    for name, task in tasks.items():
        made = twin.shrunk(config, partial(_call, task))
        waiting.pop(name)
        architecture = architecture or made.architecture
        if made.reason is None:
            architecture = made.architecture
            break
        reasons[name] = made.reason
    assert architecture is not None  # noqa: S101 - there is a task
    for name, task in waiting.items():
        if reason := twin.refused(architecture, partial(_call, task)):
            reasons[name] = reason
    return Tried(architecture, reasons)


def _call(task: TransformersTask, architecture: Mapping[str, Any]) -> None:
    """Call the model once, in this process.

    Raises:
        BenchmarkError: the task or the model refuses it, or a library is missing.
    """
    from benchmark.models import description

    model = as_model("twin", architecture)
    shape = small_shape(task, model)
    if reason := task.refuse(model, shape):
        raise ConfigError(reason)
    description.call(task.auto_class, model, task.inputs(model, shape, 0))


def count(tasks: Mapping[str, TransformersTask], model: Model) -> tuple[dict[str, int], dict[str, str]]:
    """Parameters by task, and the reasons of tasks whose class can't be built."""
    from benchmark.models import description

    counts, failed = {}, {}
    for name, task in tasks.items():
        try:
            counts[name] = description.parameters(task.auto_class, model)
        except BenchmarkError as error:
            failed[name] = str(error)
    return counts, failed

"""The gate for configuration: untyped YAML in, a frozen typed Experiment or a ConfigError out.

Modules behind it don't import omegaconf.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SkipValidation, ValidationError

from benchmark.config.folder import read_from, search_path
from benchmark.config.mistakes import ELSEWHERE, name_for_a_section, sentence, spelled, unknown
from benchmark.config.plugins import TARGET, plugin_class, stray
from benchmark.errors import ConfigError
from benchmark.host.packages import SCHEME, located
from benchmark.models.architectures import image_edge, most_tokens
from benchmark.precision import Tolerance
from benchmark.protocols import Compiler, Dataset, Device, Scenario, Task
from benchmark.records import Model, Sampling, frozen

T = TypeVar("T")

_PLUGINS = {"task": Task, "hardware": Device, "compiler": Compiler, "scenario": Scenario, "dataset": Dataset}
"""Keys whose YAML names a class by `_target_`, and the protocol that the class must satisfy."""
_MAY_BE_NULL = frozenset({"dataset"})
_TARGETS = frozenset(f"{slot}.{TARGET}" for slot in _PLUGINS)
CAMPAIGN = r"^\w[\w.,:+=@-]*$"
"""A campaign's name is the name of its folder too."""
MOST_OF_CAMPAIGN = 120
ALGEBRA = ("pair", "include", "exclude")
"""Keys that add cells to the product of a grid's axes or remove some. The sweeper reads them."""
NOT_OF_A_CELL = frozenset({"hydra", *ALGEBRA})
"""Keys of a composed configuration that don't describe a cell."""


@frozen
class Verify:
    """When the outputs of a compiled model count as right."""

    min_cosine: Annotated[Mapping[Tolerance, Annotated[float, Field(ge=-1, le=1)]], Field(min_length=5)]
    """Least cosine similarity to the fp32 reference, by the least exact arithmetic that is allowed."""
    max_relative_error: Annotated[Mapping[Tolerance, PositiveFloat], Field(min_length=4)]
    """Greatest error, relative to the distance between the reference's answers to different inputs."""
    min_difference_cosine: Mapping[Tolerance, Annotated[float, Field(ge=-1, le=1)]] = Field(
        default_factory=dict
    )
    """Least cosine between differences of answers, ours and the reference's, which are those to two inputs.
    It decides in place of the error for the arithmetic that it names."""


@frozen
class AccuracyLimits:
    """What the measured accuracy of a compiled model must keep."""

    relative_floor: Annotated[float, Field(gt=0, le=1)] | None
    """Least share of the fp32 reference's figure, as MLPerf's 0.99; null: none. Only a model whose whole 95 %
    interval lies below fails."""


@frozen
class ProcessLimits:
    """What each child process of a run may use."""

    build_timeout_s: PositiveFloat
    compile_timeout_s: PositiveFloat
    measure_timeout_s: PositiveFloat
    memory_gib: PositiveFloat | None
    """Private memory of one child, without its imports; null: no limit but the kernel's."""


@frozen
class LauncherOptions:
    """Options of this project's launchers."""

    compile_workers: PositiveInt | None
    """Cells built and compiled at a time; null: one per core and per 8 GiB of memory."""
    keep_warm_s: NonNegativeFloat | None
    """How long the server of children waits for later commands; null: 300 s at a terminal, else 0."""
    address: str | None
    """Of the Ray cluster, for hydra/launcher=ray; null: RAY_ADDRESS, else the cluster with a node here."""
    wait_s: NonNegativeFloat
    """How long hydra/launcher=ray waits for a node with hardware that none offers."""


@frozen
class Budget:
    """What a command may use. It stops between cells, and the same command resumes."""

    hours: PositiveFloat | None
    usd: PositiveFloat | None
    usd_per_hour: NonNegativeFloat | None
    """Price of the machine; null: the newest on-demand price of the cell's instance type."""


@frozen
class StorePlace:
    """Where rows are kept."""

    root: Annotated[str, Field(min_length=1)]


@frozen
class CachePlaces:
    """Where cache entries are kept."""

    root: Annotated[str, Field(min_length=1)]
    remote: Annotated[str, Field(pattern=r"^(s3|gs|az)://[^/@?]+/[^@?#]+$")] | None = None
    """A bucket that hosts share: what the folder lacks is taken from there, and what is built goes there."""


@frozen
class Experiment:
    """One resolved configuration: what to measure, how, and where the results go."""

    model: Model
    task: Annotated[Task, SkipValidation]  # the gate checks plug-ins once for all cells of a grid
    hardware: Annotated[Device, SkipValidation]
    compiler: Annotated[Compiler, SkipValidation]
    scenario: Annotated[Scenario, SkipValidation]
    sampling: Sampling
    dataset: Annotated[Dataset | None, SkipValidation]
    """Labelled data, for scenarios that answer them; others ignore it, likewise the field below."""
    head: Literal["none", "linear_probe"]
    """none: the model's own answers are its classes; linear_probe: classes from the features of an encoder,
    by logistic regression fitted on the data set's other items."""
    batch: PositiveInt
    seq_len: PositiveInt
    """Tokens of one item. Models without this axis ignore it, likewise the fields below."""
    input_length: PositiveInt
    """Tokens of the prompt of a generation."""
    output_length: PositiveInt
    """Tokens that are generated."""
    image_size: PositiveInt | None
    """Pixels along an edge; null: the size of the model."""
    steps: PositiveInt
    """Denoising steps of a diffusion model."""
    inputs: Literal["random", "real"]
    """Seeded noise, or real texts and photographs."""
    weights: Annotated[str, Field(min_length=1)]
    """random, pretrained, a local folder that `save_pretrained` wrote, or a GGUF file."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    verify: Verify
    accuracy: AccuracyLimits
    limits: ProcessLimits
    launcher: LauncherOptions
    budget: Budget
    campaign: Annotated[str, Field(pattern=CAMPAIGN, max_length=MOST_OF_CAMPAIGN)]
    run: Literal["missing", "failed", "stale", "all"]
    """Which cells to run: without a row in the campaign; these and its failed ones; without a row of the
    present environment in any campaign; or all."""
    stage: Literal["compile", "measure"]
    """The last stage. `compile` only fills the cache, also for a device that this host doesn't have."""
    store_root: str
    cache_root: str
    cache_remote: str | None
    output_folder: str
    environment: Annotated[Mapping[str, str], SkipValidation]
    """Environment variables of its processes: `hydra.job.env_set`. The row has them all."""
    overrides: tuple[str, ...]
    """What the command line or the axes of the experiment changed, for the row."""
    composed: Annotated[Mapping[str, Any], SkipValidation]
    """The composed configuration, for the row. Cells of a grid share its sections."""

    @property
    def read_data(self) -> Dataset | None:
        """The data set that its scenario reads, if any."""
        return self.dataset if self.scenario.labelled or self.scenario.training else None

    @property
    def labelled_data(self) -> Dataset:
        """The data set of a labelled scenario: the plan refuses one without."""
        assert self.dataset is not None  # noqa: S101 - refused
        return self.dataset

    @property
    def in_children(self) -> bool:
        """Whether it is measured in child processes; what starts processes of its own is, on every device."""
        starts_processes = self.scenario.serving is not None or bool(self.scenario.variants(1))
        return self.hardware.isolated or starts_processes

    @property
    def needs_no_device(self) -> bool:
        """Whether it only compiles, for a device that the compiler knows by name."""
        return self.stage == "compile" and self.hardware.facts().target is not None

    @property
    def resolved(self) -> str:
        """The composed configuration as JSON."""
        return json.dumps(self.composed, sort_keys=True)


_SECTIONS: Mapping[str, type] = {
    "model": Model,
    "sampling": Sampling,
    "verify": Verify,
    "accuracy": AccuracyLimits,
    "limits": ProcessLimits,
    "launcher": LauncherOptions,
    "budget": Budget,
    "store": StorePlace,
    "cache": CachePlaces,
}
_PLAIN_FIELDS = [
    str(field.name)
    for field in fields(Experiment)
    if field.name not in {*_SECTIONS, *_PLUGINS, *ELSEWHERE, "environment", "overrides", "composed"}
]
"""Fields of an experiment whose values stand at the top level of the YAML."""


def load(
    cfg: DictConfig, overrides: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> Experiment:
    """Type a composed configuration.

    Raises:
        ConfigError: every mistake, one per line, each with its full key and the allowed values.
    """
    folders = search_path(HydraConfig.get()) if HydraConfig.initialized() else ()
    return Gate(folders).experiment(plain(cfg), overrides, environment)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration into plain values, without the keys of Hydra and the sweeper.

    Raises:
        ConfigError: an interpolation can't be resolved, or a mandatory value is missing.
    """
    try:
        return {str(key): _plain(cfg[key]) for key in cfg if key not in NOT_OF_A_CELL}
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error


def variables(env_set: DictConfig) -> dict[str, str]:
    """Resolve `hydra.job.env_set`.

    Raises:
        ConfigError: an interpolation can't be resolved.
    """
    try:
        return {str(name): str(value) for name, value in env_set.items()}
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error


class Gate:
    """Types the configurations of a grid. Sections that are the same object are typed once."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        """`folders` is the search path of the YAMLs, for messages."""
        self._folders = folders
        self._known: dict[tuple[str, int], tuple[Any, Any]] = {}
        """(slot, id of its YAML) to (typed object, YAML). Keeping the YAML keeps its id from being reused."""

    def experiment(
        self,
        raw: Mapping[str, Any],
        overrides: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Experiment:
        """Type what `plain` returned.

        Raises:
            ConfigError: as `load`.
        """
        new = {key: value for key, value in raw.items() if (key, id(value)) not in self._known}
        mistakes = [*_unknown_keys(raw), *_infinite(new), *stray(new, but=_TARGETS)]
        made: dict[str, Any] = {
            "environment": environment or {},
            "overrides": tuple(overrides),
            "composed": raw,
        }
        for section, kind in _SECTIONS.items():
            typed = partial(_model, self._folders) if kind is Model else partial(_section, kind, section)
            made[section] = self._once(section, raw.get(section), partial(typed, mistakes))
        absent = {slot for slot in _MAY_BE_NULL if raw.get(slot) is None}
        for slot, seam in _PLUGINS.items():
            typed_plugin = partial(_plugin, slot, seam, mistakes)
            made[slot] = None if slot in absent else self._once(slot, raw.get(slot), typed_plugin)
        mistakes += _too_many_processes(made["sampling"], made["overrides"])
        store, cache = made.pop("store"), made.pop("cache")
        made["store_root"] = _normal(store.root) if store else None
        made["cache_root"] = _normal(cache.root) if cache else None
        made["cache_remote"] = cache.remote if cache else None
        made |= {name: raw[name] for name in _PLAIN_FIELDS if name in raw}
        if isinstance(weights := made.get("weights"), str):
            made["weights"] = str(located(weights)) if weights.startswith(SCHEME) else weights
        if isinstance(folder := made.get("output_folder"), str):
            made["output_folder"] = _normal(folder)
        failed = {name for name in [*_SECTIONS, *_PLUGINS, *ELSEWHERE] if made.get(name) is None} - absent
        experiment = _typed(Experiment, made, "", mistakes, reported=failed)
        if mistakes:
            raise ConfigError("\n".join(mistakes))
        assert experiment is not None  # noqa: S101 - no mistakes, so it was built
        return experiment

    def _once(self, slot: str, raw: Any, typed: Callable[[Any], Any]) -> Any:
        if known := self._known.get((slot, id(raw))):
            return known[0]
        made = typed(raw)
        if made is not None:
            self._known[slot, id(raw)] = (made, raw)
        return made


def _normal(place: str) -> str:
    """A path without needless dots; a URL as it is."""
    return place if "://" in place else os.path.normpath(place)


def _section(kind: type[T], section: str, mistakes: list[str], raw: Any) -> T | None:
    return _typed(kind, raw, section, mistakes)


def _model(folders: Sequence[Path], mistakes: list[str], raw: Any) -> Model | None:
    """A model; limits that its YAML doesn't state are those of its configuration in transformers."""
    if isinstance(raw, Mapping) and "file" in raw:
        mistakes.append("model.file: unknown key; this program fills it in")
    model = _typed(Model, raw, "model", mistakes)
    if model is None:
        return None
    limit, architecture = model.max_sequence_length, model.architecture
    return replace(
        model,
        max_sequence_length=limit if "max_sequence_length" in raw else most_tokens(architecture),
        image_size=model.image_size or image_edge(architecture),
        file=str(read_from(folders, "model", model.name)),
    )


def _plain(node: Any) -> Any:
    is_container = OmegaConf.is_config(node)
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if is_container else node


def _unknown_keys(raw: Mapping[str, Any]) -> Iterator[str]:
    known = [*_PLUGINS, *_SECTIONS, *_PLAIN_FIELDS]
    for key in raw:
        if key == "experiment":
            yield "experiment: its YAML sets nothing: let it begin with the line `# @package _global_`"
        elif key not in known:
            yield unknown(key, key, known)


def _infinite(raw: Any, key: str = "") -> Iterator[str]:
    """Refuse numbers that JSON can't express, at any depth."""
    if isinstance(raw, float) and not math.isfinite(raw):
        yield f"{key}={raw}: should be a finite number"
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for name, value in items:
        yield from _infinite(value, f"{key}.{name}" if key else str(name))


def _too_many_processes(sampling: Sampling | None, overrides: Iterable[str]) -> Iterator[str]:
    """Refuse more processes at least than at most, where they were asked for.

    `sampling.repeats=1` alone is meant as it stands, though a YAML's minimum is greater.
    """
    asked = any(word.lstrip("+").startswith("sampling.min_repeats=") for word in overrides)
    if sampling and asked and sampling.min_repeats > sampling.repeats:
        yield (
            f"sampling.min_repeats={sampling.min_repeats}: is above sampling.repeats={sampling.repeats}: "
            "lower this, or raise that"
        )


def _plugin(key: str, seam: type, mistakes: list[str], raw: Any) -> Any:
    """Object of the class that `_target_` names; the other keys of the YAML are its fields."""
    if not isinstance(raw, dict) or not isinstance(raw.get("_target_"), str):
        mistakes.append(name_for_a_section(key, raw, "a mapping with a `_target_`"))
        return None
    target = raw["_target_"]
    try:
        kind = plugin_class(target, f"{key}._target_")
    except ConfigError as error:
        mistakes.append(str(error))
        return None
    answers = {name: value for name, value in vars(seam).items() if not name.startswith("_")}
    unfit = f"{key}._target_={target}: is no {seam.__name__}, see benchmark/protocols.py: it lacks "
    if absent := [
        name for name in answers if callable(answers[name]) and not callable(getattr(kind, name, None))
    ]:
        mistakes.append(unfit + ", ".join(absent))
        return None
    plugin = _typed(kind, {name: value for name, value in raw.items() if name != "_target_"}, key, mistakes)
    if plugin is not None and (absent := [name for name in answers if not hasattr(plugin, name)]):
        mistakes.append(unfit + ", ".join(absent))
        return None
    if plugin is not None and (unhashable := list(_unhashable(key, plugin))):
        mistakes.extend(unhashable)
        return None
    return plugin


def _unhashable(key: str, plugin: Any) -> Iterator[str]:
    """Refuse options that can't be part of a cell's identity, which hashes plug-ins."""
    if not is_dataclass(plugin):
        yield f"{key}._target_: {type(plugin).__name__} is no dataclass, so it has no options"
        return
    for field in fields(plugin):
        value = getattr(plugin, field.name)
        try:
            hash(value)
        except TypeError:
            kind = "mapping" if isinstance(value, Mapping) else type(value).__name__
            yield (
                f"{key}.{field.name}={spelled(value)}: is a {kind}; an option of a plug-in is a "
                "single value or a list, which its class declares as a tuple"
            )


def _typed(
    kind: type[T], raw: Any, prefix: str, mistakes: list[str], reported: Collection[str] = ()
) -> T | None:
    """Instance of `kind` from a mapping. Mistakes become sentences, except in `reported` fields."""
    if not isinstance(raw, Mapping):
        keys = ", ".join(f"{prefix}.{field.name}" for field in fields(kind))  # type: ignore[arg-type]
        mistakes.append(name_for_a_section(prefix, raw, f"a mapping; its keys: {keys}"))
        return None
    try:
        return kind(**raw)
    except ValidationError as invalid:
        errors = [error for error in invalid.errors() if error["loc"][0] not in reported]
        mistakes.extend(sentence(error, prefix, kind) for error in errors)
    except TypeError as error:  # a plug-in that isn't a pydantic dataclass
        mistakes.append(f"{prefix}: {error}")
    return None

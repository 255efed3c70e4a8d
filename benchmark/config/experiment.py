"""The one gate for configuration: untyped YAML in, a frozen typed Experiment or a ConfigError out.

After `load` no module imports omegaconf.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SkipValidation, ValidationError

from benchmark.errors import ConfigError
from benchmark.precision import Tolerance
from benchmark.protocols import Compiler, Device, Scenario, Task
from benchmark.records import Model, Sampling, frozen
from benchmark.spelling import did_you_mean

T = TypeVar("T")

_PLUGINS = {"task": Task, "hardware": Device, "compiler": Compiler, "scenario": Scenario}
"""Keys whose YAML names a class by `_target_`, and the seam it has to fit."""
ALGEBRA = ("pair", "include", "exclude")
"""Keys that say which cells a grid has beside the product of its axes: the sweeper reads them."""
NOT_OF_A_CELL = frozenset({"hydra", "experiment", *ALGEBRA})
"""Keys of a composed configuration that say nothing about a cell."""
_ELSEWHERE = {"store_root": "store.root", "cache_root": "cache.root"}
"""Fields of an experiment that YAML spells in a section."""


@frozen
class Verify:
    """When a compiled model's answers count as right."""

    min_cosine: Annotated[Mapping[Tolerance, Annotated[float, Field(ge=-1, le=1)]], Field(min_length=4)]
    """Least cosine to the fp32 reference, by the least exact arithmetic asked for: one for each."""


@frozen
class ProcessLimits:
    """What the children of a run may use."""

    build_timeout_s: PositiveFloat
    compile_timeout_s: PositiveFloat
    measure_timeout_s: PositiveFloat
    memory_gib: PositiveFloat | None
    """Private memory one child may take, its imports aside; null leaves it to the kernel."""


@frozen
class Launching:
    """How a grid is brought to run."""

    compile_workers: PositiveInt | None
    """Cells that are built and compiled at a time; null: one a core, as far as 8 GiB of memory each reach."""


@frozen
class Budget:
    """What a command may use; it stops between cells and the same command resumes."""

    hours: PositiveFloat | None
    usd: PositiveFloat | None
    usd_per_hour: NonNegativeFloat | None
    """Price of the machine; null takes the newest on-demand price of the cell's instance type."""


@frozen
class Place:
    """Where something is kept."""

    root: Annotated[str, Field(min_length=1)]


@frozen
class Experiment:
    """One resolved configuration: what to measure, how, and where the results go."""

    model: Model
    task: Annotated[Task, SkipValidation]  # the gate has checked the plug-ins, once for all cells of a grid
    hardware: Annotated[Device, SkipValidation]
    compiler: Annotated[Compiler, SkipValidation]
    scenario: Annotated[Scenario, SkipValidation]
    sampling: Sampling
    batch: PositiveInt
    seq_len: PositiveInt
    """Tokens; ignored by models without a sequence axis, as the following are by those without theirs."""
    input_length: PositiveInt
    """Tokens given to a generation."""
    output_length: PositiveInt
    """Tokens it makes."""
    image_size: PositiveInt | None
    """Pixels along an edge; null takes the model's own size."""
    steps: PositiveInt
    """Denoising steps of a diffusion."""
    inputs: Literal["random", "real"]
    """Seeded noise, or text and pictures as people make them."""
    weights: Annotated[str, Field(min_length=1)]
    """random, pretrained, or a local folder as `save_pretrained` writes it."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    verify: Verify
    limits: ProcessLimits
    launcher: Launching
    budget: Budget
    campaign: Annotated[str, Field(pattern=r"^\w[\w.,:+=@-]*$", max_length=120)]
    run: Literal["missing", "failed", "stale", "all"]
    """Which cells to run: those without a row in the campaign, also its failed ones, those without a row of
    the present environment in any campaign, or every one."""
    stage: Literal["compile", "measure"]
    """The last one that is wanted: compiled artefacts alone, for a device that may be elsewhere."""
    store_root: str
    cache_root: str
    output_folder: str
    overrides: tuple[str, ...]
    """What the user changed on the command line or an experiment swept, for the row."""
    composed: Annotated[Mapping[str, Any], SkipValidation]
    """The composed configuration, for the row. Cells of a grid share its sections."""

    @property
    def needs_no_device(self) -> bool:
        """Whether it only compiles, for a device that its compiler knows by name."""
        return self.stage == "compile" and self.hardware.facts().target is not None

    @property
    def resolved(self) -> str:
        """The composed configuration as JSON."""
        return json.dumps(self.composed, sort_keys=True)


_SECTIONS: Mapping[str, type] = {
    "model": Model,
    "sampling": Sampling,
    "verify": Verify,
    "limits": ProcessLimits,
    "launcher": Launching,
    "budget": Budget,
    "store": Place,
    "cache": Place,
}
_PLAIN_FIELDS = [
    str(field.name)
    for field in fields(Experiment)
    if field.name not in {*_SECTIONS, *_PLUGINS, *_ELSEWHERE, "overrides", "composed"}
]
"""Fields of an experiment that are values at the top of the YAML."""


def load(cfg: DictConfig, overrides: Iterable[str] = ()) -> Experiment:
    """Type a composed configuration.

    Raises:
        ConfigError: every mistake found, one a line, each with its full key and the allowed values.
    """
    return Gate().experiment(plain(cfg), overrides)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration into plain values; what is Hydra's or the sweeper's is left out.

    Raises:
        ConfigError: an interpolation that leads nowhere, a mandatory value that is missing.
    """
    try:
        return {str(key): _plain(cfg[key]) for key in cfg if key not in NOT_OF_A_CELL}
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error


class Gate:
    """Types the configurations of a grid. Sections that are the same object are typed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Any, Any]] = {}
        """(slot, id of its YAML) to what became of it; the YAML is kept too, so that its id stays its own."""

    def experiment(self, raw: Mapping[str, Any], overrides: Iterable[str] = ()) -> Experiment:
        """Type what `plain` returned.

        Raises:
            ConfigError: as `load`.
        """
        news = {key: value for key, value in raw.items() if (key, id(value)) not in self._known}
        mistakes = [*_unknown_keys(raw), *_infinite(news)]
        made: dict[str, Any] = {"overrides": tuple(overrides), "composed": raw}
        for section, kind in _SECTIONS.items():
            made[section] = self._once(section, raw.get(section), partial(_section, kind, section, mistakes))
        for slot, seam in _PLUGINS.items():
            made[slot] = self._once(slot, raw.get(slot), partial(_plugin, slot, seam, mistakes))
        for place in ("store", "cache"):
            made[f"{place}_root"] = getattr(made.pop(place), "root", None)
        made |= {name: raw[name] for name in _PLAIN_FIELDS if name in raw}
        failed = {name for name in [*_SECTIONS, *_PLUGINS, *_ELSEWHERE] if made.get(name) is None}
        experiment = _typed(Experiment, made, "", mistakes, told=failed)
        if mistakes:
            raise ConfigError("\n".join(mistakes))
        assert experiment is not None  # noqa: S101 - no mistakes, so it was built
        return experiment

    def _once(self, slot: str, raw: Any, typed: Callable[[Any], Any]) -> Any:
        if known := self._known.get((slot, id(raw))):
            return known[0]
        found = typed(raw)
        if found is not None:
            self._known[slot, id(raw)] = (found, raw)
        return found


def _section(kind: type[T], section: str, mistakes: list[str], raw: Any) -> T | None:
    return _typed(kind, raw, section, mistakes)


def _plain(node: Any) -> Any:
    is_container = OmegaConf.is_config(node)
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if is_container else node


def _unknown_keys(raw: Mapping[str, Any]) -> Iterator[str]:
    known = [*_PLUGINS, *_SECTIONS, *_PLAIN_FIELDS]
    return (_unknown(key, key, known) for key in raw if key not in known)


def _unknown(key: str, name: str, known: Iterable[str]) -> str:
    return f"{key}: unknown key; " + (did_you_mean(name, known) or f"known: {', '.join(known)}")


def _infinite(raw: Any, key: str = "") -> Iterator[str]:
    """Refuse what JSON has no word for, wherever it stands."""
    if isinstance(raw, float) and not math.isfinite(raw):
        yield f"{key}={raw}: should be a finite number"
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for name, value in items:
        yield from _infinite(value, f"{key}.{name}" if key else str(name))


def _plugin(key: str, seam: type, mistakes: list[str], raw: Any) -> Any:
    """The object that a `_target_` names, its fields filled by the rest of the YAML."""
    if not isinstance(raw, dict) or not isinstance(raw.get("_target_"), str):
        mistakes.append(f"{key}: a YAML with a `_target_` is needed, got {_spelled(raw)}")
        return None
    target = raw["_target_"]
    module_name, _, class_name = target.rpartition(".")
    try:
        kind = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        mistakes.append(f"{key}._target_={target}: cannot be imported ({error})")
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
    return plugin


def _typed(kind: type[T], raw: Any, prefix: str, mistakes: list[str], told: Collection[str] = ()) -> T | None:
    """An instance of `kind` from a mapping; every mistake becomes a sentence, but for fields in `told`."""
    if not isinstance(raw, Mapping):
        names = ", ".join(field.name for field in fields(kind))  # type: ignore[arg-type]
        mistakes.append(f"{prefix}: should be a mapping with the keys {names}, got {_spelled(raw)}")
        return None
    try:
        return kind(**raw)
    except ValidationError as invalid:
        errors = [error for error in invalid.errors() if error["loc"][0] not in told]
        mistakes.extend(_sentence(error, prefix, kind) for error in errors)
    except TypeError as error:  # a plug-in of someone else's that isn't a pydantic dataclass
        mistakes.append(f"{prefix}: {error}")
    return None


def _sentence(error: Any, prefix: str, kind: type) -> str:
    key = ".".join(str(part) for part in (prefix, *error["loc"]) if part != "")
    key = _ELSEWHERE.get(key, key)
    if error["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return _unknown(key, str(error["loc"][-1]), getattr(kind, "__dataclass_fields__", ()))
    if error["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{key}: is missing"
    message = re.sub(r"^(?:Input|\w+) should ", "should ", error["msg"].removeprefix("Value error, "))
    return f"{key}={_spelled(error['input'])}: {message}"


def _spelled(value: Any) -> str:
    """A value as YAML would have it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)[:200]

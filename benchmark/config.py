"""The one gate for configuration: untyped YAML in, a frozen typed Experiment or a ConfigError out.

After `load` no module imports omegaconf.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from benchmark.errors import ConfigError
from benchmark.protocols import Compiler, Device, Scenario, Task
from benchmark.records import FastMath, Model, Sampling, frozen

T = TypeVar("T")

_PLUGINS = {"task": Task, "hardware": Device, "compiler": Compiler, "scenario": Scenario}
"""Keys whose YAML names a class by `_target_`, and the seam it has to fit."""


@frozen
class Verify:
    """When a compiled model's answers count as right."""

    min_cosine: Mapping[FastMath, Annotated[float, Field(ge=-1, le=1)]]
    """Least cosine to the fp32 reference, by `fast_math`."""


@frozen
class Limits:
    """What the children of a run may use."""

    build_timeout_s: PositiveFloat
    compile_timeout_s: PositiveFloat
    measure_timeout_s: PositiveFloat
    memory_gib: PositiveFloat | None
    """Private memory of one child; null leaves it to the kernel."""


@frozen
class Experiment:
    """One resolved configuration: what to measure, how, and where the results go."""

    model: Model
    task: Task
    hardware: Device
    compiler: Compiler
    scenario: Scenario
    sampling: Sampling
    batch: PositiveInt
    seq_len: PositiveInt
    """Tokens; ignored by models without a sequence axis."""
    weights: Annotated[str, Field(min_length=1)]
    """random, pretrained, or a local folder as `save_pretrained` writes it."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    verify: Verify
    limits: Limits
    campaign: Annotated[str, Field(pattern=r"^[\w.,:+=@-]+$", max_length=120)]
    run: Literal["missing", "failed", "all"]
    """Which cells of the campaign to run: those without a row, also the failed ones, or every one."""
    store_root: str
    cache_root: str
    output_folder: str
    overrides: tuple[str, ...]
    """What the user changed on the command line or an experiment swept, for the row."""
    resolved: str
    """The composed configuration as JSON, for the row."""


def load(cfg: DictConfig, overrides: Iterable[str] = ()) -> Experiment:
    """Type a composed configuration.

    Raises:
        ConfigError: every mistake found, one a line, each with its full key and the allowed values.
    """
    try:
        ours = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        raw: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    raw.pop("experiment", None)
    resolved = json.dumps(raw, sort_keys=True)
    raw["task"] = raw["model"].pop("task", None) if isinstance(raw.get("model"), dict) else None
    for group, key in (("store", "store_root"), ("cache", "cache_root")):
        raw[key] = (raw.pop(group) or {}).get("root")
    mistakes: list[str] = []
    for section, kind in {"model": Model, "sampling": Sampling, "verify": Verify, "limits": Limits}.items():
        raw[section] = _typed(kind, raw.get(section), section, mistakes)
    for slot, seam in _PLUGINS.items():
        raw[slot] = _plugin(slot, raw.get(slot), seam, mistakes)
    if not mistakes:
        experiment = _typed(Experiment, {**raw, "overrides": tuple(overrides), "resolved": resolved}, "", mistakes)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    assert experiment is not None  # noqa: S101 - no mistakes, so it was built
    return experiment


def _plugin(slot: str, raw: Any, seam: type, mistakes: list[str]) -> Any:
    """The object a `_target_` names, its fields filled by the rest of the YAML."""
    key = "model.task" if slot == "task" else slot
    if not isinstance(raw, dict) or not isinstance(raw.get("_target_"), str):
        mistakes.append(f"{key}: a YAML with a `_target_` is needed, got {raw!r}")
        return None
    target = raw["_target_"]
    module_name, _, class_name = target.rpartition(".")
    try:
        kind = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        mistakes.append(f"{key}._target_: cannot import {target!r} ({error})")
        return None
    plugin = _typed(kind, {name: value for name, value in raw.items() if name != "_target_"}, key, mistakes)
    if plugin is not None and not isinstance(plugin, seam):
        mistakes.append(f"{key}._target_: {target} is not a {seam.__name__} (see benchmark/protocols.py)")
    return plugin


def _typed(kind: type[T], raw: Any, prefix: str, mistakes: list[str]) -> T | None:
    """An instance of `kind` from a mapping; every mistake becomes a sentence."""
    if not isinstance(raw, Mapping):
        mistakes.append(f"{prefix}: should be a mapping with the keys of {kind.__name__}, got {raw!r}")
        return None
    try:
        return kind(**raw)
    except ValidationError as invalid:
        mistakes.extend(_sentence(error, prefix, kind) for error in invalid.errors())
    except TypeError as error:  # a plug-in of someone else's that isn't a pydantic dataclass
        mistakes.append(f"{prefix}: {error}")
    return None


def _sentence(error: Any, prefix: str, kind: type) -> str:
    key = ".".join(str(part) for part in (prefix, *error["loc"]) if part != "")
    key = {"store_root": "store.root", "cache_root": "cache.root"}.get(key, key)
    if error["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if error["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{key}: is missing"
    message = error["msg"].removeprefix("Input should be ")
    return f"{key}={error['input']}: should be {message}" if message != error["msg"] else f"{key}={error['input']}: {message}"

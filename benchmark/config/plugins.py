"""Which classes a YAML may name by `_target_`: registered plug-ins, checked before anything is imported.

Registered are this program's own plug-ins, packages that announce themselves by the entry point
`benchmark.conf`, modules that benchmark.yaml lists under `plugins`, and what the user types on the command
line himself. A stored row, a report and an imported file can therefore name nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from benchmark.config import others
from benchmark.errors import ConfigError

TARGET: Final = "_target_"
_OWN: Final = (
    *(
        f"benchmark.{kind}"
        for kind in ("compilers", "datasets", "devices", "tasks", "scenarios", "importers")
    ),
    "benchmark.published.documents",
)
_OF_HYDRA: Final = ("hydra._internal.core_plugins", "hydra_plugins")
"""Packages of launchers and sweepers: Hydra itself takes them from these only."""
_CALLBACK: Final = re.compile(r"hydra\.experimental\.callbacks\.[A-Z]\w*")
_INSTANTIATES: Final = frozenset({TARGET, "_args_", "_partial_", "_recursive_", "_convert_", "_mode_"})
"""Keys by which Hydra calls what a YAML names."""
_CALLED_BY_LOGGING: Final = frozenset({"()", "class", "."})
"""Keys by which `logging.config` calls what a YAML names."""
_OF_LOGGING: Final = re.compile(
    r"logging\.((Stream|File|Null)Handler|Formatter|Filter|handlers\.((TimedRot|Rot)ating|Watched)FileHandler)"
    r"|colorlog\.ColoredFormatter|benchmark\.cli\.terminal_log\.[A-Z]\w*"
)
_STREAMS: Final = frozenset({"sys.stdout", "sys.stderr"})
_FILE_OF_RUN: Final = re.compile(
    r"(?:\$\{hydra\.runtime\.output_dir\}/)?(?:\$\{hydra\.job\.name\}|\w[\w-]*)[\w.-]*"
)
_TYPED: Final = re.compile(rf"[+~]*[\w./@]+\.{TARGET}=['\"]?([\w.]+)['\"]?")


def registered(target: str) -> bool:
    """Whether this is the name of something in a registered module."""
    return _is_in(target, (*_OWN, *others.modules())) or target in _typed()


def plugin_class(target: str, where: str) -> type:
    """The class that `_target_` names. Nothing is imported unless it is registered.

    Raises:
        ConfigError: it is not registered, or there is no such class. `where` is the key or file of the YAML.
    """
    if not registered(target):
        raise ConfigError(
            f"{where}={target}: is no registered plug-in: if the code is yours, write "
            f"`plugins: [{target.partition('.')[0] or 'my_module'}]` into {others.OF_FOLDER} in this folder"
        )
    module, _, class_name = target.rpartition(".")
    try:
        kind = getattr(import_module(module), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}={target}: cannot be imported ({error})") from error
    ours = target in _typed() or registered(f"{getattr(kind, '__module__', '')}.{class_name}")
    if not (isinstance(kind, type) and ours):
        raise ConfigError(f"{where}={target}: is no class of a plug-in")  # such as what its module imports
    return kind


def stray(tree: Any, where: str = "", but: Collection[str] = ()) -> Iterator[str]:
    """Keys, at any depth, by which Hydra would call what a YAML names; those in `but` are meant."""
    for key, value in _items(tree):
        place = f"{where}.{key}" if where else str(key)
        if isinstance(tree, Mapping) and key in _INSTANTIATES and place not in but:
            yield f"{place}: a plug-in is named by the {TARGET} of its section only: remove it"
        yield from stray(value, place, but)


def refuse_foreign(cfg: DictConfig) -> None:
    """Refuse what Hydra would import for a command: launcher, sweeper, callbacks and handlers of logs.

    Raises:
        ConfigError: each, with its key.
    """
    mistakes: list[str] = []
    for slot in ("launcher", "sweeper"):
        section = _plain(cfg.hydra, slot)
        target = str(section.get(TARGET, ""))
        mistakes += stray(section, f"hydra.{slot}", {f"hydra.{slot}.{TARGET}"})
        if not _is_in(target, _OF_HYDRA):
            mistakes.append(
                f"hydra.{slot}.{TARGET}={target}: is none of Hydra's plug-ins: choose one by name"
            )
    for name, callback in _plain(cfg.hydra, "callbacks").items():
        place = f"hydra.callbacks.{name}"
        mistakes += stray(callback, place, {f"{place}.{TARGET}"})
        target = str(callback.get(TARGET, "")) if isinstance(callback, Mapping) else ""
        if not _CALLBACK.fullmatch(target):
            try:
                plugin_class(target, f"{place}.{TARGET}")  # Hydra would call a function too
            except ConfigError as error:
                mistakes.append(str(error))
    for slot in ("hydra_logging", "job_logging"):
        mistakes += _called(_plain(cfg.hydra, slot), f"hydra.{slot}")
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _called(tree: Any, where: str) -> Iterator[str]:
    """What `logging.config` would call, beside its own handlers and formatters."""
    for key, value in _items(tree):
        if isinstance(value, (Mapping, list)):
            yield from _called(value, f"{where}.{key}")
        elif key in _CALLED_BY_LOGGING and not _OF_LOGGING.fullmatch(str(value)):
            yield f"{where}.{key}={value}: logs go to handlers of Python's logging only: remove it"
        elif key == "filename" and not _FILE_OF_RUN.fullmatch(str(value)):
            yield f"{where}.{key}={value}: logs lie in ${{hydra.runtime.output_dir}}: begin with that"
        elif isinstance(value, str) and value.startswith("ext://") and value[6:] not in _STREAMS:
            yield f"{where}.{key}={value}: names an object: use ext://sys.stdout or ext://sys.stderr"


def _items(tree: Any) -> Iterable[tuple[Any, Any]]:
    return tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()


def _plain(hydra: DictConfig, slot: str) -> dict[str, Any]:
    node = hydra.get(slot)
    plain: Any = OmegaConf.to_container(node) if OmegaConf.is_config(node) else {}
    return plain if isinstance(plain, dict) else {}


def _is_in(target: str, modules: Collection[str]) -> bool:
    return any(target.startswith(f"{module}.") for module in modules)


def _typed() -> frozenset[str]:
    """Targets in the words of this command line: only the user himself writes those."""
    return frozenset(found[1] for word in sys.argv[1:] if (found := _TYPED.fullmatch(word)))

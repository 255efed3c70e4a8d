"""Compose the cells of a grid as Hydra does: overrides become configurations.

Hydra needs 40 to 180 ms of CPU for each composition. Cells that differ only in plain values, such as
`batch=4`, share one composition. The values are set afterwards, where that provably gives Hydra's own result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import AnyNode, DictConfig, OmegaConf, open_dict

from benchmark.config import experiment
from benchmark.config.hydra_settings import (
    overrides_parser,
    refuse_choices,
    refuse_set_by_swept,
    settings_of_grid,
)

_RESOLVER = re.compile(r"\$\{\s*([\w.]+)\s*:")
_HYDRA_KEY = re.compile(r"\$\{\s*hydra\b")
_RESOLVERS_BY_TEXT = frozenset(
    {"now", "oc.env", "oc.select", "oc.decode", "oc.create", "neuron_cores", "preset"}
)
"""Resolvers whose result is the same in every cell, unless a key that their text names changes."""


class ComposedCell(NamedTuple):
    """Configuration of one cell in plain values. Cells share equal sections, so don't change them."""

    plain: Mapping[str, Any]
    choices: Mapping[str, str | None]
    """Config group to the name chosen from it."""
    environment: Mapping[str, str]
    """Environment variables of the cell: `hydra.job.env_set`."""

    def values(self, keys: Iterable[str]) -> dict[str, Any]:
        """Name chosen from a group, or value, by key. Keys that the cell lacks are left out."""
        by_key = {}
        for key in keys:
            node: Any = self.choices if key in self.choices else self.plain
            for part in [key] if key in self.choices else key.split("."):
                if not isinstance(node, Mapping) or part not in node:
                    break
                node = node[part]
            else:
                by_key[key] = node
        return by_key


class _Piece(NamedTuple):
    """One override of a cell."""

    text: str
    key: str
    value: Any
    plain: bool
    """Whether it sets one plain value at a key that is no config group."""


class Composer:
    """Composes the cells of one sweep. `constant` are overrides that all or most of its cells have."""

    def __init__(
        self, loader: ConfigLoader, master: DictConfig, constant: frozenset[str] = frozenset()
    ) -> None:
        self._loader, self._master, self._constant = loader, master, constant
        self._parser = overrides_parser(loader, master)
        self._settings = settings_of_grid(master)
        self._pieces: dict[str, _Piece] = {}
        self._groups: dict[str, bool] = {}
        self._templates: dict[tuple[str, ...], _Template] = {}
        self._free: dict[tuple[str, ...], frozenset[str]] = {}
        self._interned: dict[str, Any] = {}

    def compose(self, overrides: Sequence[str], number: int = 0) -> ComposedCell:
        """Configuration of the cell with these overrides; `number` is its index in the sweep.

        Raises:
            ConfigError, HydraException: the cell can't be composed.
        """
        pieces = [self._pieces.get(text) or self._parse(text) for text in overrides]
        free = self._freely_set(pieces)
        base = tuple(piece.text for piece in pieces if piece.key not in free)
        template = self._template(base)
        if template.differs_by_cell:
            template = self._made(base, number)
        changed = template.changed([piece for piece in pieces if piece.key in free])
        return ComposedCell(changed, template.choices, template.environment)

    def _parse(self, text: str) -> _Piece:
        (override,) = self._parser.parse_overrides([text])
        key = override.key_or_group
        plain = (
            override.type == OverrideType.CHANGE
            and override.package is None
            and not override.is_hydra_override()
            and not self._is_group(key)
            and _is_plain(override)
        )
        value = override.value() if plain else None
        self._pieces[text] = piece = _Piece(text=text, key=key, value=value, plain=plain)
        return piece

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return self._groups[key]

    def _freely_set(self, pieces: Sequence[_Piece]) -> frozenset[str]:
        """Keys whose values can be set after composition, because nothing else refers to them."""
        shape = tuple(
            piece.key if piece.plain and piece.text not in self._constant else piece.text for piece in pieces
        )
        if (known := self._free.get(shape)) is not None:
            return known
        alone = {
            piece.key
            for piece in pieces
            if piece.plain
            and piece.text not in self._constant
            and not any(_related(piece.key, other.key) for other in pieces if other is not piece)
        }
        template = self._template(tuple(piece.text for piece in pieces if piece.key not in alone))
        self._free[shape] = free = frozenset(key for key in alone if template.takes(key))
        return free

    def _template(self, base: tuple[str, ...]) -> _Template:
        if base not in self._templates:
            self._templates[base] = self._made(base, 0)
        return self._templates[base]

    def _made(self, base: tuple[str, ...], number: int) -> _Template:
        composed = self._loader.load_sweep_config(self._master, list(base))
        refuse_choices(self._loader, composed.hydra, base)
        refuse_set_by_swept(self._settings, self._master, composed)
        with open_dict(composed):
            composed.hydra.job.id, composed.hydra.job.num = str(number), number
            composed.hydra.runtime.output_dir = str(Path(self._master.hydra.sweep.dir).resolve())
        return _Template(composed, self._interned)


class _Template:
    """Composition shared by cells that differ only in freely set values."""

    def __init__(self, composed: DictConfig, interned: dict[str, Any]) -> None:
        self.choices = dict(composed.hydra.runtime.choices)
        self._composed: DictConfig | None = composed
        self._interned = interned
        self._plain: dict[str, Any] = {}
        self._environment: Mapping[str, str] = {}
        self._sections: dict[tuple[str, ...], Any] = {}
        own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        variables = OmegaConf.to_container(composed.hydra.job.env_set)
        texts = [*_interpolations(OmegaConf.to_container(own)), *_interpolations(variables)]
        self._words = {word for text in texts for word in re.findall(r"\w+", text)}
        resolvers = {name for text in texts for name in _RESOLVER.findall(text)}
        of_the_job = any(_HYDRA_KEY.search(text) for text in texts)  # such as override_dirname
        self.differs_by_cell = of_the_job or not resolvers <= _RESOLVERS_BY_TEXT
        self._leaves = frozenset() if self.differs_by_cell else frozenset(_leaves(own))

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables of the cells."""
        self._resolved()
        return self._environment

    def takes(self, key: str) -> bool:
        """Whether setting a value at this key afterwards gives Hydra's own result."""
        return key in self._leaves and self._words.isdisjoint(key.split("."))

    def changed(self, pieces: Iterable[_Piece]) -> Mapping[str, Any]:
        """Plain values, with those of the pieces at their keys."""
        cell = dict(self._resolved())
        by_section: dict[str, list[_Piece]] = {}
        for piece in pieces:
            section, _, rest = piece.key.partition(".")
            if rest:
                by_section.setdefault(section, []).append(piece)
            else:
                cell[section] = piece.value
        for section, inner in by_section.items():
            texts = tuple(piece.text for piece in inner)
            if texts not in self._sections:
                changed = cell[section]
                for piece in inner:
                    changed = _with(changed, piece.key.split(".")[1:], piece.value)
                self._sections[texts] = self._intern(changed)
            cell[section] = self._sections[texts]
        return cell

    def _resolved(self) -> Mapping[str, Any]:
        if self._composed is not None:
            ours = HydraConfig.instance()
            before = ours.cfg
            ours.set_config(self._composed)  # for ${hydra:...} in a user's own YAML
            try:
                plain = experiment.plain(self._composed)
                self._environment = experiment.variables(self._composed.hydra.job.env_set)
            finally:
                ours.cfg = before
            self._plain = {key: self._intern(value) for key, value in plain.items()}
            self._composed = None
        return self._plain

    def _intern(self, section: Any) -> Any:
        """Return the same object for equal sections, so that the gate types each only once."""
        if not isinstance(section, dict):
            return section
        return self._interned.setdefault(json.dumps(section, default=repr), section)


def _is_plain(override: Override) -> bool:
    if override.is_sweep_override():
        return False
    value = override.value()
    if isinstance(value, str):
        return "$" not in value and value != "???"
    return value is None or isinstance(value, (bool, int, float))


def _related(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")


def _interpolations(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        if "${" in tree:
            yield tree
    elif isinstance(tree, (dict, list)):
        for node in tree.values() if isinstance(tree, dict) else tree:
            yield from _interpolations(node)


def _leaves(tree: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys of untyped values that are present and refer to no other key."""
    for key in map(str, tree):
        node = tree._get_node(key)  # noqa: SLF001 - the only access to an unresolved node
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():  # noqa: SLF001
            yield from _leaves(node, f"{prefix}{key}.")
        elif type(node) is AnyNode and not node._is_interpolation() and not node._is_missing():  # noqa: SLF001
            yield f"{prefix}{key}"


def _with(tree: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Copy of a tree with one value changed. Branches without the change are shared."""
    key, *rest = path
    return {**tree, key: _with(tree[key], rest, value) if rest else value}

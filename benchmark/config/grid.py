"""The cells of a grid: the product of axes and pairs, plus single cells, minus exclusions.

Values are texts in Hydra's grammar, as written after `key=` on a command line. A: axes of the experiment.
C: axes of the command line, which replace those of A with the same key. P: the rows of each pair.

    cells = product(A, C, P...) + include - cells that an exclude matches, each once

The command line narrows pairs and single cells: rows and cells with other values are dropped. A single cell
without the key gets each of its values. Single cells are never excluded. Where there are single cells alone,
a key that all of them have is no axis, if some have one of its values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, product
from operator import ge, gt, le, lt
from typing import Any

from pydantic import Field

from benchmark.errors import ConfigError
from benchmark.host import machine
from benchmark.records import frozen
from benchmark.spelling import did_you_mean

Texts = tuple[str, ...]
Line = Mapping[str, str]
"""Text by key: one row of a pair, or one single cell."""

_COMPARISON = re.compile(r"\s*(<=|>=|!=|<|>)\s*(.+)")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


@frozen
class Grid:
    """A grid as the experiment and the command line define it."""

    axes: Mapping[str, Texts] = Field(default_factory=dict)
    """Axes of the experiment, in order: the last varies fastest."""
    requested: Mapping[str, Texts] = Field(default_factory=dict)
    """Axes of the command line."""
    pairs: tuple[tuple[Line, ...], ...] = ()
    """Rows of zipped columns; each pair is one dimension of the product."""
    include: tuple[Line, ...] = ()

    def cells(self) -> Iterator[Texts]:
        """Overrides of every cell, also of excluded ones."""
        return chain(self.swept(), self.singles())

    def swept(self) -> Iterator[Texts]:
        """Overrides of the cells of axes and pairs; none if there are only single cells.

        Raises:
            ConfigError: a key stands in two places, or no row of a pair has a value of the command line.
        """
        pairs = self._narrowed_pairs()
        narrows = any(map(self._wants, self.include))
        narrowed = set.intersection(*map(set, self.include)) if narrows else set()
        several = any(len(texts) > 1 for key, texts in self.requested.items() if key not in narrowed)
        if self.include and not (self.axes or pairs or several):
            return
        paired = {key for block in self.pairs for key in block[0]}
        axes = {key: texts for key, texts in {**self.axes, **self.requested}.items() if key not in paired}
        dimensions: list[Sequence[Texts]] = [[(f"{key}={text}",) for text in axes[key]] for key in axes]
        dimensions += [[_spelled(row) for row in rows] for rows in pairs]
        for choice in product(*dimensions):
            yield tuple(chain.from_iterable(choice))

    def singles(self) -> Iterator[Texts]:
        """Overrides of the single cells, with axes of one value and those of the command line."""
        settings = {key: texts for key, texts in self.axes.items() if len(texts) == 1} | dict(self.requested)
        for line in filter(self._wants, self.include):
            rest = [[f"{key}={text}" for text in texts] for key, texts in settings.items() if key not in line]
            for choice in product(*rest):
                yield (*choice, *_spelled(line))

    def _narrowed_pairs(self) -> list[tuple[Line, ...]]:
        seen: set[str] = set()
        narrowed = []
        for block in self.pairs:
            keys = set(block[0])
            if twice := sorted(keys & (seen | set(self.axes))):
                raise ConfigError(
                    f"pair: {twice[0]} is an axis or in a pair twice: name each key in one place"
                )
            seen |= keys
            rows = tuple(row for row in block if self._wants(row))
            if not rows:
                wanted = " ".join(
                    f"{key}={','.join(self.requested[key])}" for key in block[0] if key in self.requested
                )
                first = "; ".join(" ".join(_spelled(row)) for row in block[:8])
                raise ConfigError(f"pair: no row has {wanted}; choose one of {first}, or set pair=[]")
            narrowed.append(rows)
        return narrowed

    def _wants(self, line: Line) -> bool:
        return all(text in self.requested[key] for key, text in line.items() if key in self.requested)


@frozen
class Exclusion:
    """Leaves out the cells for which all conditions hold."""

    conditions: Mapping[str, Any]
    """By key: a value, a pattern such as `inf*`, a comparison such as `>32`, or a list of alternatives."""
    reason: str

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Whether all conditions hold for a cell with these values. A condition on a missing key doesn't."""
        return all(
            key in values and _holds(condition, values[key]) for key, condition in self.conditions.items()
        )


@frozen
class Excluded:
    """A cell that the grid leaves out on purpose. It gets no row."""

    overrides: tuple[str, ...]
    reason: str


def exclusions(written: Any) -> tuple[Exclusion, ...]:
    """Read `exclude:` of a YAML.

    Raises:
        ConfigError: it is not a list of mappings from keys to conditions.
    """
    if not isinstance(written, Sequence) or isinstance(written, str):
        raise ConfigError(f"exclude: should be a list of conditions, got {written!r}")
    read = []
    for number, entry in enumerate(written):
        conditions = (
            {key: value for key, value in entry.items() if key != "reason"} if _is_line(entry) else {}
        )
        if not conditions:
            raise ConfigError(
                f"exclude[{number}]: should be conditions such as {{hardware: inf*, batch: '>32', "
                f"reason: does not fit}}, got {entry!r}"
            )
        spelled = " ".join(f"{key}={value}" for key, value in conditions.items())
        read.append(Exclusion(conditions=conditions, reason=str(entry.get("reason") or spelled)))
    return tuple(read)


def refuse_unknown_keys(exclude: Iterable[Exclusion], seen: set[str], known: Iterable[str]) -> None:
    """Refuse conditions on keys that no cell of the grid has.

    Raises:
        ConfigError: names the most similar key.
    """
    for number, exclusion in enumerate(exclude):
        for key in exclusion.conditions:
            if key not in seen:
                hint = did_you_mean(key, known) or f"`{machine.program()} --cfg job` shows every key"
                raise ConfigError(f"exclude[{number}].{key}: no cell has this key; {hint}")


def _is_line(entry: Any) -> bool:
    return isinstance(entry, Mapping) and all(isinstance(key, str) for key in entry)


def _spelled(line: Line) -> Texts:
    return tuple(f"{key}={text}" for key, text in line.items())


def _holds(condition: Any, value: Any) -> bool:
    if isinstance(condition, (list, tuple)):
        return any(_holds(one, value) for one in condition)
    if not isinstance(condition, str):
        return (
            type(value) is bool and value is condition if isinstance(condition, bool) else value == condition
        )
    if comparison := _COMPARISON.fullmatch(condition):
        operator, limit = comparison.groups()
        if operator == "!=":
            return not _holds(_number(limit) if _number(limit) is not None else limit, value)
        number = _number(limit)
        if number is None:
            raise ConfigError(f"exclude: {condition!r} needs a number after the comparison sign")
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and _ORDER[operator](value, number)
        )
    return isinstance(value, str) and fnmatchcase(value, condition)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

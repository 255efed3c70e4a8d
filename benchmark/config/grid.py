"""Which cells a grid has: the product of its axes, pairs and single cells beside it, less what is excluded.

Values are texts in Hydra's grammar, as they stand behind `key=` on a command line. With A the axes of the
experiment, C those of the command line (which replace A's of the same name) and P the rows of each pair:

    cells = product(A, C, P...) + include, less whatever an exclude matches, each once

The command line narrows: of a pair it keeps the rows, of `include` the cells that have one of its values;
single cells that don't name its key get all of its values. Single cells are never excluded.
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
from benchmark.records import frozen
from benchmark.spelling import did_you_mean

Texts = tuple[str, ...]
Line = Mapping[str, str]
"""Key to text: one row of a pair, or one single cell."""

_COMPARISON = re.compile(r"\s*(<=|>=|!=|<|>)\s*(.+)")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


@frozen
class Grid:
    """A grid as the experiment and the command line say it."""

    axes: Mapping[str, Texts] = Field(default_factory=dict)
    """Of the experiment, in order: the last varies fastest."""
    asked: Mapping[str, Texts] = Field(default_factory=dict)
    """Of the command line."""
    pairs: tuple[tuple[Line, ...], ...] = ()
    """Each the rows of zipped columns: one dimension of the product."""
    include: tuple[Line, ...] = ()

    def cells(self) -> Iterator[Texts]:
        """Overrides of every cell, excluded ones too."""
        return chain(self.swept(), self.singles())

    def swept(self) -> Iterator[Texts]:
        """Overrides of the cells that axes and pairs make; none where there are only single cells.

        Raises:
            ConfigError: a key in two places, or a value of the command line that no row of a pair has.
        """
        pairs = self._narrowed_pairs()
        several = bool(self.axes or pairs) or any(len(texts) > 1 for texts in self.asked.values())
        if self.include and not several:
            return
        paired = {key for block in self.pairs for key in block[0]}
        axes = {key: texts for key, texts in {**self.axes, **self.asked}.items() if key not in paired}
        dimensions: list[Sequence[Texts]] = [[(f"{key}={text}",) for text in axes[key]] for key in axes]
        dimensions += [[_spelled(row) for row in rows] for rows in pairs]
        for choice in product(*dimensions):
            yield tuple(chain.from_iterable(choice))

    def singles(self) -> Iterator[Texts]:
        """Overrides of the included cells, with the values of whatever else has one value or is asked for."""
        settings = {key: texts for key, texts in self.axes.items() if len(texts) == 1} | dict(self.asked)
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
                raise ConfigError(f"pair: {twice[0]} is an axis elsewhere too: name each key in one place")
            seen |= keys
            rows = tuple(row for row in block if self._wants(row))
            if not rows:
                wanted = " ".join(
                    f"{key}={','.join(self.asked[key])}" for key in block[0] if key in self.asked
                )
                had = "; ".join(" ".join(_spelled(row)) for row in block[:8])
                raise ConfigError(
                    f"pair: no row has {wanted}; rows: {had}: ask for one of them, or set pair=[]"
                )
            narrowed.append(rows)
        return narrowed

    def _wants(self, line: Line) -> bool:
        return all(text in self.asked[key] for key, text in line.items() if key in self.asked)


@frozen
class Exclusion:
    """Cells for which every condition holds are left out."""

    conditions: Mapping[str, Any]
    """Key to a value, a pattern such as `inf*`, a comparison such as `>32`, or a list: any of these."""
    reason: str

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Whether all hold for a cell with these values; a key that it lacks holds nothing."""
        return all(
            key in values and _holds(condition, values[key]) for key, condition in self.conditions.items()
        )


@frozen
class Excluded:
    """A cell that the grid leaves out on purpose; it leaves no row."""

    overrides: tuple[str, ...]
    reason: str


def exclusions(written: Any) -> tuple[Exclusion, ...]:
    """Read `exclude:` of a YAML.

    Raises:
        ConfigError: it is no list of mappings from keys to conditions.
    """
    if not isinstance(written, Sequence) or isinstance(written, str):
        raise ConfigError(f"exclude: should be a list of conditions, got {written!r}")
    found = []
    for number, entry in enumerate(written):
        conditions = (
            {key: value for key, value in entry.items() if key != "reason"} if _is_line(entry) else {}
        )
        if not conditions:
            raise ConfigError(
                f"exclude[{number}]: should be conditions such as {{hardware: inf*, batch: '>32', "
                f"reason: does not fit}}, got {entry!r}"
            )
        told = " ".join(f"{key}={value}" for key, value in conditions.items())
        found.append(Exclusion(conditions=conditions, reason=str(entry.get("reason") or told)))
    return tuple(found)


def refuse_unknown_keys(exclude: Iterable[Exclusion], seen: set[str], known: Iterable[str]) -> None:
    """Refuse conditions on keys that no cell of the grid has.

    Raises:
        ConfigError: names the nearest key.
    """
    for number, exclusion in enumerate(exclude):
        for key in exclusion.conditions:
            if key not in seen:
                hint = did_you_mean(key, known) or "`python -m benchmark --cfg job` shows every key"
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
            raise ConfigError(f"exclude: {condition!r} compares with no number")
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

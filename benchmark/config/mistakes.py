"""Mistakes in a configuration as sentences: the key, what it is, and what it should be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args

from benchmark.config.folder import options
from benchmark.spelling import did_you_mean

ELSEWHERE = {"store_root": "store.root", "cache_root": "cache.root", "cache_remote": "cache.remote"}
"""Fields of an experiment, and their keys in YAML where these differ."""
_TYPES_OF_LISTS = frozenset({"too_short", "too_long", "list_type", "tuple_type", "missing_argument"})
"""Mistakes in a list that pydantic finds where a list is right."""
_TYPES_OF_ONE_VALUE = frozenset({"int_type", "int_parsing", "float_type", "float_parsing", "literal_error"})
"""Mistakes in a text with commas that pydantic finds where a number or one of some words is right."""


def unknown(key: str, name: str, known: Iterable[str]) -> str:
    """Message for a key that isn't one, with the most similar of those that are."""
    return f"{key}: unknown key; " + (did_you_mean(name, known) or f"known: {', '.join(known)}")


def sentence(error: Any, prefix: str, kind: type) -> str:
    """One of pydantic's errors in a record of this kind, whose key is `prefix`."""
    key = ".".join(str(part) for part in (prefix, *error["loc"]) if part != "")
    key = ELSEWHERE.get(key, key)
    if error["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        *path, name = error["loc"]
        return unknown(key, str(name), _fields_at(kind, path))
    if error["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{key}: is missing"
    if isinstance(error["input"], list) and error["type"] not in _TYPES_OF_LISTS:
        return list_for_one_value(key, [spelled(value) for value in error["input"]])
    if isinstance(error["input"], str) and "," in error["input"] and error["type"] in _TYPES_OF_ONE_VALUE:
        return list_for_one_value(key, error["input"].split(","), error["input"])
    if error["type"] == "dataclass_type":
        return f"{key}={spelled(error['input'])}: should be a mapping from options to values"
    message = re.sub(r"^(?:Input|\w+) should ", "should ", error["msg"].removeprefix("Value error, "))
    number = isinstance(error["input"], str) and re.fullmatch(r"[\d.]+", error["input"])
    if error["type"] in {"int_type", "float_type"} and number:
        message += ", is a text: leave out the quotes"
    return f"{key}={spelled(error['input'])}: {message}"


def _fields_at(kind: Any, path: Sequence[Any]) -> tuple[str, ...]:
    """Names of the fields of a record, or of the one at this path in it."""
    for name in path:
        annotation = kind.__pydantic_fields__[name].annotation
        kind = next(filter(is_dataclass, (annotation, *get_args(annotation))))
    return tuple(getattr(kind, "__pydantic_fields__", ()))


def name_for_a_section(key: str, raw: Any, expected: str) -> str:
    """Message for a name, or several, where the content of a group is meant."""
    if not isinstance(raw, str) or not raw or not options(key):
        return f"{key}={spelled(raw)}: should be {expected}"
    if "," in raw:
        return list_for_one_value(key, raw.split(","), raw)
    return (
        f"{key}={raw}: a YAML chooses a name in its defaults list: write `defaults: [override /{key}: {raw}]`"
    )


def list_for_one_value(key: str, values: Sequence[str], written: str = "") -> str:
    """Message for a list where one value is meant: how to sweep, or to pair, the values."""
    joined = ",".join(map(str.strip, values))
    return (
        f"{key}={written or f'[{joined}]'}: should be one value: to sweep write {key}={joined} after -m, or "
        f'{key}: "{joined}" in hydra.sweeper.params; to pair it with another key write '
        f"pair: [{{{key}: [{joined}], ...: [...]}}]"
    )


def spelled(value: Any) -> str:
    """A value as YAML spells it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)[:200]

"""What a stored configuration names that a run of it would use: interpreters, files, environment variables.

A row may come from anywhere, and its host name proves nothing. So what differs from today's configuration is
refused unless the user trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmark.errors import ConfigError

_HARMLESS: Final = re.compile(
    r"(OMP|MKL|OPENBLAS|GOTO|NUMEXPR)_NUM_THREADS|(OMP|MKL)_DYNAMIC|OMP_(WAIT_POLICY|PROC_BIND|PLACES|SCHEDULE)"
    r"|KMP_(BLOCKTIME|AFFINITY|TPAUSE)|GOMP_(CPU_AFFINITY|SPINCOUNT)|ATEN_CPU_CAPABILITY"
    r"|(ONEDNN|DNNL)_(MAX_CPU_ISA|DEFAULT_FPMATH_MODE)|MKL_ENABLE_INSTRUCTIONS"
)
"""Variables that set threads and instruction sets, and name no file."""
_PLAIN_VALUE: Final = re.compile(r"[\w.,:=(){} -]*")
_FILE: Final = re.compile(r"[/~\\]|\.{1,2}(/|$)|\w+://|.*\.\./")
_INTERPRETER: Final = "python"
_WEIGHTS: Final = frozenset({"random", "pretrained"})
_SECTIONS: Final = ("model", "task", "compiler", "hardware", "scenario")


def refuse_named(
    run_id: str, then: Mapping[str, Any], today: Mapping[str, Any], variables: Mapping[str, str]
) -> None:
    """Refuse a stored configuration that names what today's doesn't. `variables` would be set for the run.

    Raises:
        ConfigError: lists all, with their values.
    """
    named = [f"{key}={value}" for key, value in _named(then, today)]
    named += [
        f"{name}={value}"
        for name, value in variables.items()
        if not (_HARMLESS.fullmatch(name) and _PLAIN_VALUE.fullmatch(value))
    ]
    if named:
        raise ConfigError(
            f"run {run_id} would use what its row names: {', '.join(named)}: add --trust if these are yours"
        )


def _named(then: Mapping[str, Any], today: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if (weights := then.get("weights")) not in {*_WEIGHTS, today.get("weights"), None}:
        yield "weights", str(weights)
    for name in ("root", "remote"):
        if (place := _part(then, "cache").get(name)) not in {_part(today, "cache").get(name), None}:
            yield f"cache.{name}", str(place)
    for section in _SECTIONS:
        usual = dict(_texts(today.get(section), section))
        for key, text in _texts(then.get(section), section):
            names = _FILE.match(text) or key.rpartition(".")[2] == _INTERPRETER
            if names and usual.get(key) != text:
                yield key, text


def _part(configuration: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = configuration.get(key)
    return part if isinstance(part, Mapping) else {}


def _texts(tree: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _texts(value, f"{key}.{name}")
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from _texts(value, f"{key}.{place}")

"""Declarative benchmark grids: every cell compiles, caches, times, verifies and leaves one row.

YAML names the plug-ins; `config` types them; `pipeline` says the sentence; `stages` are its verbs;
`records` its nouns; `protocols` the seams where plug-ins fit. For notebooks there are `run`, `compare`,
`plot`, `make_report` and `results`: see `notebook`.
"""

from typing import Any

_OF_NOTEBOOK = ("run", "compare", "plot", "make_report")


def __getattr__(name: str) -> Any:
    """Load what a notebook uses at its first use: commands and children need none of it."""
    from importlib import import_module

    if name in _OF_NOTEBOOK:
        return getattr(import_module("benchmark.notebook"), name)
    if name == "results":
        return import_module("benchmark.store.results")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

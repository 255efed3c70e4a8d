"""Which plug-ins there are: the folders tell, so that a new file is tested without being named."""

from __future__ import annotations

from importlib import import_module

import yaml

from benchmark.config.folder import CONF


def group(name):
    """Class of every YAML of a config group, by its stem."""
    yamls = {path.stem: read(path) for path in sorted((CONF / name).glob("*.yaml"))}
    return {stem: _named(raw["_target_"]) for stem, raw in yamls.items() if "_target_" in raw}


def read(path):
    """A YAML as it stands, uncomposed."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _named(target):
    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)

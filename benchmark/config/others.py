"""Folders with YAMLs of others: those that installed packages announce, and those that benchmark.yaml names.

A package announces its folder, which is laid out as conf/ is, by an entry point:

    [project.entry-points."benchmark.conf"]
    my_compilers = "my_package.conf"

A working folder names its own in a file benchmark.yaml: `searchpath: [conf]`. A module of the folder that
holds plug-ins is listed there too: `plugins: [my_module]`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmark.config.folder import CONF, read
from benchmark.errors import ConfigError

GROUP: Final = "benchmark.conf"
OF_FOLDER: Final = "benchmark.yaml"
_KEYS: Final = {"searchpath", "plugins"}


@lru_cache(maxsize=1)
def folders() -> tuple[tuple[str, Path], ...]:
    """Name and place of each. One that has a YAML under a name of ours is reported, for ours is used.

    Raises:
        ConfigError: a folder isn't there, or a package can't be imported.
    """
    found = (*_installed(), *_of_working_folder())
    for name, folder in found:
        for file in sorted(folder.glob("*/*.yaml")):
            within = file.relative_to(folder)
            if (CONF / within).is_file():
                print(  # noqa: T201 - Hydra's log isn't set up yet
                    f"warning: {file} ({name}) is not used: {within.parent}={file.stem} is a name of this "
                    "program; give it another name",
                    file=sys.stderr,
                )
    return found


@lru_cache(maxsize=1)
def modules() -> frozenset[str]:
    """Modules and packages of others whose classes a YAML may name by `_target_`.

    Raises:
        ConfigError: benchmark.yaml has a mistake.
    """
    installed = {point.value.partition(".")[0] for point in metadata.entry_points(group=GROUP)}
    return frozenset({*installed, *_written().get("plugins", ())})


def _installed() -> Iterator[tuple[str, Path]]:
    for point in metadata.entry_points(group=GROUP):
        package = point.dist.name if point.dist else "?"
        try:
            spec = importlib.util.find_spec(point.value)
            places = list(spec.submodule_search_locations or ()) if spec else []
            reason = "it is no package"
        except Exception as error:  # noqa: BLE001 - of a package's own code
            places, reason = [], f"{type(error).__name__}: {error}"
        if not places:
            raise ConfigError(
                f"the entry point {point.name} of {package} names {point.value}, which can't be imported "
                f"({reason}): mend or uninstall {package}"
            )
        yield from ((point.name, Path(place)) for place in places)


def _of_working_folder() -> Iterator[tuple[str, Path]]:
    file = Path(OF_FOLDER).absolute()
    for one in _written().get("searchpath", ()):
        folder = file.parent / one
        if not folder.is_dir():
            raise ConfigError(f"{file}: searchpath: {folder} is no folder")
        yield OF_FOLDER, folder


def _written() -> dict[str, list[str]]:
    """What the working folder's benchmark.yaml says, by key; nothing where there is none."""
    file = Path(OF_FOLDER).absolute()
    if not file.is_file():
        return {}
    content = read(file) or {}
    if not isinstance(content, dict) or content.keys() - _KEYS:
        raise ConfigError(
            f"{file}: its keys are searchpath, a list of folders laid out as conf/ is, and plugins, a list "
            "of modules whose classes a YAML may name"
        )
    for key, values in content.items():
        if not isinstance(values or [], list):
            raise ConfigError(f"{file}: {key}: write a list: [{values}]")
    return {key: [str(one) for one in values or ()] for key, values in content.items()}

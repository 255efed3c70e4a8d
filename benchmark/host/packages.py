"""Files inside installed packages, as `pkg://DISTRIBUTION/PATH`. Nothing is imported."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Final

SCHEME: Final = "pkg://"


def located(place: str) -> Path:
    """The file or folder: a path as it is, or one below the folder that the distribution is installed in."""
    if not place.startswith(SCHEME):
        return Path(place).expanduser()
    name, _, inside = place.removeprefix(SCHEME).partition("/")
    try:
        return Path(str(metadata.distribution(name).locate_file(inside)))
    except metadata.PackageNotFoundError:
        return Path(place)


def missing(place: str) -> str | None:
    """What is missing at a place, and what to do about it; None: nothing."""
    if located(place).exists():
        return None
    if not place.startswith(SCHEME):
        return f"{place} is not on this host: give another path"
    name, _, inside = place.removeprefix(SCHEME).partition("/")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"its data come with the package {name}: pip install --no-deps {name}"
    return f"{name} {version} has no {inside}: pip install --no-deps --force-reinstall {name}"

"""Which libraries are installed, without importing them; a missing one is answered with its command."""

from __future__ import annotations

from importlib import metadata

from benchmark.errors import LibraryMissing


def versions(*distributions: str, install: str) -> dict[str, str]:
    """Versions of installed distributions, by name.

    Raises:
        LibraryMissing: one is not installed; `install` is the command that mends it.
    """
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise LibraryMissing(f"{name} is not installed: {install}") from None
    return found

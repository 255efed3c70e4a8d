"""Whether all nodes run the same program and the same YAMLs as this command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmark.cluster.nodes import Node
from benchmark.errors import ConfigError


class Version(NamedTuple):
    """What is installed on a host, by content."""

    release: str
    """Of the package; empty where it isn't installed."""
    code: str
    """Digest of its sources and tables."""
    conf: str
    """Digest of conf/."""

    def __str__(self) -> str:
        return f"{self.release} (code {self.code[:8]}, conf {self.conf[:8]})"


def reader() -> Callable[[], tuple[str, str, str]]:
    """A function that reads the version of the host where it is called.

    It stands on the standard library alone and travels by value: a node may have another version of this
    module, or none.
    """

    def read() -> tuple[str, str, str]:
        import hashlib
        from importlib import metadata
        from importlib.util import find_spec
        from pathlib import Path

        found = find_spec("benchmark")
        if found is None or not found.submodule_search_locations:
            return "", "", ""
        package = Path(next(iter(found.submodule_search_locations))).resolve()
        conf = next((one for one in (package / "conf", package.parent / "conf") if one.is_dir()), None)

        def digest(folder: Path | None, suffixes: tuple[str, ...]) -> str:
            if folder is None:
                return "none"
            total = hashlib.sha256()
            for file in sorted(folder.rglob("*")):
                within = file.relative_to(folder)
                if file.suffix in suffixes and within.parts[0] not in ("conf", "plugins"):
                    content = hashlib.sha256(file.read_bytes()).hexdigest()
                    total.update(f"{within.as_posix()} {content}\n".encode())
            return total.hexdigest()

        try:
            release = metadata.version("benchmark-orchestrator")
        except metadata.PackageNotFoundError:
            release = "not installed"
        return release, digest(package, (".py", ".csv", ".txt", ".json")), digest(conf, (".yaml",))

    return read


def look_if_same(mine: Version, asked: bytes) -> Callable[[], tuple[tuple[str, str, str], Any]]:
    """A function that reads the version as `reader`, and where it is this one looks at the host.

    In one task, for the process of a node takes half a second to start. `asked` are the pickled arguments of
    `tasks.look`: another version may not know their types. The answer is null where it didn't look.
    """
    read = reader()

    def looked() -> tuple[tuple[str, str, str], Any]:
        import pickle

        found = read()
        if found != tuple(mine):
            return found, None
        from benchmark.cluster.tasks import look

        return found, look(*pickle.loads(asked))  # noqa: S301 - of the command that runs everything here

    return looked


def here() -> Version:
    """Version of this command."""
    return Version(*reader()())


def refuse_others(found: Mapping[Node, Version], mine: Version, python: str) -> None:
    """Refuse nodes that would run another version, or none.

    Raises:
        ConfigError: a line for each, with both versions.
    """
    mistakes = []
    for node, version in found.items():
        if not version.release:
            mistakes.append(
                f"node {node.name} can't import benchmark: install it there for the Python that runs Ray "
                f"({python}), or start the node with --num-cpus=0 and without resources"
            )
        elif version != mine:
            parts = [name for name in ("code", "conf") if getattr(version, name) != getattr(mine, name)]
            mistakes.append(
                f"node {node.name} has another version of benchmark: {version} there, {mine} here; "
                f"{' and '.join(parts) or 'the release'} must be the same: bring both hosts to one commit or "
                "wheel, and start the node again"
            )
    if mistakes:
        raise ConfigError("\n".join(mistakes))

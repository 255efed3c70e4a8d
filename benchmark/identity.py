"""Hashes that say whether two things are the same: plug-ins, source code, folders of weights.

A hash holds no path: an environment that moved, or a folder that was renamed, measures the same cell.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.cache.manifest import content_key, sha256
from benchmark.host.packages import SCHEME, missing
from benchmark.models.gguf_header import SUFFIX as GGUF

_PATHS = frozenset({"python", "path", "train_path"})
"""Options that say where something lies. What lies there counts: in the versions of the environment, or by
the digest of a data set."""
_IMPORTED = re.compile(
    rb"^[ \t]*(?:from[ ]+(benchmark[\w.]*)[ ]+import[ ]+(\([^)]*\)|[^#\n]+)|import[ ]+(benchmark[\w.]*))",
    re.MULTILINE,
)


def hashed(content: Any) -> str:
    """Hash of values that JSON can write: 16 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, default=sorted, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def options_of(plugin: Any) -> Mapping[str, Any]:
    """Name, class and options of a plug-in, defaults included, paths left out. Shared: don't change it."""
    return _options_of(plugin)


@lru_cache(maxsize=4096)
def _options_of(plugin: Any) -> Mapping[str, Any]:
    options = {name: value for name, value in asdict(plugin).items() if name not in _PATHS}
    return {"class": type(plugin).__qualname__, "name": plugin.name, **options}


def code_digest(*plugins: object) -> str:
    """Hash of every source and data file that these plug-ins run: their own, and those of this program."""
    kinds = {kind for plugin in plugins for kind in type(plugin).__mro__}
    ours = {kind.__module__ for kind in kinds if _package(kind) == "benchmark"}
    roots = {_package(type(plugin)) for plugin in plugins} - {"benchmark"}
    others = {inspect.getfile(kind) for kind in kinds if _package(kind) in roots}
    return source_digest(frozenset(ours), frozenset(others))


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


@lru_cache(maxsize=256)
def source_digest(modules: frozenset[str], files: frozenset[str] = frozenset()) -> str:
    """Hash of these modules, of these files, and of all modules of this program that they import."""
    found: set[Path] = set()
    waiting = [*map(_source_of, modules), *map(Path, files)]
    while waiting:
        file = waiting.pop()
        if file is None or file in found:
            continue
        found.add(file)
        source = file.read_bytes()
        found.update(_data_files(file, source))
        waiting.extend(map(_source_of, _imported(source)))
    return hashed(sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in found))


def _imported(source: bytes) -> Iterator[str]:
    """Names that may be modules of this program, imports inside functions included."""
    for package, names, module in _IMPORTED.findall(source.replace(b"\\\n", b" ")):
        yield (package or module).decode()
        for name in re.findall(r"(\w+)(?:\s+as\s+\w+)?", names.decode()):
            yield f"{package.decode()}.{name}"


@lru_cache(maxsize=1024)
def _source_of(module: str) -> Path | None:
    """File of a module; None for other names, and for packages, which hold no code."""
    root = find_spec("benchmark").submodule_search_locations[0]  # type: ignore[union-attr, index]
    file = Path(root, *module.split(".")[1:]).with_suffix(".py")
    return file if file.is_file() else None


def _data_files(file: Path, source: bytes) -> Iterator[Path]:
    """Files beside a module that it names: tables, sentences."""
    for name in re.findall(rb'"([\w.-]+\.(?:csv|txt|json))"', source):
        if (data := file.with_name(name.decode())).is_file():
            yield data


def weights_digest(folder: Path) -> str | None:
    """Hash of what a folder of weights, or a file of them, holds; None where it is no such folder.

    It is one as `save_pretrained` writes it: of a network, or of a pipeline with a sub-folder for each.
    """
    if folder.suffix == GGUF and folder.is_file():
        found = folder.stat()
        return _digest(folder.parent, ((folder.name, found.st_size, found.st_mtime_ns),))
    tensors = sorted([*folder.rglob("*.safetensors"), *folder.rglob("*pytorch_model*.bin")])
    settings = sorted(folder.rglob("*.json"))
    if not tensors or not any((folder / name).is_file() for name in ("config.json", "model_index.json")):
        return None
    stamps = tuple(
        (file.relative_to(folder).as_posix(), file.stat().st_size, file.stat().st_mtime_ns)
        for file in (*tensors, *settings)
    )
    return _digest(folder, stamps)


def in_absent_package(place: Path) -> bool:
    """Whether a place is in a package that isn't installed: it has no path yet."""
    return place.parts[:1] == (SCHEME.rstrip("/"),)  # a path loses a slash


def no_weights(folder: Path) -> str:
    """Say what a folder without weights lacks, and which of its sub-folders has them."""
    if in_absent_package(folder):
        return f"weights: {missing(str(folder).replace(':/', '://', 1))}"
    if not folder.is_dir():
        return f"weights={folder}: there is no such folder or file: use random, pretrained, or a folder"
    inside = [file.parent for file in sorted(folder.glob("*/config.json")) if weights_digest(file.parent)]
    inside += sorted(folder.glob(f"*{GGUF}"))
    named = " or ".join(f"weights={inner}" for inner in inside[:3])
    advice = named or "random, pretrained, or a folder written by save_pretrained"
    return f"weights={folder}: no config.json with *.safetensors or pytorch_model.bin there; use {advice}"


@lru_cache(maxsize=64)
def _digest(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Files are read again only when their size or time changes: every cell of a grid needs the digest."""
    return content_key({"files": {name: sha256(folder / name) for name, *_ in stamps}})

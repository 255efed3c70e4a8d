"""GGUF files, as llama.cpp has them: what their first lines say, and whether transformers can read them.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3. Nothing but
the header is read here: plans don't wait for tensors.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from benchmark.models import architectures

SUFFIX: Final = ".gguf"
_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_ARCHITECTURE = "general.architecture"
_STRING, _ARRAY = 8, 9
_WIDTHS: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by its type."""
_LONGEST = 1 << 16
"""Most bytes of a name or text that is read."""


def refuse(file: Path, architecture: Mapping[str, Any]) -> str | None:
    """Return why a GGUF file can't be the weights of a model, or None, as far as its header shows."""
    try:
        found = _architecture(file)
    except (OSError, ValueError, struct.error) as error:
        return f"weights={file}: is no GGUF file that can be read ({error}): download it again"
    known = architectures.read_from_gguf()
    if known and _plain(found) not in map(_plain, known):
        return (
            f"weights={file}: a GGUF of architecture {found}, which transformers can't read: it reads "
            f"{', '.join(sorted(known))}: choose another file"
        )
    stated = str(architecture.get("model_type"))
    # llama.cpp calls Mistral a llama; transformers' names can be longer, such as gemma3_text.
    same = _plain(stated).startswith(_plain(found)) or {found, stated} == {"llama", "mistral"}
    return None if same else f"weights={file}: a {found} is no {stated}: choose another model or file"


def _architecture(file: Path) -> str:
    """The architecture that the header names.

    Raises:
        ValueError: it isn't a GGUF file, or names none.
    """
    with file.open("rb") as stream:
        if stream.read(4) != _MAGIC:
            raise ValueError("it doesn't begin with GGUF")
        version, _, count = struct.unpack("<IQQ", stream.read(20))
        if version not in _VERSIONS:
            raise ValueError(f"version {version}")
        for _ in range(count):
            name = _text(stream)
            (kind,) = struct.unpack("<I", stream.read(4))
            if name == _ARCHITECTURE and kind == _STRING:
                return _text(stream)
            _skip(stream, kind)
    raise ValueError(f"it has no {_ARCHITECTURE}")


def _text(stream: BinaryIO) -> str:
    (size,) = struct.unpack("<Q", stream.read(8))
    if size > _LONGEST:
        raise ValueError(f"a text of {size} bytes in its header")
    return stream.read(size).decode()


def _skip(stream: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        (size,) = struct.unpack("<Q", stream.read(8))
        stream.seek(size, 1)
    elif kind == _ARRAY:
        inner, count = struct.unpack("<IQ", stream.read(12))
        if inner in _WIDTHS:
            stream.seek(_WIDTHS[inner] * count, 1)
        else:
            for _ in range(count):
                _skip(stream, inner)
    elif kind in _WIDTHS:
        stream.seek(_WIDTHS[kind], 1)
    else:
        raise ValueError(f"a value of unknown type {kind}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())

"""JSON files that show whether they are as they were written: each has a checksum of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

_DIGEST: Final = "digest"


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON of a mapping, with its checksum under `digest`."""
    return f"{json.dumps({**content, _DIGEST: _digest(content)}, indent=1)}\n".encode()


def opened(data: bytes) -> dict[str, Any]:
    """What `sealed` got.

    Raises:
        ValueError: it has changed since, or was never sealed.
    """
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict) or _DIGEST not in content:
        raise ValueError("it has no checksum: it is damaged, or an older version wrote it")
    if content.pop(_DIGEST) != _digest(content):
        raise ValueError("its content has changed since it was written")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

"""Checksums of whole files: a bit that changed anywhere in a file of the store is found before it is used.

Parquet's own checksums cover its pages only. So the SHA-256 of everything else in the file lies between its
last page and its footer, where no reader looks. Files of older versions have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO, Final

_MARK: Final = b"sha256 of the rest:"
_SEAL_BYTES: Final = len(_MARK) + hashlib.sha256().digest_size
_TAIL_BYTES: Final = 8
"""Length of the footer, and Parquet's magic."""
_BLOCK_BYTES: Final = 1 << 20


def sealed(data: bytes) -> bytes:
    """A Parquet file with its checksum."""
    end = len(data) - _footer_bytes(data[-_TAIL_BYTES:])
    return data[:end] + _MARK + hashlib.sha256(data).digest() + data[end:]


def matches(file: BinaryIO, size: int) -> bool | None:
    """Whether the content of a Parquet file, of so many bytes, has its checksum; None where it has none."""
    file.seek(max(0, size - _TAIL_BYTES))
    footer = _footer_bytes(file.read())
    start = size - footer - _SEAL_BYTES
    if start < 0:
        return None
    file.seek(start)
    seal = file.read(_SEAL_BYTES)
    if not seal.startswith(_MARK):
        return None
    digest = hashlib.sha256()
    for first, last in ((0, start), (size - footer, size)):
        _hash(file, first, last, digest.update)
    return digest.digest() == seal[len(_MARK) :]


def _footer_bytes(tail: bytes) -> int:
    return int.from_bytes(tail[:4], "little") + _TAIL_BYTES


def _hash(file: BinaryIO, first: int, last: int, update: Callable[[bytes], None]) -> None:
    file.seek(first)
    while first < last and (block := file.read(min(_BLOCK_BYTES, last - first))):
        update(block)
        first += len(block)

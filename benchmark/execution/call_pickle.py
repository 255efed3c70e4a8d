"""A call as bytes for a child: its function and arguments; open files among them travel beside."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any


class _Pickler(pickle.Pickler):
    """Keeps the open files of connections among the arguments, which the child inherits."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self.files = list[int]()

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Connection):
            return None
        self.files.append(obj.fileno())
        return len(self.files) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, files: Sequence[int]) -> None:
        super().__init__(buffer)
        self._files = files

    def persistent_load(self, number: int) -> Connection:
        return Connection(self._files[number])


def packed(call: tuple[object, ...]) -> tuple[bytes, Sequence[int]]:
    """Pickle a function and its arguments; return also the open files that they need."""
    pickler = _Pickler(buffer := io.BytesIO())
    pickler.dump(call)
    return buffer.getvalue(), pickler.files


def unpacked(text: bytes, files: Sequence[int]) -> Any:
    """Function and arguments, in a child that has inherited the open files."""
    return _Unpickler(io.BytesIO(text), files).load()

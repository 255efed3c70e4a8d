"""Which files of a store can be read: those of this program whose content is as it was written."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from benchmark.store.checksum import matches
from benchmark.store.parquet import PLAIN, identity, version

logger = logging.getLogger(__name__)

FOREIGN: Final = "it holds no rows of this program"
_FIRST_WITH_CHECKSUM: Final = 9
"""Version of the schema from which on every file has a checksum."""
_KINDS: Final = (
    types.is_boolean,
    types.is_integer,
    types.is_floating,
    types.is_timestamp,
    lambda kind: types.is_string(kind) or types.is_large_string(kind),
)


def flaw(path: Path) -> str | None:
    """What is wrong with a file of rows; None for a sound one.

    Raises:
        FileNotFoundError: there is none.
    """
    try:
        with path.open("rb") as file:
            same = matches(file, path.stat().st_size)
            if same is not None:
                return None if same else "its content has changed since it was written"
            file.seek(0)
            return _foreign(pq.read_schema(file))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError) as error:
        return f"it can't be read: {str(error).partition(chr(10))[0][:100]}"


def _foreign(schema: pa.Schema) -> str | None:
    """Why a file without a checksum holds no rows of an older version of this program."""
    if version(schema) >= _FIRST_WITH_CHECKSUM:
        return "its checksum is damaged"
    if lacking := [name for name in ("run_id", "finished_at") if name not in schema.names]:
        return f"{FOREIGN}: it lacks {' and '.join(lacking)}"
    for field in schema:
        if field.name in PLAIN.names and not _alike(field.type, PLAIN.field(field.name).type):
            return f"{FOREIGN}: its column {field.name} is {field.type}"
    return None


def _alike(found: pa.DataType, ours: pa.DataType) -> bool:
    """Whether every value of a type can be read as one of our types, as other writers spell them."""
    if types.is_map(ours):
        return bool(types.is_map(found)) and _alike(found.item_type, ours.item_type)
    if types.is_list(ours):
        return bool(types.is_list(found) or types.is_large_list(found)) and _alike(
            found.value_type, ours.value_type
        )
    return bool(types.is_null(found)) or any(kind(found) and kind(ours) for kind in _KINDS)


class SoundFiles:
    """Finds the files that can be read. Each file is checked once, and again when it has changed."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[list[int], str | None]] = {}

    def among(self, files: Iterable[Path]) -> list[Path]:
        """Those that are sound; each of the others gets a warning, once."""
        return [file for file in files if not self._is_flawed(file)]

    def _is_flawed(self, file: Path) -> bool:
        with suppress(FileNotFoundError):  # reading it will show that
            state = identity(file.stat())
            if (known := self._found.get(file)) and known[0] == state:
                return known[1] is not None
            self._found[file] = state, (reason := flaw(file))
            if reason:
                logger.warning("%s is not read: %s; `store repair` sets it aside", file, reason)
            return reason is not None
        return False

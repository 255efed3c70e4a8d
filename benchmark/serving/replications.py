"""Finished replications of a run in a folder: a run that was stopped goes on from there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmark.serving.figures import Replication
from benchmark.serving_records import Observed

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES: Final = ("scheduled", "issued", "started", "ended")
_ARRAYS: Final = (*_TIMES, "room", "first", "prompt", "output", "padded", "first_token")


class Kept:
    """One file a replication; a file appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, replication: Replication) -> None:
        """Write one more."""
        self._folder.mkdir(parents=True, exist_ok=True)
        about = {
            "rate": replication.rate,
            "seconds": replication.seconds,
            "counted_from_s": replication.counted_from_s,
            "confirms": replication.confirms,
            "growing": replication.seen.growing,
        }
        arrays = {name: getattr(replication.seen, name) for name in _ARRAYS}
        temporary = self._folder / f".{os.getpid()}.npz"
        np.savez(temporary, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
        temporary.replace(self._folder / f"load-{len(self._files):05d}.npz")

    def all(self) -> list[Replication]:
        """All of them, in order."""
        return [self._read(file) for file in self._files]

    def table(self) -> pa.Table | None:
        """All as a table, a line each; None: there is none."""
        import pyarrow as pa

        lines = [
            {
                "replication": number,
                "role": "confirm" if one.confirms else "search",
                "offered_per_s": one.rate,
                "seconds": one.seconds,
                "counted_from_s": one.counted_from_s,
                "growing_per_s": one.seen.growing,
                **{f"{name}_ns": getattr(one.seen, name) for name in _TIMES},
                "batch_room": one.seen.room,
                "first_of_batch": one.seen.first,
                **(_tokens(one.seen) if one.seen.output.any() else {}),
            }
            for number, one in enumerate(self.all())
        ]
        return pa.Table.from_pylist(lines) if lines else None

    def discard(self) -> None:
        """Remove all: their run has its row."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("load-*.npz"))

    @staticmethod
    def _read(file: Path) -> Replication:
        with np.load(file, allow_pickle=False) as stored:
            about: dict[str, Any] = json.loads(str(stored["about"]))
            growing = about.pop("growing")
            seen = Observed(**{name: stored[name] for name in _ARRAYS}, growing=growing)
        return Replication(seen=seen, **about)


def _tokens(seen: Observed) -> dict[str, np.ndarray]:
    return {
        "first_token_ns": seen.first_token,
        "prompt_tokens": seen.prompt,
        "output_tokens": seen.output,
        "padded_to": seen.padded,
    }

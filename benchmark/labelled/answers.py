"""A model's answers to items, kept on disk block by block: a run that was stopped goes on from there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmark.errors import Crashed
from benchmark.paths import block_name

Answers = Mapping[str, np.ndarray]
"""Arrays by column, an entry an item: `id`, `label`, `predicted`, `right` and what else the task gives."""

_TIMES: Final = ("calls_ns", "wall_s", "cpu_s")
_FILE: Final = "answers.npz"


class Blocks:
    """Finished blocks of answers in a folder; a block appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, number: int) -> bool:
        """Whether a block is finished."""
        return any(self._files(number))

    def keep(self, number: int, of: int, answers: Answers, times: Mapping[str, np.ndarray]) -> None:
        """Write a finished block, of so many, with the times of its calls."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".block-{number}-{os.getpid()}.npz"
        np.savez(temporary, allow_pickle=False, **{**answers, **times})
        temporary.replace(self.folder / block_name(number, of))

    def read(self, number: int) -> tuple[Answers, Answers]:
        """Answers of a block, and the times of its calls."""
        (file,) = self._files(number)
        with np.load(file, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        times = {name: found.pop(name) for name in _TIMES}
        return found, times

    def all(self) -> Answers:
        """Answers of all blocks, in their order."""
        count = len(self._files())
        return joined([self.read(number)[0] for number in range(count)])

    def discard(self) -> None:
        """Remove all: their run has its row."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self, number: int | None = None) -> list[Path]:
        return [*self.folder.glob(block_name(number, None))]


def joined(parts: Sequence[Answers]) -> Answers:
    """Answers of several blocks in their order; lists of different lengths are filled with -1."""
    return {name: _stacked([part[name] for part in parts]) for name in parts[0]}


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    widths = {array.shape[1] for array in arrays if array.ndim > 1}
    if len(widths) > 1:
        most = max(widths)
        arrays = [np.pad(one, ((0, 0), (0, most - one.shape[1])), constant_values=-1) for one in arrays]
    return np.concatenate(arrays)


def save(answers: Answers, folder: Path, facts: Mapping[str, str]) -> None:
    """Write all answers into the folder of a cache entry."""
    np.savez(folder / _FILE, allow_pickle=False, **answers)
    (folder / "about.json").write_text(json.dumps(dict(facts), indent=1), encoding="utf-8")


def load(folder: Path) -> Answers:
    """Read what `save` wrote."""
    with np.load(folder / _FILE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def refuse_other_items(answers: Answers, reference: Answers) -> None:
    """Answers can be compared only item by item.

    Raises:
        Crashed: the items differ; names the first.
    """
    ours, theirs = answers["id"], reference["id"]
    shared = min(len(ours), len(theirs))
    differing = np.flatnonzero(ours[:shared] != theirs[:shared])
    if len(ours) == len(theirs) and not len(differing):
        return
    first = int(differing[0]) if len(differing) else shared
    shown = [str(ids[first]) if first < len(ids) else "no item" for ids in (ours, theirs)]
    raise Crashed(
        f"its items aren't those of the reference: item {first + 1} is {shown[0]} here and {shown[1]} there: "
        "answer the same split in the same order"
    )

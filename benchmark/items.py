"""Labelled items of a data set: what a model is asked, and the right answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.errors import Unavailable

Split = Literal["test", "train"]
Kind = Literal["text", "pair", "image", "question"]
"""What an item holds: a text, two texts, an image, or a question and its context."""


class Item(NamedTuple):
    """One labelled item."""

    id: str
    """Unique in its data set: answers of two runs are paired by it."""
    content: Any
    """A text; two texts; the file of an image, or its pixels as uint8 of (height, width[, 3])."""
    label: str
    """Name of its class; empty where the item itself is the answer."""
    accepted: tuple[str, ...] = ()
    """Texts of which each is a right answer, for questions."""


class Items(NamedTuple):
    """Items of one split, in their order."""

    items: tuple[Item, ...]
    classes: tuple[str, ...]
    """Names of the classes, in the order of the data set's numbers; empty where items have none."""
    skipped: int = 0
    """Items that can't be read and were left out because that was asked for."""

    @property
    def digest(self) -> str:
        """Hash of the items in their order: ids, labels, texts, sizes of image files."""
        content = hashlib.sha256()
        for item in self.items:
            content.update(repr((item.id, item.label, item.accepted, _counted(item.content))).encode())
        return content.hexdigest()[:16]


def _counted(content: Any) -> Any:
    if isinstance(content, Path):
        return content.stat().st_size
    return content.tobytes() if hasattr(content, "tobytes") else content


def check(name: str, where: str, items: Sequence[Item]) -> None:
    """Refuse items by which nothing can be scored.

    Raises:
        Unavailable: there are none, or an item has no id, no label, or the id of another one.
    """
    if not items:
        raise Unavailable(f"dataset={name}: {where} has no items: name another file or folder")
    for number, item in enumerate(items, 1):
        if not item.id:
            raise Unavailable(
                f"dataset={name}: item {number} of {where} has no id: fill the column, or set "
                "dataset.id=null to number the items"
            )
    twice, count = Counter(item.id for item in items).most_common(1)[0]
    if count > 1:
        raise Unavailable(
            f"dataset={name}: {count} items of {where} have the id {twice}: answers are paired by id, "
            "so name a column with different values, or set dataset.id=null to number the items"
        )

"""Data sets of Hugging Face's hub, at a pinned revision, by the library `datasets`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from benchmark.errors import LibraryMissing, Unavailable
from benchmark.host import libraries
from benchmark.items import Item, Items, Kind, Split, check
from benchmark.labelled.source import Source
from benchmark.records import frozen

_UNLABELLED = -1
"""Label of items whose answers are kept back, as in the test splits of GLUE."""


@frozen
class Hub(Source):
    """`path` is the repository's id. Labels that are numbers get the names that the data set states."""

    revision: Annotated[str, Field(pattern=r"[0-9a-f]{40}")]
    """Commit of the repository: a branch would be other data tomorrow."""
    config: str | None = None
    """Name of the configuration, such as `sst2` of glue."""
    split: str = "validation"
    """Split that is answered."""
    train_split: str = "train"
    """Split that is fitted on."""
    content: Literal["text", "image"] = "text"
    text: str = "text"
    """Column of the text, or of the image."""
    pair: str | None = None
    label: str = "label"
    id: str | None = None
    """Column of the ids; null: items are numbered from 1 on."""

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """What its columns hold."""
        return "image" if self.content == "image" else "pair" if self.pair else "text"

    def missing(self) -> str | None:
        """The library, where it is absent."""
        try:
            libraries.versions("datasets", install="pip install datasets")
        except LibraryMissing as error:
            return f"dataset={self.name}: {error}"
        return None

    def digest(self) -> str:
        """Its revision is its content."""
        return hashlib.sha256(f"{self.path}@{self.revision}".encode()).hexdigest()[:16]

    def items(self, split: Split) -> Items:
        """Items of the split, from the hub or its cache on this host.

        Raises:
            Unavailable: it isn't on this host and the hub can't be reached, or it lacks a column.
        """
        if absent := self.missing():
            raise Unavailable(absent)
        import datasets

        name = self.split if split == "test" else self.train_split
        try:
            found = datasets.load_dataset(self.path, self.config, split=name, revision=self.revision)
        except Exception as error:
            raise Unavailable(
                f"dataset={self.name}: {self.path}@{self.revision[:12]} is not on this host, nor does "
                f"the hub give its split {name}: {' '.join(str(error).split())[:200]}"
            ) from error
        wanted = [column for column in (self.text, self.pair, self.label, self.id) if column]
        if lacking := [column for column in wanted if column not in found.column_names]:
            raise Unavailable(
                f"dataset={self.name}: it has no column {', '.join(lacking)}: its columns are "
                f"{', '.join(found.column_names)}"
            )
        names = tuple(getattr(found.features[self.label], "names", None) or ())
        items: Sequence[Item] = [self._item(line, names, place) for place, line in enumerate(found, 1)]
        check(self.name, f"its split {name}", items)
        most = self.limit if split == "test" else self.train_limit
        if most is not None and most < len(items):
            items = self._part(items, most, "test")
        return Items(tuple(items), self.classes or names or tuple(sorted({item.label for item in items})))

    def _item(self, line: Mapping[str, Any], names: Sequence[str], place: int) -> Item:
        import numpy as np

        content: Any = line[self.text]
        if self.content == "image":
            content = np.asarray(content.convert("RGB"))
        elif self.pair:
            content = (content, line[self.pair])
        number = line[self.label]
        if number is None or number == _UNLABELLED:
            raise Unavailable(
                f"dataset={self.name}: item {place} has no label, as where answers are kept back: choose "
                "another dataset.split"
            )
        label = names[number] if names else str(number)
        return Item(str(line[self.id]) if self.id else str(place), content, label)

    def read(self, file: Path) -> tuple[Sequence[Item], int]:
        """No file of this format lies on the host; `items` asks the library."""
        raise Unavailable(f"dataset={self.name}: {file} is a name on the hub, not a file")

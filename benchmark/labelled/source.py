"""What data sets of every format share: name, metric, splits, limits and checks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from benchmark.errors import Unavailable
from benchmark.host import libraries
from benchmark.host.packages import located, missing
from benchmark.items import Item, Items, Kind, Split, check
from benchmark.records import Names, frozen

Metric = Literal["accuracy", "matthews", "f1", "exact_match", "perplexity"]


@frozen
class Source:
    """A data set of one or two files or folders. Formats say how they are read."""

    name: str
    """As in `dataset=bbc`: the stem of its YAML."""
    path: str
    """File or folder of the items to answer; `pkg://DISTRIBUTION/PATH` lies inside an installed package."""
    train_path: str | None = None
    """That of the items to fit on; null: `test_share` divides the items of `path`."""
    test_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the items that are answered where one file has all, by `split_seed`, alike in classes."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    metric: Metric = "accuracy"
    """The figure that counts, beside the share of right answers."""
    classes: Names = ()
    """Names of the classes in the order of their numbers; empty: those of the items, sorted."""
    limit: PositiveInt | None = None
    """Most items that are answered, drawn by `split_seed`; null: all."""
    train_limit: PositiveInt | None = None
    """Most items that are fitted on."""
    broken: Literal["refuse", "skip"] = "refuse"
    """What to do about items that can't be read; skipped ones are counted in the row."""

    kind: ClassVar[Kind]

    def missing(self) -> str | None:
        """What this host lacks to read it, and what to do about it."""
        for place in filter(None, (self.path, self.train_path)):
            if absent := missing(place):
                return f"dataset={self.name}: {absent}"
        return None

    def digest(self) -> str:
        """Hash of names and sizes of its files: other files are another cell."""
        found = hashlib.sha256()
        for place in filter(None, (self.path, self.train_path)):
            root = located(place)
            files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
            for file in files:
                name = file.relative_to(root.parent).as_posix()
                found.update(f"{name} {file.stat().st_size if file.exists() else 'absent'}\n".encode())
        return found.hexdigest()[:16]

    def items(self, split: Split) -> Items:
        """Its items of a split, checked.

        Raises:
            Unavailable: it can't be read, or has no such split, or items by which nothing can be scored.
        """
        if absent := self.missing():
            raise Unavailable(absent)
        place = self.train_path if split == "train" and self.train_path else self.path
        if split == "train" and not self.train_path and not self.test_share:
            raise Unavailable(
                f"dataset={self.name}: it has no items to fit on: give dataset.train_path, or "
                "dataset.test_share"
            )
        file = located(place)
        try:
            found, skipped = self.read(file)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"dataset={self.name}: {file} can't be read: {error}") from error
        check(self.name, str(file), found)
        names = self.classes or tuple(sorted({item.label for item in found} - {""}))
        if strangers := sorted({item.label for item in found} - {*names, ""}):
            raise Unavailable(
                f"dataset={self.name}: {file} has labels that dataset.classes lacks: "
                f"{', '.join(strangers[:5])}"
            )
        if self.test_share and not self.train_path:
            found = self._part(found, self.test_share, split)
        most = self.train_limit if split == "train" else self.limit
        if most is not None and most < len(found):
            found = self._part(found, most, "test")
        return Items(tuple(found), names, skipped)

    def _part(self, items: Sequence[Item], share: float, split: Split) -> Sequence[Item]:
        """Items of one of two parts, in their order; the classes have the same shares in both."""
        try:
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise Unavailable(
                f"dataset={self.name}: scikit-learn divides its items: {libraries.command_for('accuracy')}"
            ) from error
        labels = [item.label for item in items]
        try:
            train, test = train_test_split(
                range(len(items)),
                test_size=share,
                random_state=self.split_seed,
                stratify=labels if len(set(labels)) > 1 else None,
            )
        except ValueError as error:
            raise Unavailable(
                f"dataset={self.name}: its {len(items)} items can't be divided: {error}"
            ) from error
        return [items[index] for index in sorted(test if split == "test" else train)]

    def read(self, file: Path) -> tuple[Sequence[Item], int]:
        """All items of a file or folder, and how many were skipped.

        Raises:
            Unavailable: an item can't be read, and `broken` doesn't say to skip it.
        """
        raise NotImplementedError

"""Small grey images as lines of a CSV: the pixels of a square, then the class. So MNIST and digits come."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import PositiveFloat

from benchmark.errors import Unavailable
from benchmark.items import Item, Kind
from benchmark.labelled.source import Source
from benchmark.records import frozen


@frozen
class PixelTable(Source):
    """A line is an item; its id is its number, from 1 on."""

    brightest: PositiveFloat = 255.0
    """Value of white; 0 is black."""

    kind: ClassVar[Kind] = "image"

    def read(self, file: Path) -> tuple[Sequence[Item], int]:
        """Its lines as images of uint8."""
        import numpy as np

        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8") as stream:
            lines = [line for line in stream if line.strip()]
        if not lines:
            return (), 0
        try:
            table = np.loadtxt(lines, delimiter=",", ndmin=2)
        except ValueError as error:
            raise Unavailable(f"dataset={self.name}: {file} is no table of numbers: {error}") from error
        edge = math.isqrt(table.shape[1] - 1)
        if edge * edge != table.shape[1] - 1:
            raise Unavailable(
                f"dataset={self.name}: {file} has {table.shape[1] - 1} pixels a line, which are no square"
            )
        pixels = np.rint(table[:, :-1].clip(0, self.brightest) * (255 / self.brightest)).astype(np.uint8)
        images = pixels.reshape(-1, edge, edge)
        labels = table[:, -1].astype(int)
        return [
            Item(str(number), image, str(label))
            for number, (image, label) in enumerate(zip(images, labels, strict=True), 1)
        ], 0

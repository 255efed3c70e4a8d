"""Files in a folder for each class, as ImageNet has them; or files whose classes a CSV names."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from benchmark.errors import Unavailable
from benchmark.host.packages import located
from benchmark.items import Item, Kind
from benchmark.labelled.source import Source
from benchmark.records import frozen

_SUFFIXES = {
    "image": frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}),
    "text": frozenset({".txt"}),
}


@frozen
class ClassFolders(Source):
    """A file is an item: an image, or a text. Its id is its path inside the folder."""

    content: Literal["image", "text"] = "image"
    """What the files hold."""
    labels: str | None = None
    """CSV with the lines `file,class` for files in one folder; null: each class has a folder."""

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """Images or texts."""
        return self.content

    def read(self, file: Path) -> tuple[Sequence[Item], int]:
        """Its files as items. Every image is decoded once, so that a broken one is known beforehand."""
        if not file.is_dir():
            raise Unavailable(f"dataset={self.name}: {file} is no folder")
        found, skipped = list[Item](), 0
        for path, label in self._listed(file):
            try:
                content = self._content(path)
            except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError for some PNGs
                if self.broken == "refuse":
                    raise Unavailable(
                        f"dataset={self.name}: {path} can't be read: {error}: remove it, or set "
                        "dataset.broken=skip"
                    ) from error
                skipped += 1
                continue
            found.append(Item(path.relative_to(file).as_posix(), content, label))
        return found, skipped

    def _listed(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Files and their classes, sorted."""
        suffixes = _SUFFIXES[self.content]
        if self.labels is None:
            for path in sorted(folder.glob("*/*")):
                if path.suffix.lower() in suffixes and path.is_file():
                    yield path, path.parent.name
            return
        place = located(self.labels)
        with place.open(encoding="utf-8-sig", newline="") as stream:
            for number, line in enumerate(csv.reader(stream), 1):
                if len(line) != 2:  # noqa: PLR2004 - file and class
                    raise Unavailable(
                        f"dataset={self.name}: line {number} of {place} isn't `file,class`: correct it"
                    )
                path = folder / line[0].strip()
                if number == 1 and not path.exists():
                    continue  # names of the columns
                yield path, line[1].strip()

    def _content(self, path: Path) -> Path | str:
        """A text; or the path of an image that can be decoded."""
        if self.content == "text":
            return _decoded(path.read_bytes())
        from PIL import Image

        with Image.open(path) as image:
            image.load()
        return path


def _decoded(data: bytes) -> str:
    """UTF-8, or else Latin 1, in which every byte is a letter."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")

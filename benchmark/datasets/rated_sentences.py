"""Sentences that people rated, in the source distribution of vaderSentiment: Hutto and Gilbert (2014)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import NonNegativeFloat

from benchmark.errors import Unavailable
from benchmark.host.packages import located
from benchmark.items import Item, Kind
from benchmark.labelled.source import Source
from benchmark.records import frozen

_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
_FIELDS = 3


@frozen
class RatedSentences(Source):
    """`path` is the archive as `pip download` writes it: the installed package lacks the sentences."""

    file: str = "movieReviewSnippets_GroundTruth.txt"
    """Which of its files: movie, tweets, amazon or nyt."""
    least_rating: NonNegativeFloat = 0.5
    """Sentences whose mean rating, from -4 to 4, is nearer to 0 are left out: they are neither."""

    kind: ClassVar[Kind] = "text"

    def missing(self) -> str | None:
        """Name the command that downloads the archive."""
        if located(self.path).is_file():
            return None
        return (
            f"dataset={self.name}: {self.path} is not on this host: pip download --no-deps "
            "--no-binary :all: vaderSentiment==3.3.2, and set dataset.path"
        )

    def read(self, file: Path) -> tuple[Sequence[Item], int]:
        """Its sentences; the class is the sign of the rating."""
        try:
            with tarfile.open(file) as archive:
                (inner,) = (one for one in archive.getmembers() if one.name.endswith(_INNER))
                with tarfile.open(fileobj=io.BytesIO(_read(archive, inner))) as inside:
                    (member,) = (one for one in inside.getmembers() if one.name.endswith("/" + self.file))
                    text = _read(inside, member).decode("utf-8", "replace")
        except (tarfile.TarError, ValueError) as error:
            raise Unavailable(f"dataset={self.name}: {file} has no {self.file} inside: {error}") from error
        lines = (line.split("\t", _FIELDS - 1) for line in text.splitlines())
        rated = ((key, float(rating), sentence) for key, rating, sentence in lines)
        return [
            Item(key.strip(), sentence, "positive" if rating > 0 else "negative")
            for key, rating, sentence in rated
            if abs(rating) >= self.least_rating
        ], 0


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""

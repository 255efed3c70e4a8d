"""Questions about texts, in SQuAD's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import Unavailable
from benchmark.items import Item, Kind
from benchmark.labelled.source import Source
from benchmark.records import frozen


@frozen
class Squad(Source):
    """A question is an item. Those without an answer, as SQuAD 2 has them, are refused or skipped."""

    kind: ClassVar[Kind] = "question"

    def read(self, file: Path) -> tuple[Sequence[Item], int]:
        """Its questions, with their contexts and all accepted answers."""
        try:
            content = json.loads(file.read_bytes())
            found = [*_questions(content)]
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                f"dataset={self.name}: {file} is no JSON as SQuAD's (data, paragraphs, qas): {error!r}"
            ) from error
        answered = [item for item in found if item.accepted]
        if len(answered) < len(found) and self.broken == "refuse":
            first = next(item.id for item in found if not item.accepted)
            raise Unavailable(
                f"dataset={self.name}: question {first} of {file} has no answer: set dataset.broken=skip"
            )
        return answered, len(found) - len(answered)


def _questions(content: Any) -> Iterator[Item]:
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                accepted = tuple(dict.fromkeys(str(one["text"]) for one in question["answers"]))
                texts = (str(question["question"]), str(paragraph["context"]))
                yield Item(str(question["id"]), texts, "", accepted)

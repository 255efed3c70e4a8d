"""How a kind of model is asked the items of a data set, and how its answers are graded. In children only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmark.errors import Incompatible
from benchmark.items import Item, Items
from benchmark.labelled import head as heads
from benchmark.labelled import spans
from benchmark.labelled.answers import Answers
from benchmark.labelled.inputs import Images, Texts
from benchmark.models.text_encoder import SEGMENTS
from benchmark.records import Model, Workload

_SYNSET = re.compile(r"n\d{8}")
"""Names of ImageNet's classes: in their order, models number them."""
_SHOWN = 5
SCORED = "scored_tokens"
"""Tokens that a generation is forced to make, and scored by."""
_LONGEST_ANSWER = 30
"""Tokens, as in SQuAD's usual evaluation of BERT."""

Arrays = Mapping[str, np.ndarray]


class Questions(Protocol):
    """Asks items of one kind, and grades the answers."""

    def arrays(self, items: Sequence[Item]) -> Arrays:
        """Inputs of the model by name, an entry an item."""

    def graded(self, items: Sequence[Item], given: Arrays, outputs: Sequence[np.ndarray]) -> Answers:
        """Columns of the answers, an entry an item."""


class Classes:
    """One class of several, for a text, two texts or an image."""

    def __init__(
        self,
        inputs: Texts | Images,
        names: Sequence[str],
        numbers: Sequence[int],
        head: heads.LinearHead | None,
    ) -> None:
        """`numbers` are those that the model gives the classes `names`."""
        self._inputs, self._head = inputs, head
        self._number = dict(zip(names, numbers, strict=True))
        self._name = {number: name for name, number in self._number.items()}

    def number(self, name: str) -> int:
        """The model's number of a class."""
        return int(self._number[name])

    def arrays(self, items: Sequence[Item]) -> Arrays:
        """Tokens or pixels."""
        return self._inputs.arrays(items)

    def graded(self, items: Sequence[Item], given: Arrays, outputs: Sequence[np.ndarray]) -> Answers:
        """Besides the predicted class: its logit's distance to the next, and the rank of the right class."""
        logits = outputs[0][: len(items)].astype(np.float64)
        if self._head is not None:
            mask = given.get("attention_mask")
            means = heads.features(logits, None if mask is None else mask[: len(items)])
            logits = self._head.logits(means).astype(np.float64)
        order = np.argsort(-logits, axis=1, kind="stable")
        rows = np.arange(len(items))
        top = order[:, 0]
        margin = logits[rows, top] - logits[rows, order[:, 1]]
        right = np.array([self._number[item.label] for item in items])
        rank = (order == right[:, None]).argmax(axis=1)
        valid = np.isfinite(logits).all(axis=1)
        predicted = [self._name.get(int(one), f"class {one}") for one in top]
        return {
            "id": np.array([item.id for item in items]),
            "label": np.array([item.label for item in items]),
            "predicted": np.where(valid, predicted, ""),
            "margin": np.where(valid, margin, np.nan),
            "rank": np.where(valid, rank, logits.shape[1]),
            "right": valid & (rank == 0),
        }


class NextTokens:
    """The tokens of a text, each from those before it (teacher forcing): the prompt's aren't scored."""

    def __init__(self, inputs: Texts, prompt: int, scored: int) -> None:
        self._inputs, self._prompt, self._scored = inputs, prompt, scored

    def arrays(self, items: Sequence[Item]) -> Arrays:
        """The prompt, the tokens to score, and how many of these the text has."""
        tokens = np.zeros((len(items), self._prompt + self._scored), np.int64)
        counts = np.zeros(len(items), np.int64)
        for row, item in enumerate(items):
            ids = self._inputs.ids(item.content)[: tokens.shape[1]]
            tokens[row, : len(ids)] = ids
            counts[row] = max(0, len(ids) - self._prompt)
        return {"input_ids": tokens[:, : self._prompt], SCORED: tokens[:, self._prompt :], "counts": counts}

    def graded(self, items: Sequence[Item], given: Arrays, outputs: Sequence[np.ndarray]) -> Answers:
        """Nats and hits of the scored tokens. A text without any beyond the prompt counts nothing."""
        count = len(items)
        nats, likeliest = (one[:count] for one in outputs)
        tokens, counts = given[SCORED][:count], given["counts"][:count]
        real = np.arange(self._scored) < counts[:, None]
        likeliest = likeliest.astype(np.int64)
        return {
            "id": np.array([item.id for item in items]),
            "label": np.array([item.label for item in items]),
            "tokens": counts,
            "nll": np.where(real, nats, 0.0).sum(axis=1, dtype=np.float64),
            "next_right": ((likeliest == tokens) & real).sum(axis=1),
            "next_tokens": np.where(real, likeliest, -1),
        }


class Spans:
    """The part of a text that answers a question. What lies behind the cut text counts as wrong."""

    def __init__(self, inputs: Texts) -> None:
        self._inputs = inputs

    def arrays(self, items: Sequence[Item]) -> Arrays:
        """Tokens of question and text."""
        return self._inputs.spans(items)

    def graded(self, items: Sequence[Item], given: Arrays, outputs: Sequence[np.ndarray]) -> Answers:
        """The likeliest span of at most 30 tokens; right if it is accepted, as SQuAD compares texts."""
        predicted, margins = list[str](), list[float]()
        for row, item in enumerate(items):
            inside = given["first"][row] >= 0
            start, end = (np.where(inside, one[row].astype(np.float64), -np.inf) for one in outputs[:2])
            allowed = np.tri(len(start), k=_LONGEST_ANSWER - 1, dtype=bool) & np.triu(
                inside[:, None] & inside
            )
            scores = np.where(allowed, start[:, None] + end, -np.inf)
            place = int(scores.argmax())
            first, last = divmod(place, len(start))
            context = item.content[1]
            predicted.append(context[given["first"][row][first] : given["last"][row][last]])
            best = scores.flat[place]
            scores.flat[place] = -np.inf
            margins.append(float(best - scores.max()))
        exact = [spans.exact(text, item.accepted) for text, item in zip(predicted, items, strict=True)]
        return {
            "id": np.array([item.id for item in items]),
            "label": np.array([item.accepted[0] for item in items]),
            "predicted": np.array(predicted),
            "margin": np.array(margins),
            "right": np.array(exact),
            "f1": np.array(
                [spans.f1(text, item.accepted) for text, item in zip(predicted, items, strict=True)]
            ),
        }


def class_numbers(names: Sequence[str], labels: Mapping[int, str], *, stated: bool) -> Sequence[int]:
    """The model's number of each class of the data set.

    By name; or in order, where the model's classes have no names (LABEL_0), are ImageNet's, or the data set's
    YAML states the order.

    Raises:
        Incompatible: the model doesn't know a label.
    """
    known = {spelling: number for number, name in labels.items() for spelling in _spellings(name)}
    found = [known.get(name.casefold().strip()) for name in names]
    if None not in found:
        return [number for number in found if number is not None]
    unnamed = all(re.fullmatch(r"LABEL_\d+", name) for name in labels.values())
    synsets = all(map(_SYNSET.fullmatch, names))
    if len(names) == len(labels) and (unnamed or synsets or stated):
        return range(len(names))
    if unnamed and all(name.isdecimal() and int(name) < len(labels) for name in names):
        return [int(name) for name in names]
    strangers = [name for name, number in zip(names, found, strict=True) if number is None]
    theirs = ", ".join([*labels.values()][:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
    raise Incompatible(
        f"the model doesn't know {_some(strangers)}: it has {len(labels)} classes ({theirs}), the "
        f"data set {len(names)}: choose another model or data set, or name the model's classes in its "
        "order in dataset.classes"
    )


def _spellings(name: str) -> set[str]:
    """A name in small letters; of several synonyms each, as ImageNet's have them."""
    return {name.casefold().strip(), *(one.casefold().strip() for one in name.split(","))}


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    what = "the label " if len(names) == 1 else "the labels "
    return what + ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def questions(
    model: Model,
    workload: Workload,
    items: Items,
    *,
    stated: bool,
    head: Path | None = None,
) -> Questions:
    """How this model is asked these items.

    Raises:
        Incompatible: the model doesn't know a label.
        Unavailable: its tokenizer or image processor isn't on this host.
    """
    inputs = inputs_of(model, workload)
    _refuse_pairs_without_segments(items, workload)
    if isinstance(inputs, Texts) and (scored := workload.shape.output_length):
        return NextTokens(inputs, workload.input_shapes["input_ids"][1], scored)
    if isinstance(inputs, Texts) and items.items[0].accepted:
        return Spans(inputs)
    if head is not None:
        fitted = heads.load(head)
        numbers = class_numbers(items.classes, dict(enumerate(fitted.classes)), stated=False)
        return Classes(inputs, items.classes, numbers, fitted)
    return Classes(
        inputs,
        items.classes,
        class_numbers(items.classes, _labels(weights_of(workload)), stated=stated),
        None,
    )


def _refuse_pairs_without_segments(items: Items, workload: Workload) -> None:
    """Refuse two texts for a model that knows them apart by an input that it isn't given."""
    if not isinstance(items.items[0].content, tuple) or SEGMENTS in workload.input_names:
        return
    config = _configuration(weights_of(workload))
    if getattr(config, "type_vocab_size", 0) > 1:
        raise Incompatible(
            f"a {config.model_type} knows two texts apart by {SEGMENTS}, which it isn't given: "
            "set task.segments=true"
        )


def weights_of(workload: Workload) -> Path:
    """Folder of the model's weights, its configuration and what prepares its inputs."""
    assert workload.weights is not None  # noqa: S101 - a simulated device answers nothing
    return workload.weights


def inputs_of(model: Model, workload: Workload) -> Texts | Images:
    """What prepares items for this model.

    Raises:
        Unavailable: its tokenizer isn't on this host.
    """
    weights = weights_of(workload)
    if "pixel_values" in workload.input_names:
        return Images(weights, tuple(workload.input_shapes["pixel_values"][1:]))
    return Texts(model, weights, workload.input_shapes["input_ids"][1])


def _labels(weights: Path) -> Mapping[int, str]:
    """The model's classes by number."""
    return {int(number): str(name) for number, name in _configuration(weights).id2label.items()}


def _configuration(weights: Path) -> Any:
    from transformers import AutoConfig

    from benchmark.models import convnets

    convnets.register()
    return AutoConfig.from_pretrained(weights, local_files_only=True, trust_remote_code=False)

"""Real text and photographs for `inputs=real`: their lengths and pixels differ from random values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from benchmark.errors import Unavailable
from benchmark.host import libraries
from benchmark.records import Model

_PICTURES = ("chelsea", "astronaut", "coffee", "rocket")
"""Colour photographs in scikit-image's wheel, in the public domain or CC0."""
_MEAN, _SPREAD = 0.5, 0.5
"""Mean and spread of ViT's and BEiT's image processors, for weights that come without a processor."""
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""Files of which one lies beside a model that has an image processor."""
_RESIZING = ("do_resize", "do_center_crop", "do_pad")
"""Steps of image processors that change the size of an image."""
_FEWEST_WORDS = 20
"""Smallest vocabulary of a tokenizer. Without a file transformers 5 makes one with special tokens only."""


def sentences() -> list[str]:
    """Passages of books and speeches in the public domain, of 1 to 90 words."""
    text = resources.files("benchmark.models").joinpath("sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


def tokens(model: Model, folder: Path, batch_size: int, length: int, seed: int) -> Mapping[str, Any]:
    """`input_ids` and `attention_mask` of (batch, length): one passage per item, padded or cut.

    Raises:
        Unavailable: neither the weights' folder nor the hub has the model's tokenizer.
    """
    reader = tokenizer(model, folder)
    passages = sentences()
    chosen = [passages[(seed + item) % len(passages)] for item in range(batch_size)]
    encoded = reader(chosen, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def prompt(model: Model, folder: Path, batch_size: int, length: int, seed: int) -> Any:
    """The beginning of a text as `input_ids` of (batch, length), without padding.

    Raises:
        Unavailable: as `tokens`.
    """
    import torch

    reader = tokenizer(model, folder)
    ids = reader(" ".join(sentences()))["input_ids"]
    ids *= math.ceil((length + seed + batch_size) / len(ids))
    return torch.tensor([ids[seed + item : seed + item + length] for item in range(batch_size)])


def pixels(folder: Path, batch_size: int, channels: int, size: int, seed: int) -> Any:
    """`pixel_values` of (batch, channels, size, size): squares from photographs, normalised for the model.

    Raises:
        Unavailable: scikit-image is not installed.
    """
    import numpy as np
    import torch
    from PIL import Image

    try:
        from skimage import data
    except ImportError as error:
        raise Unavailable(
            f"inputs=real: photographs come with scikit-image: {libraries.command_for('real')}"
        ) from error
    photographs = [Image.fromarray(getattr(data, name)()) for name in _PICTURES]
    chosen = [_square(photographs[(seed + item) % len(photographs)], size) for item in range(batch_size)]
    if has_processor(folder):
        return _prepared(folder, chosen, (batch_size, channels, size, size))
    grey = chosen if channels == 3 else [picture.convert("L") for picture in chosen]  # noqa: PLR2004 - colours
    stacked = np.stack([np.asarray(picture, np.float32).reshape(size, size, -1) for picture in grey])
    return torch.from_numpy((stacked / 255 - _MEAN) / _SPREAD).permute(0, 3, 1, 2).contiguous()


def _prepared(folder: Path, pictures: list[Any], shape: tuple[int, ...]) -> Any:
    """Pictures as the image processor in the folder prepares them: scaled to its range, and normalised.

    They are squares of the right size already. Processors name sizes in their own ways (`height`,
    `shortest_edge`, `longest_edge`, `crop_pct`), so their steps that change the size are left out.

    Raises:
        Unavailable: the processor makes another shape.
    """
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    left_out = {name: False for name in _RESIZING if getattr(processor, name, None)}
    prepared = processor(pictures, **left_out, return_tensors="pt")["pixel_values"]
    if tuple(prepared.shape) != shape:
        kind = type(processor).__name__
        raise Unavailable(
            f"inputs=real: {kind} in {folder} makes pixels of {list(prepared.shape)} "
            f"instead of {list(shape)}: use inputs=random"
        )
    return prepared


def refuse(model: Model, kind: str) -> Unavailable:
    """Return the error of a task that has no real inputs of this kind."""
    return Unavailable(f"inputs=real: this program has no {kind} for model={model.name}: use inputs=random")


def _square(picture: Any, size: int) -> Any:
    """The square in the middle of an image, scaled."""
    edge = min(picture.size)
    left, top = ((length - edge) // 2 for length in picture.size)
    return picture.crop((left, top, left + edge, top + edge)).resize((size, size))


def vocabulary(model: Model) -> int | None:
    """Number of tokens that the model knows; None where its configuration doesn't say."""
    from benchmark.models import networks

    words = getattr(networks.configuration(model).get_text_config(), "vocab_size", None)
    return words if isinstance(words, int) else None


def has_processor(folder: Path) -> bool:
    """Whether an image processor lies beside the weights."""
    return any((folder / name).is_file() for name in _PROCESSORS)


def tokenizer(model: Model, folder: Path, asked: str = "inputs=real") -> Any:
    """Load the tokenizer from the weights' folder, or else the published one; `asked` needs it.

    Raises:
        Unavailable: neither has it.
    """
    import transformers

    places: list[tuple[Any, dict[str, Any]]] = [(folder, {"local_files_only": True})]
    if model.hub_id is not None:
        places.append((model.hub_id, {"revision": model.revision or "main"}))
    for place, options in places:
        try:
            found = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False, **options)
        except (OSError, ValueError, KeyError, TypeError):  # depends on the file that is missing
            continue
        if len(found) > _FEWEST_WORDS:
            if found.pad_token is None:
                found.pad_token = found.eos_token
            return found
    published = (
        f"and the hub has no {model.hub_id}, or can't be reached"
        if model.hub_id
        else "and its YAML names no hub_id"
    )
    instead = "inputs=random, " if asked == "inputs=real" else ""
    raise Unavailable(
        f"{asked}: model={model.name} has no tokenizer in {folder}, {published}: use {instead}"
        "weights=pretrained, or weights=FOLDER with a tokenizer saved beside the model"
    )

"""Text and pictures as people make them, for `inputs=real`: lengths and pixels that random values lack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from benchmark.errors import Unavailable
from benchmark.records import Model

_PICTURES = ("chelsea", "astronaut", "coffee", "rocket")
"""Colour photographs of scikit-image that come within its wheel, in the public domain or CC0."""
_MEAN, _SPREAD = 0.5, 0.5
"""How ViT's and BEiT's processors normalise; a model's own does where its weights come with one."""
_FEWEST_WORDS = 20
"""Without a vocabulary transformers 5 makes a tokenizer that knows the special tokens alone."""


def sentences() -> list[str]:
    """Passages of old books and speeches, of 1 to 90 words; in the public domain."""
    text = resources.files("benchmark.models").joinpath("sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


def tokens(model: Model, folder: Path, batch_size: int, length: int, seed: int) -> Mapping[str, Any]:
    """`input_ids` and `attention_mask` of (batch, length): a passage each, padded or cut.

    Raises:
        Unavailable: the model's tokenizer is neither with its weights nor to be had from the hub.
    """
    tokenizer = _tokenizer(model, folder)
    passages = sentences()
    chosen = [passages[(seed + item) % len(passages)] for item in range(batch_size)]
    encoded = tokenizer(chosen, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def prompt(model: Model, folder: Path, batch_size: int, length: int, seed: int) -> Any:
    """The beginning of running text as `input_ids` of (batch, length), without padding.

    Raises:
        Unavailable: as `tokens`.
    """
    import torch

    tokenizer = _tokenizer(model, folder)
    ids = tokenizer(" ".join(sentences()))["input_ids"]
    ids *= math.ceil((length + seed + batch_size) / len(ids))
    return torch.tensor([ids[seed + item : seed + item + length] for item in range(batch_size)])


def pixels(folder: Path, batch_size: int, channels: int, size: int, seed: int) -> Any:
    """`pixel_values` of (batch, channels, size, size): photographs' middles, normalised as the model asks.

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
            "inputs=real: photographs come with scikit-image: pip install -e '.[real]'"
        ) from error
    photographs = [Image.fromarray(getattr(data, name)()) for name in _PICTURES]
    chosen = [_square(photographs[(seed + item) % len(photographs)], size) for item in range(batch_size)]
    if (folder / "preprocessor_config.json").is_file():
        from transformers import AutoImageProcessor

        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        return processor(chosen, size={"height": size, "width": size}, return_tensors="pt")["pixel_values"]
    grey = chosen if channels == 3 else [picture.convert("L") for picture in chosen]  # noqa: PLR2004 - colours
    stacked = np.stack([np.asarray(picture, np.float32).reshape(size, size, -1) for picture in grey])
    return torch.from_numpy((stacked / 255 - _MEAN) / _SPREAD).permute(0, 3, 1, 2).contiguous()


def refuse(model: Model, kind: str) -> Unavailable:
    """The error of a task for which nothing real is at hand."""
    return Unavailable(f"inputs=real: there is no {kind} here for model={model.name}: use inputs=random")


def _square(picture: Any, size: int) -> Any:
    """The middle of a picture, scaled."""
    edge = min(picture.size)
    left, top = ((length - edge) // 2 for length in picture.size)
    return picture.crop((left, top, left + edge, top + edge)).resize((size, size))


def _tokenizer(model: Model, folder: Path) -> Any:
    """The one that lies with the weights, or else the published one."""
    import transformers

    places: list[tuple[Any, dict[str, Any]]] = [(folder, {"local_files_only": True})]
    if model.hub_id is not None:
        places.append((model.hub_id, {"revision": model.revision or "main"}))
    for place, options in places:
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
        except (OSError, ValueError, KeyError, TypeError):  # whatever it misses first
            continue
        if len(tokenizer) > _FEWEST_WORDS:
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            return tokenizer
    published = (
        f"nor {model.hub_id} to be had from the hub" if model.hub_id else "and its YAML names no hub_id"
    )
    raise Unavailable(
        f"inputs=real: model={model.name} has no tokenizer in {folder}, {published}: "
        "use inputs=random, weights=pretrained, or weights=FOLDER with a tokenizer saved beside the model"
    )

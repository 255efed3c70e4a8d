"""Texts and images of items as the arrays that a model takes. In children only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import Incompatible, Unavailable
from benchmark.items import Item
from benchmark.models import real_inputs
from benchmark.records import Model


class Texts:
    """Tokens of texts, padded or cut to one length, as the model's own tokenizer makes them."""

    def __init__(self, model: Model, weights: Path, length: int) -> None:
        self._tokenizer = real_inputs.tokenizer(model, weights, "scenario=accuracy")
        self._length, self._folder = length, weights
        self._words = real_inputs.vocabulary(model)

    def arrays(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """`input_ids`, `attention_mask`, and `token_type_ids` of pairs: int64 of (items, length)."""
        texts = [item.content for item in items]
        firsts = [one[0] for one in texts] if isinstance(texts[0], tuple) else texts
        seconds = [one[1] for one in texts] if isinstance(texts[0], tuple) else None
        encoded = self._tokenizer(
            firsts,
            seconds,
            padding="max_length",
            truncation=True,
            max_length=self._length,
            return_tensors="np",
            return_token_type_ids=seconds is not None,
        )
        self._refuse_unknown(encoded["input_ids"].max())
        return {name: np.asarray(value) for name, value in encoded.items()}

    def _refuse_unknown(self, token: int) -> None:
        """Refuse a tokenizer of another model.

        Raises:
            Incompatible: it makes a token that the model doesn't have.
        """
        if self._words is not None and token >= self._words:
            raise Incompatible(
                f"its tokenizer makes token {token}, and the model has {self._words}: save the model's own "
                f"in {self._folder}"
            )

    def ids(self, text: str) -> Sequence[int]:
        """All tokens of a text."""
        found: Sequence[int] = self._tokenizer(text, verbose=False)["input_ids"]
        self._refuse_unknown(max(found, default=0))
        return found

    def spans(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Tokens of questions and texts, of which only the texts are cut, and where a token lies.

        `first` and `last` are of (items, length): places of its characters in the text, -1 outside of it.
        """
        encoded = self._tokenizer(
            [item.content[0] for item in items],
            [item.content[1] for item in items],
            padding="max_length",
            truncation="only_second",
            max_length=self._length,
            return_tensors="np",
            return_token_type_ids=True,
            return_offsets_mapping=True,
        )
        self._refuse_unknown(encoded["input_ids"].max())
        places = np.asarray(encoded.pop("offset_mapping"))
        inside = np.array([[part == 1 for part in encoded.sequence_ids(row)] for row in range(len(items))])
        found = {name: np.asarray(value) for name, value in encoded.items()}
        return {
            **found,
            "first": np.where(inside, places[..., 0], -1),
            "last": np.where(inside, places[..., 1], -1),
        }


class Images:
    """Pixels of images, prepared by the image processor in the folder of the weights.

    Without one they are scaled to the model's size and from -1 to 1, as ViT's and BEiT's processors do.
    """

    def __init__(self, weights: Path, shape: tuple[int, ...]) -> None:
        """`shape` is that of one image: channels, height, width."""
        self._shape, self._folder = shape, weights
        self._processor: Any = None
        if real_inputs.has_processor(weights):
            from transformers import AutoImageProcessor

            self._processor = AutoImageProcessor.from_pretrained(
                weights, local_files_only=True, trust_remote_code=False
            )

    def arrays(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """`pixel_values`: float32 of (items, channels, height, width)."""
        pictures = [self._picture(item.content) for item in items]
        if self._processor is None:
            pixels = np.stack([self._plain(picture) for picture in pictures])
        else:
            pixels = np.asarray(self._processor(pictures, return_tensors="np")["pixel_values"], np.float32)
        if pixels.shape[1:] != self._shape:
            raise Unavailable(
                f"the processor in {self._folder} makes pixels of {list(pixels.shape[1:])}, the model takes "
                f"{list(self._shape)}: set image_size={pixels.shape[-1]}"
            )
        return {"pixel_values": pixels}

    def _picture(self, content: Any) -> Any:
        """An image in the model's colours, whatever mode its file has."""
        from PIL import Image

        picture = Image.open(content) if isinstance(content, Path) else Image.fromarray(content)
        if picture.mode in {"P", "PA", "LA", "La", "RGBa"} or "transparency" in picture.info:
            picture = picture.convert("RGBA")  # keeps what a palette means
        if picture.mode.startswith(("I", "F")):  # of 16 or 32 bits: Pillow's conversion would cut, not scale
            values = np.asarray(picture, np.float64)
            top = max(values.max(), 1.0) if picture.mode.startswith("F") else 65535.0
            picture = Image.fromarray((values.clip(0, top) * (255 / top)).astype(np.uint8))
        return picture.convert("L" if self._shape[0] == 1 else "RGB")

    def _plain(self, picture: Any) -> np.ndarray:
        channels, height, width = self._shape
        scaled = np.asarray(picture.resize((width, height), 2), np.float32)  # 2: bilinear
        pixels: np.ndarray = (scaled.reshape(height, width, channels) / 255 - 0.5) / 0.5
        return pixels.transpose(2, 0, 1)


def fill(arrays: Mapping[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """Pad the last batch with its first item: shapes are static. Answers to the padding are dropped."""
    missing = batch - len(next(iter(arrays.values())))
    if not missing:
        return dict(arrays)
    return {name: np.concatenate([one, np.repeat(one[:1], missing, axis=0)]) for name, one in arrays.items()}

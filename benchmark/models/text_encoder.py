"""What tasks of text encoders share: tokens in, one output or several out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import real_inputs
from benchmark.records import Model, Shape, Unit, frozen

_FIRST_WORD = 5
"""The ids below it are special tokens (padding, separators, mask) in the vocabularies of these models."""
_MEMORIES = ("use_cache", "use_mems")
"""Arguments by which a model would also answer with what it keeps for the next token: encoders need none."""


class Forgetful:
    """What XLM is given, which makes a cache where it gets none: this one keeps nothing.

    Its own begins with empty tensors that OpenVINO can't join to anything.
    """

    def get_seq_length(self, *_: Any) -> int:
        """Tokens kept."""
        return 0

    def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Return what the layer has made, as it is."""
        return keys, values


def _with_real_mask(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """XLNet takes its mask from 1.0: of whole numbers the exporter to ONNX can't make that."""
    return args, {**named, "attention_mask": named["attention_mask"].float()}


@frozen
class TextEncoder:
    """`input_ids` and `attention_mask` of (batch, sequence_length) in: int64."""

    auto_class: ClassVar[str]
    input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    """Fields of the model's output that answer."""
    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ("sequence_length",)
    unit: ClassVar[Unit] = "items"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.composite",
        "transformers.models.bert.modeling_bert",
    )

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse sequences beyond the position embeddings."""
        length, most = shape.sequence_length, model.max_sequence_length
        if length is not None and most is not None and length > most:
            return f"seq_len={length} is above its maximum of {most}"
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random seeded or published weights."""
        from benchmark.models import networks

        task = self.name.replace("-", "_")
        return networks.write_weights(self.auto_class, model, task, weights, seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:  # noqa: ARG002 - networks of any length
        """Load the network."""
        from benchmark.models import networks

        network = networks.read_network(self.auto_class, folder)
        known = inspect.signature(network.forward).parameters
        without: dict[str, Any] = {name: False for name in _MEMORIES if name in known}
        if "cache" in known:
            without["cache"] = Forgetful()
        if network.config.model_type == "xlnet":
            network.register_forward_pre_hook(_with_real_mask, with_kwargs=True)
        return networks.Positional(network, self.input_names, self.outputs, **without).eval()

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random words without padding, or passages of books, padded or cut."""
        import torch

        assert shape.sequence_length is not None  # noqa: S101 - cells of this task have one
        if real is not None:
            return real_inputs.tokens(model, real, shape.batch_size, shape.sequence_length, seed)
        size = (shape.batch_size, shape.sequence_length)
        words = int(model.architecture["vocab_size"])
        generator = torch.Generator().manual_seed(seed)
        return {
            "input_ids": torch.randint(_FIRST_WORD, words, size, generator=generator),
            "attention_mask": torch.ones(size, dtype=torch.int64),
        }

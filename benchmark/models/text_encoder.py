"""What tasks of text encoders share: tokens in, one or more outputs out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from benchmark.models import architectures, real_inputs
from benchmark.models.transformers_task import TransformersTask, random_tokens
from benchmark.records import Model, Shape, Unit, frozen

SEGMENTS: Final = "token_type_ids"


class NoCache:
    """A cache that keeps nothing, for XLM: it makes one of its own where it gets none.

    Its own begins with empty tensors, which OpenVINO can't concatenate.
    """

    def get_seq_length(self, *_: Any) -> int:
        """Number of tokens in the cache."""
        return 0

    def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Return the layer's keys and values unchanged."""
        return keys, values


def _with_real_mask(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """XLNet subtracts its mask from 1.0, which the exporter to ONNX can't translate for an integer mask."""
    return args, {**named, "attention_mask": named["attention_mask"].float()}


@frozen
class TextEncoder(TransformersTask):
    """Inputs: `input_ids` and `attention_mask` of (batch, sequence_length), int64."""

    input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    """Fields of the model's output that are its answers."""
    axes: ClassVar[tuple[str, ...]] = ("sequence_length",)
    unit: ClassVar[Unit] = "items"
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.composite",
        "transformers.models.bert.modeling_bert",
    )

    @property
    def fed(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the module's."""
        return self.input_names

    def feeds(self, model: Model) -> tuple[str, ...]:  # noqa: ARG002 - as its base's
        """Those of `fed`."""
        return self.fed

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:
        """Refuse sequences longer than the position embeddings."""
        length, most = shape.sequence_length, model.max_sequence_length
        if length is not None and most is not None and length > most:
            return f"seq_len={length} is above its {architectures.explain_limit(model.architecture, most)}"
        return None

    def module(self, folder: Path, shape: Shape) -> Any:  # noqa: ARG002 - networks of any length
        """Load the network."""
        from benchmark.models import networks

        network = networks.read_network(self.auto_class, folder)
        without: dict[str, Any] = networks.without_memory(network)
        if "cache" in inspect.signature(network.forward).parameters:
            without["cache"] = NoCache()
        if network.config.model_type == "xlnet":
            network.register_forward_pre_hook(_with_real_mask, with_kwargs=True)
        names = networks.taken(network, self.fed)
        return networks.Positional(network, names, self.outputs, **without).eval()

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random tokens without padding; or passages of books, padded or cut."""
        import torch

        from benchmark.models import networks

        assert shape.sequence_length is not None  # noqa: S101 - cells of this task have one
        if real is not None:
            passages = dict(real_inputs.tokens(model, real, shape.batch_size, shape.sequence_length, seed))
            passages |= self._segments(passages["input_ids"], seed)
            return networks.without_unknown(self.auto_class, model, passages)
        size = (shape.batch_size, shape.sequence_length)
        inputs = {
            "input_ids": random_tokens(model, *size, generator=torch.Generator().manual_seed(seed)),
            "attention_mask": torch.ones(size, dtype=torch.int64),
        }
        inputs |= self._segments(inputs["input_ids"], seed)
        return networks.without_unknown(self.auto_class, model, inputs)

    def _segments(self, tokens: Any, seed: int) -> dict[str, Any]:
        """Which tokens are of the second text, where the model reads that: the second half, or the first."""
        if SEGMENTS not in self.fed:
            return {}
        import torch

        second = torch.arange(tokens.shape[1]) >= tokens.shape[1] // 2
        return {SEGMENTS: (second ^ bool(seed % 2)).to(torch.int64).expand_as(tokens).contiguous()}


@frozen
class PairEncoder(TextEncoder):
    """A task whose items may be two texts; some models read which token is of which."""

    segments: bool = False
    """Whether the model gets `token_type_ids`: 0 for tokens of the first text, 1 for those of the second."""

    @property
    def fed(self) -> tuple[str, ...]:
        """Also `token_type_ids`, if the segments are given."""
        return (*self.input_names, SEGMENTS) if self.segments else self.input_names

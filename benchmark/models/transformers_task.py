"""What tasks share whose models transformers builds: their libraries, weights and random tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import Incompatible
from benchmark.models import architectures
from benchmark.models.gguf_header import SUFFIX
from benchmark.records import Model, Shape, Unit, frozen
from benchmark.training_records import Objective

FIRST_WORD = 5
"""Smaller ids are special tokens (padding, begin, end, unknown) in the vocabularies of these models."""


@frozen
class TransformersTask:
    """A task whose models have a class in transformers, chosen by an Auto class."""

    name: ClassVar[str]
    auto_class: ClassVar[str]
    """Auto class that chooses a model's class; or that class itself, where no Auto class leads to it."""
    axes: ClassVar[tuple[str, ...]]
    """Fields of `Shape` that the models have; those of several kinds of model answer `axes_of`."""
    unit: ClassVar[Unit]
    preload: ClassVar[tuple[str, ...]]
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    objective: ClassVar[Objective | None] = None
    """What training compares the first answer with; None: models of this task aren't trained."""

    def axes_of(self, model: Model) -> tuple[str, ...]:  # noqa: ARG002 - the same for every model
        """Fields of `Shape` that the model has."""
        return self.axes

    def unit_of(self, model: Model) -> Unit:  # noqa: ARG002 - the same for every model
        """What throughput counts."""
        return self.unit

    def parts_of(self, model: Model) -> tuple[str, ...]:
        """One network."""
        del model
        return ()

    def shares_of(self, model: Model) -> Mapping[str, float]:
        """It has no parts."""
        del model
        return {}

    def feeds(self, model: Model) -> tuple[str, ...]:
        """Names of the model's inputs, for the check of its class; empty: they aren't checked."""
        del model
        return ()

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse architectures that transformers lacks, and inputs and shapes that the model can't take."""
        return (
            architectures.refuse(model.architecture, self.auto_class)
            or architectures.refuse_inputs(model.architecture, self.auto_class, self.feeds(model))
            or self.refuse_shape(model, shape)
        )

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:
        """Return why the model can't take this shape, or None."""
        del model, shape
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random weights by the seed, the published ones, or a GGUF file's; check a local folder."""
        from benchmark.models import networks

        task = self.name.replace("-", "_")
        if weights.endswith(SUFFIX):
            from benchmark.models import gguf_weights

            return gguf_weights.write(self.auto_class, model, task, Path(weights), folder)
        return networks.write_weights(self.auto_class, model, task, weights, seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the network, as `Task` says."""
        raise NotImplementedError

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Tensors by name, as `Task` says."""
        raise NotImplementedError


def random_tokens(model: Model, *size: int, generator: Any) -> Any:
    """Random tokens of the model's vocabulary, special tokens excluded: int64.

    Where the vocabulary has placeholders, such as that of an image, one of them would need its image.
    """
    import torch

    from benchmark.models import networks

    config = networks.configuration(model)
    words = getattr(config.get_text_config(), "vocab_size", None)
    if not isinstance(words, int):
        raise Incompatible(f"model={model.name}: its configuration has no vocab_size: it reads no tokens")
    first = min(FIRST_WORD, words - 1)
    drawn = torch.randint(first, words, size, generator=generator)
    special = {token for token in _special_tokens(config.to_dict()) if first <= token < words}
    usual = next((token for token in range(first, words) if token not in special), first)
    for token in sorted(special):
        drawn[drawn == token] = usual
    return drawn


def _special_tokens(fields: Mapping[str, Any]) -> Iterator[int]:
    """Ids of special tokens, those of nested configurations too."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _special_tokens(value)
        elif str(name).endswith(("_token_id", "_token_index")) and isinstance(value, int):
            yield value

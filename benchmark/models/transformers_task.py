"""What tasks share whose models transformers builds: their libraries, weights and random tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import architectures
from benchmark.records import Model, Shape, frozen

FIRST_WORD = 5
"""Smaller ids are special tokens (padding, begin, end, unknown) in the vocabularies of these models."""


@frozen
class TransformersTask:
    """A task whose models have a class in transformers, chosen by an Auto class."""

    name: ClassVar[str]
    auto_class: ClassVar[str]
    """Auto class that chooses a model's class; or that class itself, where no Auto class leads to it."""
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse architectures that transformers lacks, and shapes that the model can't take."""
        return architectures.refuse(model.architecture, self.auto_class) or self.refuse_shape(model, shape)

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:
        """Return why the model can't take this shape, or None."""
        del model, shape
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random weights by the seed, or the published ones; check those of a local folder."""
        from benchmark.models import networks

        task = self.name.replace("-", "_")
        return networks.write_weights(self.auto_class, model, task, weights, seed, folder)


def random_tokens(model: Model, *size: int, generator: Any) -> Any:
    """Random tokens of the model's vocabulary, special tokens excluded: int64."""
    import torch

    from benchmark.models import networks

    words = networks.configuration(model).get_text_config().vocab_size
    return torch.randint(min(FIRST_WORD, words - 1), words, size, generator=generator)

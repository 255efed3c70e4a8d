"""What tasks of generating models share: a prompt in, always so many tokens out, greedily."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import real_inputs
from benchmark.records import Model, Shape, Unit, frozen

_FIRST_WORD = 5
"""The ids below it are special tokens (padding, begin, end, unknown) in the vocabularies of these models."""


@frozen
class Generator:
    """One call makes `output_length` tokens for each item of the batch."""

    auto_class: ClassVar[str]
    prompt: ClassVar[str] = "input_ids"
    """Name of the model's input."""
    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ("input_length", "output_length")
    unit: ClassVar[Unit] = "tokens"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.generation", "transformers.models.t5.modeling_t5")

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse what the position embeddings don't reach."""
        most = model.max_sequence_length
        for axis in self.axes:
            length = getattr(shape, axis)
            if most is not None and length is not None and length > most:
                return f"{axis}={length} is above its maximum of {most}"
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random seeded or published weights."""
        from benchmark.models import networks

        task = self.name.replace("-", "_")
        return networks.write_weights(self.auto_class, model, task, weights, seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the model as two networks."""
        from benchmark.models import generation

        return generation.Generation(self.auto_class, folder, shape, self.prompt)

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random words, or a text's first `input_length` tokens; an encoder-decoder's first token beside."""
        import torch

        prompt = self._prompt(model, shape, seed, real)
        start = model.architecture.get("decoder_start_token_id")
        if start is None:
            return {self.prompt: prompt}
        return {self.prompt: prompt, "decoder_input_ids": torch.full((shape.batch_size, 1), int(start))}

    def _prompt(self, model: Model, shape: Shape, seed: int, real: Path | None) -> Any:
        import torch

        assert shape.input_length is not None  # noqa: S101 - cells of these tasks have one
        if real is not None:
            return real_inputs.prompt(model, real, shape.batch_size, shape.input_length, seed)
        size = (shape.batch_size, shape.input_length)
        words = int(model.architecture["vocab_size"])
        return torch.randint(_FIRST_WORD, words, size, generator=torch.Generator().manual_seed(seed))

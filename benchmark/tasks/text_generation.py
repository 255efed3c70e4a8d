"""Text generation by decoder-only models: a text in, its continuation out."""

from __future__ import annotations

from typing import ClassVar

from benchmark.models import architectures
from benchmark.models.generator import Generator, refuse_recurrent
from benchmark.records import Model, Shape, frozen


@frozen
class TextGeneration(Generator):
    """Prompt and continuation share the position embeddings."""

    name: ClassVar[str] = "text-generation"
    auto_class: ClassVar[str] = "AutoModelForCausalLM"

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:
        """Refuse lengths that together exceed the position embeddings, and layers without keys and values."""
        if reason := refuse_recurrent(model):
            return reason
        most = model.max_sequence_length
        together = (shape.input_length or 0) + (shape.output_length or 0)
        if most is not None and together > most:
            return (
                f"input_length={shape.input_length} and output_length={shape.output_length} are "
                f"{together} tokens, above its {architectures.explain_limit(model.architecture, most)}"
            )
        return None

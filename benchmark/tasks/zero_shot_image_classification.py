"""Zero-shot image classification: images and texts in, the fit of each image to each text out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import image_model, real_inputs
from benchmark.models.text_encoder import TextEncoder
from benchmark.models.transformers_task import FIRST_WORD
from benchmark.records import Model, Shape, Unit, frozen


@frozen
class ZeroShotImageClassification(TextEncoder):
    """A batch has as many images as texts. Outputs: logits of (images, texts) and of (texts, images)."""

    name: ClassVar[str] = "zero-shot-image-classification"
    auto_class: ClassVar[str] = "AutoModelForZeroShotImageClassification"
    axes: ClassVar[tuple[str, ...]] = ("image_size",)
    unit: ClassVar[Unit] = "images"
    input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "pixel_values")
    outputs: ClassVar[tuple[str, ...]] = ("logits_per_image", "logits_per_text")

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:  # noqa: ARG002 - as its base's
        """Refuse a model without an image size."""
        return image_model.refuse_size(shape)

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the network; position embeddings are interpolated to a size other than their own."""
        module = super().module(folder, shape)
        module.constants |= image_model.interpolation(module.model, shape)
        return module

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random tokens between those of begin and end, as many as CLIP pads to, and random images."""
        import torch

        from benchmark.models import networks

        assert shape.image_size is not None  # noqa: S101 - cells of this task have one
        config = networks.configuration(model)
        text, channels = config.get_text_config(), image_model.channels_of(config)
        size = (shape.batch_size, model.max_sequence_length or text.max_position_embeddings)
        begin, end, vocabulary = text.bos_token_id, text.eos_token_id, text.vocab_size
        # As in CLIP's vocabulary: above all words, and the text's embedding is the one at its end.
        last = begin is not None and isinstance(end, int) and FIRST_WORD < begin < end < vocabulary
        between = (0, begin) if last else (min(FIRST_WORD, vocabulary - 1), vocabulary)
        words = torch.randint(*between, size, generator=torch.Generator().manual_seed(seed))
        if last:
            words[:, 0], words[:, -1] = begin, end
        if real is not None:
            photographs = real_inputs.pixels(real, shape.batch_size, channels, shape.image_size, seed)
            inputs = {**real_inputs.tokens(model, real, *size, seed), "pixel_values": photographs}
            return networks.without_unknown(self.auto_class, model, inputs)
        picture = (shape.batch_size, channels, shape.image_size, shape.image_size)
        inputs = {
            "input_ids": words,
            "attention_mask": torch.ones(size, dtype=torch.int64),
            "pixel_values": image_model.pixels(*picture, seed=seed),
        }
        return networks.without_unknown(self.auto_class, model, inputs)

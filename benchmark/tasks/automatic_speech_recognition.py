"""Speech recognition: a spectrogram in, text out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import Incompatible
from benchmark.models import real_inputs
from benchmark.models.generator import Generator
from benchmark.records import Model, Shape, frozen


@frozen
class AutomaticSpeechRecognition(Generator):
    """Input: `input_features` of (batch, mel bins, frames), float32: 30 s of sound, whatever the speech."""

    name: ClassVar[str] = "automatic-speech-recognition"
    auto_class: ClassVar[str] = "AutoModelForSpeechSeq2Seq"
    prompt: ClassVar[str] = "input_features"
    axes: ClassVar[tuple[str, ...]] = ("output_length",)

    def _prompt(self, model: Model, shape: Shape, seed: int, real: Path | None) -> Any:
        """Random features: this program comes without recorded speech."""
        import torch

        from benchmark.models import networks

        if real is not None:
            raise real_inputs.refuse(model, "recorded speech")
        config = networks.configuration(model)
        if not hasattr(config, "num_mel_bins") or not hasattr(config, "max_source_positions"):
            raise Incompatible(
                f"model={model.name}: {self.name} feeds spectrograms as Whisper takes them, and a "
                f"{config.model_type} has no num_mel_bins and max_source_positions"
            )
        # Two frames become one position of the encoder.
        size = (shape.batch_size, config.num_mel_bins, 2 * config.max_source_positions)
        return torch.randn(size, generator=torch.Generator().manual_seed(seed))

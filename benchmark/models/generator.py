"""What tasks of generating models share: a prompt in, a fixed number of tokens out, greedily."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import architectures, real_inputs
from benchmark.models.transformers_task import TransformersTask, random_tokens
from benchmark.records import Model, Shape, Unit, frozen

_RECURRENT = frozenset({
    "bamba", "falcon_h1", "falcon_mamba", "jamba", "mamba", "mamba2", "nemotron_h", "qwen3_next",
    "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2",
})  # fmt: skip
"""Architectures whose layers keep a recurrent state. The child that makes the reference refuses others."""
_RECURRENT_LAYERS = frozenset({"linear_attention", "conv", "mamba", "hybrid", "hybrid_sliding"})


@frozen
class Generator(TransformersTask):
    """One call generates `output_length` tokens for each item of the batch."""

    prompt: ClassVar[str] = "input_ids"
    """Name of the model's input."""
    axes: ClassVar[tuple[str, ...]] = ("input_length", "output_length")
    unit: ClassVar[Unit] = "tokens"
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.generation", "transformers.models.t5.modeling_t5")

    def parts_of(self, model: Model) -> tuple[str, ...]:
        """One reads the prompt, one makes a token a call."""
        del model
        return ("prefill", "decode")

    def shares_of(self, model: Model) -> Mapping[str, float]:
        """All for the prompt; for each token all too, but of an encoder-decoder the decoder's alone."""
        is_encoder_decoder = "decoder_input_ids" in self.feeds(model)
        return {"prefill": 1.0, "decode": _decoder_share(model.architecture) if is_encoder_decoder else 1.0}

    def feeds(self, model: Model) -> tuple[str, ...]:
        """The prompt. An encoder-decoder also gets its first token."""
        known = architectures.forward_arguments(model.architecture, self.auto_class)
        return (self.prompt, *(name for name in ("decoder_input_ids",) if name in known))

    def refuse_shape(self, model: Model, shape: Shape) -> str | None:
        """Refuse lengths beyond the position embeddings, and layers without keys and values."""
        if reason := refuse_recurrent(model):
            return reason
        most = model.max_sequence_length
        for axis in self.axes:
            length = getattr(shape, axis)
            if most is not None and length is not None and length > most:
                return f"{axis}={length} is above its {architectures.explain_limit(model.architecture, most)}"
        return None

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the model as two networks."""
        from benchmark.models import generation

        return generation.Generation(self.auto_class, folder, shape, self.prompt)

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random tokens or the first tokens of a text; for an encoder-decoder also its first token."""
        import torch

        from benchmark.models import networks

        prompt, config = self._prompt(model, shape, seed, real), networks.configuration(model)
        if not config.is_encoder_decoder:
            return {self.prompt: prompt}
        text = config.get_text_config(decoder=True)
        known = (
            getattr(part, f"{name}_token_id", None)
            for name in ("decoder_start", "pad", "bos")
            for part in (config, text)
        )
        words = getattr(text, "vocab_size", None) or config.vocab_size
        start = next((token for token in known if token is not None and token < words), 0)
        return {self.prompt: prompt, "decoder_input_ids": torch.full((shape.batch_size, 1), start)}

    def _prompt(self, model: Model, shape: Shape, seed: int, real: Path | None) -> Any:
        import torch

        assert shape.input_length is not None  # noqa: S101 - cells of these tasks have one
        if real is not None:
            return real_inputs.prompt(model, real, shape.batch_size, shape.input_length, seed)
        size = (shape.batch_size, shape.input_length)
        return random_tokens(model, *size, generator=torch.Generator().manual_seed(seed))


def _decoder_share(architecture: Mapping[str, Any]) -> float:
    """The least share of an encoder-decoder's parameters that its decoder has.

    A layer of a decoder is one of the encoder, and its second attention. Only of T5 the sizes are read.
    """
    sizes = [architecture.get(name) for name in ("num_heads", "d_kv", "d_ff")]
    if architecture.get("model_type") != "t5" or None in sizes:
        return 0.5
    heads, width, inner = (int(size or 0) for size in sizes)
    attention, layer = 4 * heads * width, 2 * inner  # times d_model
    return (2 * attention + layer) / (3 * attention + 2 * layer)


def refuse_recurrent(model: Model) -> str | None:
    """Why a model that keeps a recurrent state can't be generated from; None where it keeps none."""
    kind = str(model.architecture.get("model_type"))
    layers = _RECURRENT_LAYERS.intersection(map(str, model.architecture.get("layer_types") or ()))
    if kind not in _RECURRENT and not layers:
        return None
    return (
        f"it keeps a recurrent state ({', '.join(sorted(layers)) or kind}), but the "
        "generation here keeps keys and values: choose a model whose layers are all attention"
    )

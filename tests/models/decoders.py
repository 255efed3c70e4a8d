"""Child of `test_decoders.py`: generations of tiny random models against independent paths, as JSON.

Each family is generated from by the two networks of `benchmark.models.generation`, by transformers' own
`generate`, and by one forward of the whole sequence without a cache. Then it is broken on purpose.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers

from benchmark.errors import Incompatible
from benchmark.models import generation, networks
from benchmark.records import Model, Shape

GIVEN, MADE, BATCH = 24, 12, 2
START = 3
"""First token of an encoder-decoder."""
WINDOW = 16
"""Shorter than the prompt, so that it slides from the first new token on."""

_SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2, "head_dim": 16}
_SLIDING = {**_GROUPED, "sliding_window": WINDOW}
_ALTERNATING = {**_SLIDING, "layer_types": ["sliding_attention", "full_attention"]}
_ENCODER_DECODER = {
    "vocab_size": 300,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Mistral": {"model_type": "mistral", **_SLIDING},
    "Mixtral": {"model_type": "mixtral", **_SLIDING, "num_local_experts": 4},
    "Gemma 2": {"model_type": "gemma2", **_ALTERNATING},
    "Gemma 3": {"model_type": "gemma3_text", **_ALTERNATING},
    "GPT-Neo": {
        "model_type": "gpt_neo",
        "vocab_size": 300,
        "hidden_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": WINDOW,
        "max_position_embeddings": 128,
    },
    "Phi-3": {"model_type": "phi3", **_SLIDING, "pad_token_id": 0},
    "Qwen2, sliding": {
        "model_type": "qwen2",
        **_ALTERNATING,
        "use_sliding_window": True,
        "max_window_layers": 1,
    },
    "GPT-OSS": {"model_type": "gpt_oss", **_ALTERNATING, "num_local_experts": 4},
    "Llama 4, chunked": {
        "model_type": "llama4_text",
        **_GROUPED,
        "attention_chunk_size": WINDOW,
        "num_local_experts": 4,
        "intermediate_size_mlp": 96,
        "pad_token_id": 0,
    },
    "BLOOM": {"model_type": "bloom", "vocab_size": 300, "hidden_size": 64, "n_layer": 2, "n_head": 4},
    "Falcon, ALiBi": {"model_type": "falcon", **_SIZES, "alibi": True},
    "Falcon": {"model_type": "falcon", **_SIZES},
    "MPT": {
        "model_type": "mpt",
        "vocab_size": 300,
        "d_model": 64,
        "n_layers": 2,
        "n_heads": 4,
        "max_seq_len": 128,
    },
    "OPT": {"model_type": "opt", **_SIZES, "ffn_dim": 96, "word_embed_proj_dim": 64},
    "GPT-2": {
        "model_type": "gpt2",
        "vocab_size": 300,
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 128,
    },
    "Llama": {"model_type": "llama", **_GROUPED},
    "Qwen2": {"model_type": "qwen2", **_GROUPED},
    "Qwen3": {"model_type": "qwen3", **_GROUPED},
    "Phi": {"model_type": "phi", **_GROUPED},
    "Gemma": {"model_type": "gemma", **_GROUPED},
    "GPT-NeoX": {"model_type": "gpt_neox", **_SIZES},
    "T5": {
        "model_type": "t5",
        "vocab_size": 300,
        "d_model": 64,
        "d_kv": 16,
        "d_ff": 96,
        "num_layers": 2,
        "num_heads": 4,
    },
    "BART": {"model_type": "bart", **_ENCODER_DECODER, "max_position_embeddings": 128},
    "Whisper": {
        "model_type": "whisper",
        **_ENCODER_DECODER,
        "num_mel_bins": 8,
        "max_source_positions": 32,
        "max_target_positions": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "Mamba": {"model_type": "mamba", "vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2},
    "BERT, an encoder": {"model_type": "bert", **_SIZES},
}
_AUTO_CLASSES = {
    "t5": "AutoModelForSeq2SeqLM",
    "bart": "AutoModelForSeq2SeqLM",
    "whisper": "AutoModelForSpeechSeq2Seq",
}


class Broken(generation.Generation):
    """A generation that loses the last column of the prompt's cache."""

    def _generate(self, parts: Any, *rest: Any) -> Any:
        def prefill(*tensors: torch.Tensor) -> Any:
            logits, *states = parts["prefill"](*tensors)
            for state in states:
                state[:, :, -1] = 0
            return (logits, *states)

        return super()._generate({**parts, "prefill": prefill}, *rest)


def main() -> None:
    """Print a row for each family."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        rows = [
            _row(name, fields, Path(folder) / str(i)) for i, (name, fields) in enumerate(FAMILIES.items())
        ]
    json.dump(rows, sys.stdout)


def _row(name: str, fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    auto_class = _AUTO_CLASSES.get(fields["model_type"], "AutoModelForCausalLM")
    network = _written(auto_class, fields, folder)
    inputs = _inputs(network.config)
    prompt = next(iter(inputs))
    shape = Shape(batch_size=BATCH, input_length=GIVEN, output_length=MADE)

    def generate(kind: type[generation.Generation]) -> Any:
        made = kind(auto_class, folder, shape, prompt)
        modules = {part: load() for part, load in made.parts.items()}
        return made, made.run_reference(modules, modules, inputs)

    try:
        made, answers = generate(generation.Generation)
    except Incompatible as error:
        return {"family": name, "refused": str(error)}
    expected = made._without_cache(network, inputs, answers["tokens"])
    row = {
        "family": name,
        "refused": None,
        "tokens": answers["tokens"].tolist(),
        "generate": _generated(network, inputs).tolist(),
        "without_cache": expected.argmax(-1).tolist(),
        "first": _error(answers["first_logits"], expected[:, 0]),
        "last": _error(answers["last_logits"], expected[:, -1]),
        "broken": _refusal(lambda: generate(Broken)),
        "no_window": None,
    }
    if any(first is not None for first in generation._first_columns(network.config).values()):
        real = generation._first_columns
        with mock.patch.object(generation, "_first_columns", lambda config: dict.fromkeys(real(config))):
            row["no_window"] = _refusal(lambda: generate(generation.Generation))
    return row


def _written(auto_class: str, fields: dict[str, Any], folder: Path) -> Any:
    """The network, saved and loaded as the product does. Its weights are large, so that attention matters."""
    config = networks.configuration(Model(name="tiny", architecture=fields, parameters={}))
    torch.manual_seed(0)
    network = networks.network_class(auto_class, config)._from_config(config).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.mul_(4.0)
    network.save_pretrained(folder)
    return networks.read_network(auto_class, folder)


def _inputs(config: Any) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    start = {"decoder_input_ids": torch.full((BATCH, 1), START)} if config.is_encoder_decoder else {}
    if config.model_type == "whisper":
        frames = 2 * config.max_source_positions
        return {
            "input_features": torch.randn(BATCH, config.num_mel_bins, frames, generator=generator),
            **start,
        }
    return {"input_ids": torch.randint(5, config.vocab_size, (BATCH, GIVEN), generator=generator), **start}


def _generated(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Tokens of transformers' own loop."""
    network.generation_config = transformers.GenerationConfig(pad_token_id=0)
    mask = {"attention_mask": torch.ones_like(inputs["input_ids"])} if "input_ids" in inputs else {}
    made = transformers.GenerationMixin.generate(  # whisper's own wants prompts of languages and tasks
        network,
        **inputs,
        **mask,
        generation_config=transformers.GenerationConfig(
            max_new_tokens=MADE,
            do_sample=False,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
            decoder_start_token_id=START,
        ),
    )
    return made[:, -MADE:]


def _error(logits: torch.Tensor, expected: torch.Tensor) -> float:
    return float((logits - expected).norm() / (expected - expected.mean(-1, keepdim=True)).norm())


def _refusal(generate: Any) -> str | None:
    try:
        generate()
    except Incompatible as error:
        return str(error)
    return None


if __name__ == "__main__":
    main()

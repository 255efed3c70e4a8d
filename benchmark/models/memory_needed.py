"""Memory that a model takes on the host, from its parameters and its cache: known before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmark.models import architectures
from benchmark.records import Model, Shape

_FP32_BYTES: Final = 4
"""Every model is built in fp32: its reference answers."""


def lacking(model: Model, parameters: int | None, shape: Shape, there_gib: float) -> str | None:
    """Say that weights and cache don't fit into the memory of this host; None: they do, or aren't known."""
    if parameters is None:
        return None
    weights = parameters * _FP32_BYTES / 2**30
    tokens = (shape.input_length or 0) + (shape.output_length or 0)
    per_token = kv_bytes_per_token(model.architecture) or 0
    cache = shape.batch_size * tokens * per_token / 2**30 if shape.output_length else 0.0
    if weights + cache <= there_gib:
        return None
    kept = f" and {cache:.1f} GiB for the keys and values of {shape.label}" if cache else ""
    return (
        f"model={model.name} needs {weights:.1f} GiB for {parameters:,} parameters in fp32{kept}, and this "
        f"host has {there_gib:.1f} GiB: use a smaller model{' or batch' * bool(cache)}, or another host"
    )


def kv_bytes_per_token(architecture: Mapping[str, Any]) -> int | None:
    """Bytes of keys and values of a token in fp32, all layers; None where the architecture doesn't say."""
    layers, heads, kv_heads, width, head = (
        architectures.value(architecture, name)
        for name in (
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "hidden_size",
            "head_dim",
        )
    )
    if not (isinstance(layers, int) and isinstance(heads, int) and isinstance(width, int)):
        return None
    return int(2 * layers * (kv_heads or heads) * (head or width // heads) * _FP32_BYTES)

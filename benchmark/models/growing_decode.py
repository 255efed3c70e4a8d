"""A decode network whose keys and values grow by a column a call, for runtimes that keep them inside.

OpenVINO makes them a state of its own, which it lengthens in place and reads by its fused attention
(https://docs.openvino.ai/2026/openvino-workflow/running-inference/stateful-models.html). Imported by children
only.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache

from benchmark.models.cache_layers import Growing, pairs
from benchmark.models.generation import Decode


def growing(module: torch.nn.Module) -> GrowingDecode | None:
    """The network with growing states; None for others, and for encoder-decoders with their two caches."""
    return GrowingDecode(module) if isinstance(module, Decode) and not module.is_encoder_decoder else None


class GrowingDecode(torch.nn.Module):  # type: ignore[misc]
    """Inputs: a token, its position, keys and values so far. Outputs: the next token's logits, all states."""

    def __init__(self, decode: Decode) -> None:
        super().__init__()
        self.decode = decode
        self.input_names = decode.input_names

    def forward(
        self, token: torch.Tensor, position: torch.Tensor, *states: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Lengthen every state by the token's column."""
        layers = [Growing(keys, values) for keys, values in pairs(states)]
        keys = states[0]
        outputs = self.decode.model(
            input_ids=token,
            attention_mask=self.decode.seen(token, position, keys.shape[2] + 1, keys.dtype),
            position_ids=position[None],
            past_key_values=Cache(layers=layers),
            use_cache=True,
        )
        return (outputs.logits[:, -1], *(state for layer in layers for state in (layer.keys, layer.values)))

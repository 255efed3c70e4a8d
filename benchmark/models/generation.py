"""Greedy generation of a fixed length by two networks: one reads the prompt, one makes a token a call.

Both have static shapes, as compilers need them: keys and values are tensors as long as the whole sequence.
They are inputs of the second network, whose outputs have the new column. Imported by children only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache, StaticLayer

from benchmark.models import networks
from benchmark.models.composite import CompositeModel, Network, Tensors
from benchmark.records import Shape


class Generation(CompositeModel):
    """`prefill` returns logits, keys and values for the prompt; `decode` those of one more token."""

    forced_tokens = ("tokens",)
    has_tokens = True

    def __init__(self, auto_class: str, folder: Path, shape: Shape, prompt: str) -> None:
        """Use the model in `folder`; `prompt` is the name of its input."""
        assert shape.output_length is not None  # noqa: S101 - cells of these tasks have one
        self._output_length = shape.output_length
        self._read = partial(networks.read_network, auto_class, folder)
        self._prompt = prompt
        self._updates_in_place: bool | None = None
        self.parts = {"prefill": self._prefill, "decode": self._decode}

    def _prefill(self) -> torch.nn.Module:
        return _Prefill(self._read(), self._prompt).eval()

    def _decode(self) -> torch.nn.Module:
        return _Decode(self._read()).eval()

    def parameters(self, of_parts: Sequence[int]) -> int:
        """Those of one part: both are the same model."""
        return max(of_parts)

    def run(self, parts: Mapping[str, Network], inputs: Tensors, on_token: Callable[[], None]) -> Tensors:
        """Generate the tokens, each from the one before."""
        return self._generate(parts, inputs, on_token, None)

    def run_teacher_forced(
        self, parts: Mapping[str, Network], inputs: Tensors, forced_tokens: Tensors
    ) -> Tensors:
        """Generate from the reference's tokens: the last logits then depend on every step before."""
        return self._generate(parts, inputs, lambda: None, forced_tokens["tokens"])

    def _generate(
        self,
        parts: Mapping[str, Network],
        inputs: Tensors,
        on_token: Callable[[], None],
        forced_tokens: torch.Tensor | None,
    ) -> Tensors:
        logits, *states = parts["prefill"](*inputs.values())
        first, tokens = logits, [_likeliest(logits)]
        on_token()
        # The second half of an encoder-decoder's states is the encoder's, which doesn't change.
        is_encoder_decoder = "decoder_input_ids" in inputs
        own = states[: len(states) // 2] if is_encoder_decoder else states
        seen = own[0].shape[2]
        caches = [_padded(state, seen + self._output_length) for state in own]
        encoded = [state.contiguous() for state in states[len(own) :]]
        for step in range(self._output_length - 1):
            token = tokens[-1] if forced_tokens is None else _token_of(forced_tokens, step)
            position = torch.tensor([seen + step], device=token.device)
            logits, *columns = parts["decode"](token, position, *caches, *encoded)
            self._write(caches, columns, seen + step)
            tokens.append(_likeliest(logits))
            on_token()
        return {"first_logits": first, "last_logits": logits, "tokens": torch.cat(tokens, dim=1)}

    def _write(self, caches: Sequence[torch.Tensor], columns: Sequence[torch.Tensor], position: int) -> None:
        """Write the new columns into the caches, unless the network does so itself: exported ones can't."""
        if self._updates_in_place is None:
            pairs = zip(caches, columns, strict=True)
            self._updates_in_place = all(
                torch.equal(cache[:, :, position], column[:, :, 0]) for cache, column in pairs
            )
        if not self._updates_in_place:
            for cache, column in zip(caches, columns, strict=True):
                cache[:, :, position] = column[:, :, 0]


class _Prefill(torch.nn.Module):  # type: ignore[misc]
    """Input: the prompt. Outputs: logits of the next token, then keys and values of each layer."""

    def __init__(self, model: torch.nn.Module, prompt: str) -> None:
        super().__init__()
        self.model = model
        is_encoder_decoder = model.config.is_encoder_decoder
        self.input_names = (prompt, "decoder_input_ids") if is_encoder_decoder else (prompt,)
        known = inspect.signature(model.forward).parameters
        self.last_logits_only = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        kinds = [[_FilledOnce() for _ in _layers(self.model)] for _ in self.input_names]
        caches = [Cache(layers=layers) for layers in kinds]
        outputs = self.model(
            **dict(zip(self.input_names, tensors, strict=True)),
            past_key_values=caches[0] if len(caches) == 1 else EncoderDecoderCache(*caches),
            use_cache=True,
            **self.last_logits_only,
        )
        states = (state for layers in kinds for layer in layers for state in (layer.keys, layer.values))
        return (outputs.logits[:, -1], *states)


class _Decode(torch.nn.Module):  # type: ignore[misc]
    """Inputs: a token, its position, keys and values. Outputs: the next token's logits, the new columns."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)

    @property
    def input_names(self) -> tuple[str, ...]:
        """States by layer, in the order of `prefill`: the decoder's own, then the encoder's."""
        layers = _layers(self.model)
        kinds = ("self", "cross") if self.is_encoder_decoder else ("self",)
        states = (f"{kind}_{what}_{layer}" for kind in kinds for layer in layers for what in ("key", "value"))
        return ("token", "position", *states)

    def forward(
        self, token: torch.Tensor, position: torch.Tensor, *states: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        own = states[: len(states) // 2] if self.is_encoder_decoder else states
        layers = [_Column(key, value, position) for key, value in _pairs(own)]
        cache = Cache(layers=layers)
        # The mask that transformers makes, in one operation instead of a dozen: it hides later positions.
        hidden = torch.arange(own[0].shape[2], device=token.device) > position
        seen = torch.where(hidden, torch.finfo(own[0].dtype).min, 0.0).to(own[0].dtype)[None, None, None]
        if self.is_encoder_decoder:
            read = [_filled(key, value) for key, value in _pairs(states[len(own) :])]
            length = read[0].keys.shape[2]
            # Keys and values replace the encoder's output; the model only reads the length of this.
            encoded = own[0].new_zeros((1, 1, 1)).expand(token.shape[0], length, self._width())
            outputs = self.model(
                decoder_input_ids=token,
                decoder_attention_mask=seen,
                encoder_outputs=(encoded,),
                past_key_values=EncoderDecoderCache(cache, Cache(layers=read)),
                use_cache=True,
            )
        else:
            outputs = self.model(
                input_ids=token,
                attention_mask=seen,
                position_ids=position[None],
                past_key_values=cache,
                use_cache=True,
            )
        new = (column for layer in layers for column in (layer.new_key, layer.new_value))
        return (outputs.logits[:, -1], *new)

    def _width(self) -> int:
        return int(getattr(self.model.config, "d_model", 0) or self.model.config.hidden_size)


class _Column(StaticLayer):  # type: ignore[misc]
    """Cache layer that writes one column in place, instead of copying all columns for each token."""

    is_compileable = True

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, position: torch.Tensor) -> None:
        super(StaticLayer, self).__init__()  # StaticLayer's makes a tensor: time for every token
        self.max_cache_len = keys.shape[2]
        self.keys, self.values, self.is_initialized = keys, values, True
        self.cumulative_length = position

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.new_key, self.new_value = key_states, value_states
        for state, new in ((self.keys, key_states), (self.values, value_states)):
            state.index_copy_(2, self.cumulative_length, new)
        return self.keys, self.values


class _FilledOnce(DynamicLayer):  # type: ignore[misc]
    """Cache layer that is filled by one update.

    Transformers' own begins empty and appends, which OpenVINO can't convert.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values, self.is_initialized = key_states, value_states, True
        return key_states, value_states


def _layers(model: torch.nn.Module) -> range:
    """Indices of the layers that have keys and values."""
    config = model.config
    names = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")
    return range(next(int(getattr(config, name)) for name in names if getattr(config, name, None)))


def _filled(keys: torch.Tensor, values: torch.Tensor) -> DynamicLayer:
    layer = DynamicLayer()
    layer.keys, layer.values, layer.is_initialized = keys, values, True
    layer.dtype, layer.device = keys.dtype, keys.device
    return layer


def _pairs(states: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(states[::2], states[1::2], strict=True))


def _padded(state: torch.Tensor, length: int) -> torch.Tensor:
    """The state, padded with zeros to (batch, heads, length, width)."""
    batch, heads, seen, width = state.shape
    padded = state.new_zeros((batch, heads, length, width))
    padded[:, :, :seen] = state
    return padded


def _token_of(forced_tokens: torch.Tensor, step: int) -> torch.Tensor:
    """The tokens of one step, contiguous as AOTInductor requires."""
    return forced_tokens[:, step : step + 1].clone(memory_format=torch.contiguous_format)


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each item, (batch, 1). Waits until the device has computed it."""
    token = logits.argmax(-1, keepdim=True)
    token[0].item()  # waits, as printing the token would
    return token

"""Greedy generation of a fixed length by two networks: one reads the prompt, one makes a token a call.

Both have static shapes, as compilers need them: keys and values are tensors as long as the whole sequence.
They are inputs of the second network, whose outputs have the new column. Imported by children only.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache

from benchmark.errors import Incompatible
from benchmark.models import networks
from benchmark.models.cache_layers import Column, FilledOnce, filled, pairs
from benchmark.models.composite import CompositeModel, Network, Tensors
from benchmark.models.networks import Positional
from benchmark.records import Shape

_TOLERANCE = 1e-3
"""Most relative error of fp32 logits with a cache, against those without one.

Right caches gave 4e-7 to 4e-6, an ignored window 0.04 to 0.97 (tiny random models of 60 families, 2026-11).
"""
_NO_STATES = (
    "keeps a recurrent state (as state-space models and linear attention do), where the generation here "
    "keeps keys and values: choose a model whose layers are all attention"
)
_NO_MEMORY = re.compile("allocate memory|enough memory|out of memory", re.IGNORECASE)
_UNFIT = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""Errors of a model that doesn't take the cache or the mask of `decode`."""


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
        return Decode(self._read()).eval()

    def parameters(self, of_parts: Sequence[int]) -> int:
        """Those of one part: both are the same model."""
        return max(of_parts)

    def run(self, parts: Mapping[str, Network], inputs: Tensors, on_token: Callable[[], None]) -> Tensors:
        """Generate the tokens, each from the one before."""
        return self._generate(parts, inputs, on_token, None)

    def run_short(
        self, parts: Mapping[str, Network], inputs: Tensors, on_token: Callable[[], None], tokens: int
    ) -> Tensors:
        """Stop after so many tokens; the caches have room for all."""
        return self._generate(parts, inputs, on_token, None, count=tokens)

    def run_reference(
        self,
        parts: Mapping[str, Network],
        modules: Mapping[str, Positional],
        inputs: Tensors,
        *,
        drawn_tokens: bool = False,
    ) -> Tensors:
        """Generate, and compare with one forward of the whole sequence without a cache.

        Raises:
            Incompatible: this model can't be decoded here, or its logits with a cache are others.
        """
        model = modules["prefill"].model
        config = model.config.get_text_config(decoder=True)
        if any(getattr(DynamicCache(config=config), "is_linear", ())):  # transformers before 5 has none
            raise Incompatible(f"{config.model_type} {_NO_STATES}")
        forced = self._drawn(config.vocab_size, inputs) if drawn_tokens else None
        try:
            answers = self._generate(parts, inputs, lambda: None, forced)
        except _UNFIT as error:
            if _NO_MEMORY.search(str(error)):
                raise
            self._without_cache(model, inputs, torch.ones((1, self._output_length), dtype=torch.int64))
            counts = "it counts positions by the length of a growing cache"
            reason = counts if "arange()" in str(error) else _first_line(error)
            raise Incompatible(
                f"{config.model_type} runs without a cache, but not with a cache of fixed length "
                f"({reason}): choose another model"
            ) from error
        tokens = answers["tokens"] if forced is None else forced
        if difference := _difference(answers, self._without_cache(model, inputs, tokens)):
            is_encoder = getattr(config, "is_decoder", None) is False
            advice = "set is_decoder: true in its architecture, or " if is_encoder else ""
            raise Incompatible(
                f"{config.model_type} gives other logits with a cache of fixed length than without one, so "
                f"its tokens would be wrong: {difference}; {advice}choose another model"
            )
        return {**answers, "tokens": tokens}

    def _drawn(self, words: int, inputs: Tensors) -> torch.Tensor:
        """Random tokens in place of those that the model would choose."""
        size = (len(next(iter(inputs.values()))), self._output_length)
        return torch.randint(words, size, generator=torch.Generator().manual_seed(0))

    def _without_cache(self, model: torch.nn.Module, inputs: Tensors, tokens: torch.Tensor) -> torch.Tensor:
        """Logits before each token, (batch, tokens, vocabulary), by one forward of the whole sequence."""
        name = "decoder_input_ids" if "decoder_input_ids" in inputs else self._prompt
        batch, count = inputs[name].shape[0], tokens.shape[1]
        sequence = torch.cat([inputs[name], tokens[:, :-1].expand(batch, -1)], dim=1)
        known = inspect.signature(model.forward).parameters
        options = {"use_cache": False, "logits_to_keep": count}
        options = {option: value for option, value in options.items() if option in known}
        return model(**{**inputs, name: sequence}, **options).logits[:, -count:]

    def run_teacher_forced(
        self, parts: Mapping[str, Network], inputs: Tensors, forced_tokens: Tensors
    ) -> Tensors:
        """Generate from the reference's tokens: the last logits then depend on every step before."""
        return self._generate(parts, inputs, lambda: None, forced_tokens["tokens"])

    def run_scored(self, parts: Mapping[str, Network], inputs: Tensors, tokens: torch.Tensor) -> Tensors:
        """Generate along given tokens of (batch, output length), whatever is likelier.

        `nll` is the negative log likelihood of each in nats, `next` the likeliest token in its place.
        """
        nats: list[torch.Tensor] = []

        def score(logits: torch.Tensor) -> None:
            given = tokens[:, len(nats)].to(logits.device)
            nats.append(torch.nn.functional.cross_entropy(logits.float(), given, reduction="none"))

        found = self._generate(parts, inputs, lambda: None, tokens, score)
        return {"nll": torch.stack(nats, dim=1), "next": found["tokens"]}

    def _generate(  # noqa: PLR0913, PLR0917 - what to call, with what, and how often
        self,
        parts: Mapping[str, Network],
        inputs: Tensors,
        on_token: Callable[[], None],
        forced_tokens: torch.Tensor | None,
        on_logits: Callable[[torch.Tensor], None] = lambda _: None,
        count: int | None = None,
    ) -> Tensors:
        logits, *states = parts["prefill"](*inputs.values())
        first, tokens = logits, [_likeliest(logits)]
        on_token()
        on_logits(logits)
        # The second half of an encoder-decoder's states is the encoder's, which doesn't change.
        is_encoder_decoder = "decoder_input_ids" in inputs
        own = states[: len(states) // 2] if is_encoder_decoder else states
        batch, _, seen, _ = own[0].shape
        write = getattr(parts["decode"], "write_states", None)
        grows = getattr(parts["decode"], "grows_states", False)
        width = getattr(parts["decode"], "state_bytes", None) or own[0].element_size()
        self.kv_bytes_per_token = sum(state.numel() for state in own) * width / (batch * seen)
        caches = own if grows else [_padded(state, seen + self._output_length) for state in own]
        encoded = [state.contiguous() for state in states[len(own) :]]
        if write:
            write([*caches, *encoded])
        for step in range((count or self._output_length) - 1):
            token = tokens[-1] if forced_tokens is None else _token_of(forced_tokens, step)
            position = torch.tensor([seen + step], device=token.device)
            if write:
                (logits,) = parts["decode"](token, position)
            else:
                logits, *columns = parts["decode"](token, position, *caches, *encoded)
                self._write(caches, columns, seen + step)
            tokens.append(_likeliest(logits))
            on_token()
            on_logits(logits)
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
        kinds = [[FilledOnce() for _ in _layers(self.model)] for _ in self.input_names]
        caches = [Cache(layers=layers) for layers in kinds]
        outputs = self.model(
            **dict(zip(self.input_names, tensors, strict=True)),
            past_key_values=caches[0] if len(caches) == 1 else EncoderDecoderCache(*caches),
            use_cache=True,
            **self.last_logits_only,
        )
        states = [state for layers in kinds for layer in layers for state in (layer.keys, layer.values)]
        if any(state is None for state in states):
            raise TypeError("it leaves layers of the cache empty")
        return (outputs.logits[:, -1], *states)


class Decode(torch.nn.Module):  # type: ignore[misc]
    """Inputs: a token, its position, keys and values. Outputs: the next token's logits, the new columns."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        config = model.config.get_text_config(decoder=True)
        self.first_columns = _first_columns(config)
        self.in_rows = config.model_type == "gpt_neo"
        if self.in_rows:
            _read_rows(model, [*self.first_columns])
        # ALiBi counts the columns of a mask of two dimensions, and the model makes its own mask from it.
        self.is_alibi = config.model_type == "bloom" or bool(getattr(config, "alibi", False))

    @property
    def states(self) -> tuple[str, ...]:
        """Keys and values by layer, in the order of `prefill`: the decoder's own, then the encoder's."""
        layers = _layers(self.model)
        kinds = ("self", "cross") if self.is_encoder_decoder else ("self",)
        return tuple(
            f"{kind}_{what}_{layer}" for kind in kinds for layer in layers for what in ("key", "value")
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        """The token, its position, and the states."""
        return ("token", "position", *self.states)

    def forward(
        self, token: torch.Tensor, position: torch.Tensor, *states: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Write the token's column into the states, in place."""
        own = states[: len(states) // 2] if self.is_encoder_decoder else states
        layers = [Column(key, value, position) for key, value in pairs(own)]
        cache = Cache(layers=layers)
        seen = self.seen(token, position, own[0].shape[2], own[0].dtype)
        if self.is_encoder_decoder:
            read = [filled(key, value) for key, value in pairs(states[len(own) :])]
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

    def seen(
        self, token: torch.Tensor, position: torch.Tensor, length: int, dtype: torch.dtype
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """The attention mask that transformers makes over so many columns, in fewer operations.

        It hides later positions and those before the window. Layers of different windows have a mask each.
        """
        columns = torch.arange(length, device=token.device)
        later = columns > position
        if self.is_alibi:
            return (~later).long().expand(token.shape[0], -1)
        masks = {}
        for kind, first_column in self.first_columns.items():
            hidden = later if first_column is None else later | (columns < first_column(position))
            mask = torch.where(hidden, torch.finfo(dtype).min, 0.0).to(dtype)
            masks[kind] = mask[None, None, None]
        if self.in_rows:
            return torch.cat([*masks.values()], dim=2)
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _width(self) -> int:
        return int(getattr(self.model.config, "d_model", 0) or self.model.config.hidden_size)


def _first_columns(config: Any) -> dict[str, Callable[[torch.Tensor], torch.Tensor] | None]:
    """The first column that a token sees, from its position, by kind of layer; None: the first of all."""
    known = {}
    if config.model_type == "gpt_neo":
        known["local"] = partial(_window_start, config.window_size)
        return {kind: known.get(kind) for kind in dict.fromkeys(config.attention_layers)}
    if window := getattr(config, "sliding_window", None):
        known["sliding_attention"] = partial(_window_start, window)
    if chunk := getattr(config, "attention_chunk_size", None):
        known["chunked_attention"] = partial(_chunk_start, chunk)
    kinds = getattr(config, "layer_types", None) or [*known, "full_attention"][:1]  # or all are alike
    return {kind: known.get(kind) for kind in dict.fromkeys(kinds)}


def _window_start(window: int, position: torch.Tensor) -> torch.Tensor:
    return position - (window - 1)


def _chunk_start(chunk: int, position: torch.Tensor) -> torch.Tensor:
    return position - position % chunk


def _read_rows(model: torch.nn.Module, kinds: Sequence[str]) -> None:
    """Let each layer of GPT-Neo read its kind's row of the mask.

    Its own mask counts from the end of the cache, so it can't be used with one of fixed length.
    """
    from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoSelfAttention

    for module in model.modules():
        if isinstance(module, GPTNeoSelfAttention):
            module.bias.fill_(True)  # noqa: FBT003 - a value
            row = kinds.index(module.attention_type)
            module.register_forward_pre_hook(partial(_with_row, row), with_kwargs=True)


def _with_row(row: int, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {**named, "attention_mask": named["attention_mask"][:, :, row : row + 1]}


def _difference(answers: Tensors, expected: torch.Tensor) -> str | None:
    """What differs between the answers and the logits of each step; None where it is rounding."""
    scale = (expected - expected.mean(-1, keepdim=True)).norm(dim=-1)
    errors = {
        name: float(((answers[f"{name}_logits"] - expected[:, step]).norm(dim=-1) / scale[:, step]).max())
        for name, step in {"first": 0, "last": -1}.items()
    }
    chosen = expected.gather(-1, answers["tokens"][:, :, None])[:, :, 0]
    wrong = int((expected.max(-1).values - chosen > 2 * _TOLERANCE * scale).sum())
    if not wrong and all(error <= _TOLERANCE for error in errors.values()):
        return None
    texts = [f"the {name} logits by {error:.2%}" for name, error in errors.items()]
    return f"{', '.join(texts)} ({_TOLERANCE:.1%} is rounding); {wrong} of {chosen.numel()} tokens"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _layers(model: torch.nn.Module) -> range:
    """Indices of the layers that have keys and values."""
    names = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")
    configs = (model.config, model.config.get_text_config(decoder=True))
    counts = (getattr(config, name, None) for config in configs for name in names)
    if (count := next((count for count in counts if count), None)) is None:
        raise Incompatible(
            f"{model.config.model_type} doesn't say how many layers it has: choose another model"
        )
    return range(count)


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

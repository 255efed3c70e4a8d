"""Small twins of architectures: fewer layers, widths and words, in the same proportions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.errors import BenchmarkError
from benchmark.models import networks, yaml_fields
from benchmark.records import Model

_WIDTH = re.compile(
    r"(hidden_sizes?|intermediate_sizes?|embedding_sizes?|(^|_)dims?|_rank|d_model|d_ff|d_kv|d_inner|d_embed|"
    r"d_head|n_embd|n_inner|kv_channels|(^|_)width|(hidden|out|encoder|decoder|base|stem|neck)_channels|"
    r"ffn_size|head_size|state_size|num_groups|mrope_section)$"
)
"""Fields that are widths: all are divided by the same number, so that they still fit each other."""
_NO_WIDTH = re.compile(r"num_channels|in_channels|input_dim|image|patch|kernel|window|num_.*_dims?$")
_LAYERS = re.compile(r"^(n_layers?|num_.*layers?|.*_layers|depths?|layers|num_blocks|layer_depths|.*_depth)$")
_NO_LAYERS = re.compile(r"frozen|freeze|share|every|interval|first_k|attn_layers|mlp_only|global_attn|_to_")
_MOST = {
    re.compile(r"(num_.*experts|n_routed_experts)$"): 4,
    re.compile(r"(experts_per_tok|moe_top_?k|num_selected_experts)$"): 2,
}
_TOKEN = re.compile(r"_token_(id|index)$")
_WORDS = 1024
_EDGES = ("image_size", "input_size")
_SMALL_EDGE, _STEP = 128, 32
"""Images from this edge on are made smaller, to multiples of the second number."""
_POSITIONS, _FEW_POSITIONS = ("max_source_positions",), 64


_CALLED = "can't be called"
"""In the reason of a twin that could be built: it says more than that of one that couldn't."""


class _Sizes(NamedTuple):
    """How much smaller a twin is."""

    divisor: int
    """Of every width."""
    layers: int | None = 2
    """Most layers, in all or in each stage; None: as many as before."""
    small_images: bool = False


_LADDER = (
    *(_Sizes(divisor, small_images=True) for divisor in (16, 8, 4)),
    *(_Sizes(divisor) for divisor in (16, 8, 4)),
    *(_Sizes(divisor, layers=None) for divisor in (16, 8)),
    *(_Sizes(divisor) for divisor in (2, 1)),
)
"""Sizes to try, the smallest first."""


class Twin(NamedTuple):
    """A small architecture."""

    architecture: Mapping[str, Any]
    reason: str | None
    """Why it can't be called, at the smallest size; None: it can."""


def shrunk(config: Any, call: Callable[[Mapping[str, Any]], None]) -> Twin:
    """Return the smallest twin for which `call` raises nothing.

    Where it always does, the smallest one that can be built, or else configured, with its reason.
    """
    failed, unfit = None, None
    for sizes in _LADDER:
        try:
            architecture = yaml_fields.architecture_of(_made(config, sizes))
        except Exception as error:  # noqa: BLE001 - of any configuration class: fields don't fit at this size
            unfit = unfit or str(error)
            continue
        if (reason := refused(architecture, call)) is None:
            return Twin(architecture, None)
        if failed is None or (_CALLED in reason and _CALLED not in str(failed.reason)):
            failed = Twin(architecture, reason)
    return failed or Twin(yaml_fields.architecture_of(config), f"it can't be made smaller: {unfit}")


def refused(architecture: Mapping[str, Any], call: Callable[[Mapping[str, Any]], None]) -> str | None:
    """What the call of an architecture raises; None: it works."""
    try:
        call(architecture)
    except BenchmarkError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - of any library
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return None


def _made(config: Any, sizes: _Sizes) -> Any:
    words = getattr(config.get_text_config(), "vocab_size", None)
    few = min(words, _WORDS) if isinstance(words, int) else _WORDS
    fields = _fields(config, sizes, few)
    return networks.configuration(
        Model(name="twin", architecture={"model_type": config.model_type, **fields})
    )


def _fields(config: Any, sizes: _Sizes, words: int) -> dict[str, Any]:
    """Fields of the twin that differ from the defaults of the class, derived ones left out where possible."""
    own, inner = yaml_fields.full(config), yaml_fields.nested(config)
    stated = yaml_fields.of_part(config)
    fields = {name: value for name, value in stated.items() if name != "model_type"}
    depths = {value for name, value in own.items() if _is_depth(name) and isinstance(value, int)}
    stages = {
        len(value)
        for name, value in own.items()
        if _is_depth(name) and isinstance(value, list) and all(isinstance(layers, int) for layers in value)
    }
    unused = iter(range(words - 1, 0, -1))
    for name, value in own.items():
        if name in inner:
            of_part = yaml_fields.of_part(inner[name])
            named = {key: value for key, value in of_part.items() if key == "model_type"}
            fields[name] = {**named, **_fields(inner[name], sizes, words)}
        elif name == "attention_types" and sizes.layers:  # GPT-Neo's: [kinds, times]
            fields[name] = [[kinds, 1] for kinds, _ in value]
        elif _is_depth(name) and isinstance(value, int) and value in stages:
            continue
        elif sizes.layers and isinstance(value, list) and len(value) in depths and isinstance(value[0], str):
            fields[name] = _kinds(value, sizes.layers)
        elif (smaller := _smaller(name, value, sizes, words, unused)) != value:
            fields[name] = smaller
    return fields


def _smaller(name: str, value: Any, sizes: _Sizes, words: int, unused: Iterator[int]) -> Any:
    if isinstance(value, Mapping):
        return {key: _smaller(str(key), inner, sizes, words, unused) for key, inner in value.items()}
    if isinstance(value, list):
        kept = _is_depth(name) or _is_width(name) or name in _EDGES
        return [_smaller(name, inner, sizes, words, unused) for inner in value] if kept else value
    return value if type(value) is not int else _smaller_number(name, value, sizes, words, unused)


def _smaller_number(name: str, value: int, sizes: _Sizes, words: int, unused: Iterator[int]) -> int:
    if name in _EDGES and sizes.small_images and value >= _SMALL_EDGE:
        return -(-value // 4 // _STEP) * _STEP
    if _TOKEN.search(name):
        return value if value < words else next(unused, 0)
    if _is_width(name) and value % sizes.divisor == 0:
        return value // sizes.divisor
    return min(value, _most(name, sizes, words) or value)


def _most(name: str, sizes: _Sizes, words: int) -> int | None:
    """Most of what this field counts; None: it isn't changed."""
    if _is_depth(name):
        return sizes.layers
    if name.endswith(("vocab_size", "_vocab")):
        return words
    if name in _POSITIONS:
        return _FEW_POSITIONS
    return next((most for kind, most in _MOST.items() if kind.search(name)), None)


def _is_depth(name: str) -> bool:
    return bool(_LAYERS.search(name)) and not _NO_LAYERS.search(name)


def _is_width(name: str) -> bool:
    return bool(_WIDTH.search(name)) and not _NO_WIDTH.search(name)


def _kinds(layers: Sequence[str], count: int) -> list[str]:
    """As many layers, of every kind if possible, in their order."""
    first = sorted({kind: layers.index(kind) for kind in reversed(layers)}.values())
    others = [place for place in range(len(layers)) if place not in first]
    return [layers[place] for place in sorted([*first, *others][:count])]

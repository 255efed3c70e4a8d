"""Layers of transformers' caches that hold given keys and values. Imported by children only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer, StaticLayer


class Column(StaticLayer):  # type: ignore[misc]
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
        """Write one column; return all."""
        # Under autocast the new ones are of fewer bits than the cache.
        self.new_key, self.new_value = key_states.to(self.keys.dtype), value_states.to(self.values.dtype)
        for state, new in ((self.keys, self.new_key), (self.values, self.new_value)):
            state.index_copy_(2, self.cumulative_length, new)
        return self.keys, self.values


class FilledOnce(DynamicLayer):  # type: ignore[misc]
    """Cache layer that is filled by one update.

    Transformers' own begins empty and appends, which OpenVINO can't convert.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the keys and values as they are."""
        self.keys, self.values, self.is_initialized = key_states, value_states, True
        return key_states, value_states


class Growing(DynamicLayer):  # type: ignore[misc]
    """Cache layer that appends to given keys and values."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values, self.is_initialized = keys, values, True
        self.dtype, self.device = keys.dtype, keys.device

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append a column; return all."""
        self.keys = torch.cat([self.keys, key_states], dim=2)
        self.values = torch.cat([self.values, value_states], dim=2)
        return self.keys, self.values


def filled(keys: torch.Tensor, values: torch.Tensor) -> DynamicLayer:
    """A cache layer that is read only."""
    layer = DynamicLayer()
    layer.keys, layer.values, layer.is_initialized = keys, values, True
    layer.dtype, layer.device = keys.dtype, keys.device
    return layer


def pairs(states: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of each layer."""
    return list(zip(states[::2], states[1::2], strict=True))

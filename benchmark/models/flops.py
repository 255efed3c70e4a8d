"""Operations and weight bytes of one call of a module. Imported by children only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

log = logging.getLogger(__name__)

_FP32_BYTES = 4


def flops_per_call(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> int | None:
    """Operations of a call of a module, or None, as `counted` says."""
    return counted(module, inputs, torch.inference_mode())


def counted(
    function: Callable[..., Any], inputs: Sequence[torch.Tensor], mode: AbstractContextManager[Any]
) -> int | None:
    """Floating-point operations of a function of tensors, called in this mode of autograd.

    They are 2 for each multiply-add of products, convolutions and attention.

    Counted on fake tensors, which have shapes but no content: nothing is computed. Count last, since the
    module may keep some of them. None, with the reason in the log, where the module's control flow depends
    on the content of its inputs, or torch can't count (before 2.1).
    """
    try:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils.flop_counter import FlopCounterMode

        # Without it torch 2.13 counts attention on GPUs only: 3 % of BERT base at 128 tokens were missing.
        attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}  # noqa: SLF001
        counter = FlopCounterMode(display=False, custom_mapping=attention)
        # Fake tensors, not meta ones: only for fake ones transformers skips reading the mask's content.
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, mode, counter:
            function(*(fake.from_tensor(tensor) for tensor in inputs))
    except Exception as error:  # noqa: BLE001 - a count that fails must not fail the build
        log.warning(
            "flops_per_call is null: operations can't be counted: %s: %s", type(error).__name__, error
        )
        return None
    return int(counter.get_total_flops())


def weight_bytes(module: torch.nn.Module) -> int:
    """Bytes of the parameters that a call must read, in fp32.

    Embedding tables don't count, since a call reads some rows only. A weight that several layers share counts
    once, also one that is an embedding table too.
    """
    read: dict[int, int] = {
        id(parameter): parameter.numel()
        for part in module.modules()
        if not isinstance(part, torch.nn.Embedding)
        for parameter in part.parameters(recurse=False)
    }
    return sum(read.values()) * _FP32_BYTES


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """Operations of fused attention on the CPU, by the shapes of its operands."""
    from torch.utils.flop_counter import sdpa_flop_count

    return int(sdpa_flop_count(query, key, value))

"""What one call of a module takes at least, in arithmetic and in weights. Imported by children only."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

log = logging.getLogger(__name__)

_FP32_BYTES = 4


def flops_per_call(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> int | None:
    """Floating-point operations of a call: 2 for each multiply-add of products, convolutions and attention.

    Counted on fake tensors, which have shapes but no content: nothing is computed. Afterwards the module may
    hold some of them, so count last. None, with the reason in the log, for a module whose course depends on
    its inputs' content, and by a torch that can't count (before 2.1).
    """
    try:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils.flop_counter import FlopCounterMode

        # Without it torch 2.13 knows the attention of GPUs only: 3 % of BERT base at 128 tokens were missing.
        attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}  # noqa: SLF001
        counter = FlopCounterMode(display=False, custom_mapping=attention)
        # Fake rather than meta: transformers leaves out looks at the mask's content for them alone.
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.inference_mode(), counter:
            module(*(fake.from_tensor(tensor) for tensor in inputs))
    except Exception as error:  # noqa: BLE001 - whatever a model does to fake tensors, it has been built
        log.warning("operations of a call can't be counted: %s: %s", type(error).__name__, error)
        return None
    return int(counter.get_total_flops())


def weight_bytes(module: torch.nn.Module) -> int:
    """Bytes of the parameters that a call must read, in fp32.

    All but embedding tables, of which it looks up some rows; what several layers share counts once, a table
    that is also the weight of another layer too.
    """
    read: dict[int, int] = {
        id(parameter): parameter.numel()
        for part in module.modules()
        if not isinstance(part, torch.nn.Embedding)
        for parameter in part.parameters(recurse=False)
    }
    return sum(read.values()) * _FP32_BYTES


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """Operations of the CPU's fused attention, by the shapes of its operands."""
    from torch.utils.flop_counter import sdpa_flop_count

    return int(sdpa_flop_count(query, key, value))

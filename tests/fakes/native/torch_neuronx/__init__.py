"""Stand-in for the native torch_neuronx that computes on the CPU.

By a public copy of the library (parmoham-aws/test-repo-parmoham at 98154b86): names, variables, cache, and
that an operator which the device lacks runs on the CPU in silence, unless the environment forbids it.
"""

from __future__ import annotations

import os
import types
from pathlib import Path

import neuron_device as device
import neuron_pretence as pretence
import torch
from torch._dynamo import register_backend

_ON_CPU = set()
_FORBIDS = (
    "TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION",
    "TORCH_NEURONX_FALLBACK_ONLY_FOR_UNIMPLEMENTED_OPS",
    "TORCH_NEURONX_DYNAMO_DISABLE_CPU_AUTOCOPY",
)
_OWN = "-O1 --model-type transformer --auto-cast=none"
"""What the library passes first; the last of two options wins."""
COMPILED = []


def clear_op_tracking():
    _ON_CPU.clear()


def get_fallback_ops():
    return sorted(_ON_CPU)


torch.neuron = types.SimpleNamespace(
    is_available=lambda: os.environ.get("FAKE_NEURON_DEVICE", "1") == "1", device_count=lambda: 1
)


@register_backend(name="neuron")
def _neuron(graph, tensors, options=None):
    tokens = [*_OWN.split(), *os.environ.get("NEURON_CC_FLAGS", "").split()]
    key = device.key(graph, tensors, " ".join(tokens))
    folder = Path(os.environ["TORCH_NEURONX_NEFF_CACHE_DIR"], key[:2], key[2:4])
    if not (folder / f"{key}.neff").exists():
        device.compile_to(folder, "trn2", tokens)
        (folder / "graph.neff").rename(folder / f"{key}.neff")
        COMPILED.append(key)
    run = device.runnable(graph, device.cast_of(pretence.parsed(tokens)))
    if pretence.failure() not in {"unsupported", "fallback"}:
        return run

    def partly_on_cpu(*inputs):
        forbids = all(os.environ.get(name) == "1" for name in _FORBIDS)
        if forbids and pretence.failure() != "fallback":  # that one disregards the environment
            raise NotImplementedError("aten::sort has no kernel on neuron")
        _ON_CPU.add("aten::sort")
        return run(*inputs)

    return partly_on_cpu

"""Stand-in for a torch device "neuron": tensors on the CPU that only move, or run in a compiled graph.

As on the device, an operator outside of a compiled graph has no kernel. Both stand-ins of torch.compile use
this one.
"""

from __future__ import annotations

import hashlib
import os
import shlex

import neuron_pretence as pretence
import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("neuron")
_VALUES = {}
"""By storage, since a parameter keeps its storage when its tensor is replaced: the storage and its values."""
TYPES = {torch.int64: torch.int32, torch.float64: torch.float32}
"""What the device narrows without a word."""


class DeviceTensor(torch.Tensor):
    """A tensor on neuron:0."""

    @staticmethod
    def __new__(cls, values):
        made = torch._C._acc.create_empty_tensor(values.shape, values.dtype)
        made.__class__ = cls
        return made

    def __init__(self, values):
        storage = self.untyped_storage()
        _VALUES[storage._cdata] = (storage, values)


def values_of(tensor):
    """The values of a tensor, wherever it is."""
    return _VALUES[tensor.untyped_storage()._cdata][1] if tensor.device.type == "neuron" else tensor


def _empty(size, *_, dtype=None, **__):
    return DeviceTensor(torch.empty(size, dtype=dtype))


def _empty_strided(size, _stride, *, dtype=None, **_):
    return DeviceTensor(torch.empty(size, dtype=dtype))


def _copy_from(source, target, non_blocking=False):
    values_of(target).copy_(values_of(source))
    return target


def _to_copy(tensor, *, dtype=None, device=None, **_):
    values = values_of(tensor)
    values = values.to(dtype=dtype or values.dtype, copy=True)
    return DeviceTensor(values) if device is None or torch.device(device).type == "neuron" else values


_LIBRARY = torch.library.Library("aten", "IMPL")
for _name, _kernel in {
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "_copy_from": _copy_from,
    "_to_copy": _to_copy,
}.items():
    _LIBRARY.impl(_name, _kernel, "PrivateUse1")


def _on_cpu(argument):
    return torch.device("cpu") if isinstance(argument, torch.device) else argument


def runnable(graph, cast=None):
    """What runs a graph on the "device": on values that are on the CPU, rounded as the compiler casts."""
    for part in graph.modules():  # what makes tensors makes them on the device
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.args = torch.fx.node.map_aggregate(node.args, _on_cpu)
            node.kwargs = torch.fx.node.map_aggregate(node.kwargs, _on_cpu)
        if isinstance(part, torch.fx.GraphModule):
            part.recompile()

    def run(*tensors):
        if any(tensor.device.type != "neuron" for tensor in tensors):
            raise RuntimeError("PjRt buffer is null: a tensor is not on the device")
        rounded = [
            one.to(cast).to(one.dtype) if cast and one.is_floating_point() else one
            for one in map(values_of, tensors)
        ]
        return tuple(DeviceTensor(one) for one in graph(*rounded))

    return run


def cast_of(flags):
    """Type that the compiler casts to, or None."""
    return torch.bfloat16 if flags.get("--auto-cast", "none") != "none" else None


def key(graph, tensors, flags):
    """The name of a compiled graph in a cache: by graph, shapes, types and flags, not by the device."""
    # By the names of its operators: Dynamo calls some by a method where tensors are of a class of their own.
    names = (getattr(node.target, "__name__", str(node.target)) for node in graph.graph.nodes)
    text = [
        flags,
        *(name.strip("_") for name, node in zip(names, graph.graph.nodes, strict=True) if "call" in node.op),
    ]
    text += sorted(f"{tuple(one.shape)} {one.dtype}" for one in tensors)
    return hashlib.md5("|".join(text).encode()).hexdigest()  # noqa: S324 - as the library does


def compile_to(folder, target, tokens):
    """Run "neuronx-cc": it has to be on PATH, and checks its flags; leaves a program."""
    pretence.find("neuronx-cc")
    folder.mkdir(parents=True, exist_ok=True)
    flags = pretence.neuronx_cc(["--framework", "XLA", "--target", target, *tokens], folder)
    (folder / "command.txt").write_text(shlex.join(["neuronx-cc", "compile", *tokens]))
    return flags


def logical_cores():
    """As the runtime reads it."""
    return os.environ.get("NEURON_LOGICAL_NC_CONFIG", "2")

"""Stand-in for libtorch_neuronx_lite that computes on the CPU.

Layout of the cache, key and variables: vllm-neuron/docs/design/compilation of aws-neuron-sdk at 81ce03ae.
"""

from __future__ import annotations

import os
from pathlib import Path

import neuron_device as device
import neuron_pretence as pretence
import torch
from torch import distributed
from torch._dynamo import register_backend

from libtorch_neuronx_lite.compile.capture_backend import capture

COMPILED = []
"""Keys of the graphs that this process has compiled."""


def folder_of(key):
    return Path(os.environ["NEURON_LIBTORCH_CACHE_ROOT"], "neuron", "compile_cache", key)


def compile(graph, tensors, options=None):  # noqa: A001 - the library's name
    if not distributed.is_initialized():
        raise ValueError("Default process group has not been initialized")
    arguments = (options or {}).get("compiler_args", "")
    key = device.key(graph, tensors, arguments)
    folder = folder_of(key)
    if not (folder / "graph.neff").exists():
        if os.environ.get("NEURON_LIBTORCH_ASSERT_CACHE_HIT") == "1":
            raise RuntimeError(f"compile cache miss for {key}")
        device.compile_to(folder, os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"], arguments.split())
        COMPILED.append(key)
    (folder.parent / f"{key}.lock").touch()
    if device.logical_cores() != "2":
        raise RuntimeError("NEFF was compiled for another logical core size")
    flags = pretence.parsed(arguments.split())
    run = device.runnable(graph, device.cast_of(flags))
    if pretence.failure() == "fallback":
        return lambda *inputs: tuple(device.values_of(one) for one in run(*inputs))
    return run


register_backend(capture, name="neuron_libtorch_graph_capture")
if os.environ.get("FAKE_NEURON_DEVICE", "1") == "1":  # the real one looks for /dev/neuron*
    register_backend(compile, name="neuron_libtorch")
__all__ = ["torch"]

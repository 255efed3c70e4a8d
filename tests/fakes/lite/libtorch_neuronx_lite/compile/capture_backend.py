"""Lowers a graph of meta tensors, and ends the call by an exception."""

from __future__ import annotations

import os

import neuron_device as device
import neuron_pretence as pretence


class CaptureComplete(Exception):
    """The graph was captured."""


def capture(graph, tensors, options=None):
    from libtorch_neuronx_lite import folder_of

    if os.environ.get("NEURON_LIBTORCH_CPU_COMPILE") != "1":
        raise RuntimeError("inputs must be on the device")
    if any(one.device.type != "meta" for one in tensors):
        raise RuntimeError("not on meta")
    arguments = (options or {}).get("compiler_args", "")
    folder = folder_of(device.key(graph, tensors, arguments))
    folder.mkdir(parents=True)
    (folder / "graph.hlo").write_bytes(b"hlo")
    if pretence.failure() != "captures_only":
        device.compile_to(folder, os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"], arguments.split())
    raise CaptureComplete

"""Put programs on NeuronCores: without this the libraries deal them to the visible cores in turns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any


def on_cores(library: Any, cores: Sequence[int]) -> AbstractContextManager[None]:
    """Let `torch.jit.load` put a model on these cores, counted from the first one that is visible.

    It isn't threadsafe (api-torch-neuronx-core-placement.rst).
    """
    old = not hasattr(library, "neuron_cores_context")  # before SDK 2.25, and torch-neuron
    owner = import_module(f"{library.__name__}.experimental") if old else library
    context: AbstractContextManager[None] = owner.neuron_cores_context(start_nc=cores[0])
    return context


def divide(library: Any, model: Any, cores: Sequence[int]) -> Any:
    """The model as several copies, each on a core, that get a share of the batch each."""
    for weight in model.parameters():  # threads of the library call what is left to the CPU
        weight.requires_grad_(requires_grad=False)
    return library.DataParallel(model, list(cores), set_dynamic_batching=False)


def move_weights(library: Any, model: Any, core: int) -> None:
    """Copy weights that aren't part of the program to the core; else every call would."""
    if move := getattr(library, "move_trace_to_device", None):
        move(model, core)
    else:  # its successor since SDK 2.25 (api-torch-neuronx-core-placement.rst)
        library.set_neuron_cores(model, start_nc=core, nc_count=1)

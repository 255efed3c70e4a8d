"""Stand-ins for the device libraries that optimum-neuron 0.4.5 imports; what they trace computes on the CPU.

`install()` makes torch_neuronx, neuronxcc, neuronx_distributed, libneuronxla and torch_xla importable in this
process. Of torch_neuronx they have what exporting and loading an encoder calls, by its documented signature
(aws-neuron-sdk, api-torch-neuronx-trace.rst); any other name is an empty class, so that imports work. Their
versions are in the `*.dist-info` folders beside this file: the pins of optimum-neuron[neuronx].
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path

_NAMES = {"torch_neuronx", "neuronxcc", "neuronx_distributed", "libneuronxla", "torch_xla"}
TRACED = []
"""Keywords of each call of `torch_neuronx.trace`."""


class _Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):  # noqa: ARG002 - the protocol's signature
        if name.partition(".")[0] in _NAMES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        if module.__name__ == "neuronxcc":
            module.__version__ = "2.21.33363.0"
        if module.__name__ == "torch_neuronx":
            vars(module).update(
                trace=trace,
                dynamic_batch=dynamic_batch,
                move_trace_to_device=_placed,
                experimental=types.SimpleNamespace(set_neuron_cores=_placed),
            )


def install():
    """Make the names importable, and their distributions known."""
    sys.path.append(str(Path(__file__).parent))
    sys.meta_path.insert(0, _Finder())


def trace(  # noqa: PLR0913 - the documented signature
    func,
    example_inputs,
    *_,
    input_output_aliases={},  # noqa: B006 - the documented default
    compiler_workdir=None,
    compiler_args=None,
    partitioner_config=None,
    inline_weights_to_neff=True,
    cpu_backend=False,
):
    """Return a ScriptModule that computes on the CPU."""
    import torch

    if cpu_backend and "--target" not in compiler_args:
        raise ValueError("cpu_backend needs --target in compiler_args")
    TRACED.append(
        {
            "compiler_args": compiler_args,
            "compiler_workdir": compiler_workdir,
            "inline_weights_to_neff": inline_weights_to_neff,
            "cpu_backend": cpu_backend,
            "input_output_aliases": input_output_aliases,
            "partitioner_config": partitioner_config,
        }
    )

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.func = func

        def forward(self, *inputs):
            outputs = self.func(*inputs)
            return (
                outputs.to_tuple() if hasattr(outputs, "to_tuple") else outputs
            )  # torch.jit nests no others

    with torch.no_grad():
        return torch.jit.trace(Plain(), example_inputs, strict=False, check_trace=False)


def dynamic_batch(neuron_script):
    """Return the same: what is traced for the CPU takes the batch it was traced with."""
    return neuron_script


def _placed(_, *arguments, **named):
    del arguments, named

"""Stand-in for torch_neuron that computes on the CPU: the documented signatures around torch.jit.trace.

archive/torch-neuron/api-compilation-python-api.rst of aws-neuron-sdk at 81ce03ae; log lines are those of its
issues #462, #827, #618 and #485. `neuron_pretence` tells which failures can be asked for.
"""

from __future__ import annotations

import logging
import sys
import types
from enum import Enum, auto

import neuron_pretence as pretence
import torch

logger = logging.getLogger("Neuron")
torch.set_num_threads(1)  # the device computes in the real one, not the host's cores
_SUPPORTED = ("aten::linear", "aten::layer_norm", "aten::add", "prim::Constant")
_NOT_SUPPORTED = "aten::embedding"


class Optimization(Enum):
    """Passes over a model."""

    FLOAT32_TO_FLOAT16 = auto()


class Node:
    """An operator as the partitioner shows it: its name is a tuple of module names, the operator's last."""

    def __init__(self, module, operator, number):
        self.name = (f"{module}#1", f"{operator}#{number}")


def get_supported_operations():
    return list(_SUPPORTED)


def trace(  # noqa: PLR0913, PLR0917 - the documented signature
    model,
    example_inputs,
    compiler_args=None,
    compiler_timeout=None,
    compiler_workdir=None,
    subgraph_builder_function=None,
    minimum_segment_size=2,
    single_fusion_ratio_threshold=0.6,
    fallback=True,
    dynamic_batch_size=False,
    optimizations=None,
    separate_weights=False,
    **kwargs_to_torch_jit_trace,
):
    inputs = example_inputs if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    pretence.find("neuron-cc")
    words = pretence.neuron_cc(compiler_args, compiler_workdir)
    asked = pretence.failure()
    if asked in {"unsupported", "partial"} and not fallback:
        raise AttributeError("module 'torch_neuron.ops.aten' has no attribute 'embedding'")
    options = {"check_trace": False} | kwargs_to_torch_jit_trace
    if asked == "fallback":
        return _left_to_the_cpu(pretence.as_module(model), inputs, options)
    forced = subgraph_builder_function is not None and subgraph_builder_function(
        Node("Embeddings", _NOT_SUPPORTED, 12)
    )
    dtype = torch.float16 if any(word.endswith("fp16") for word in words) else torch.bfloat16
    stages = [pretence.NeuronModule(pretence.rounded(pretence.as_module(model), dtype), inputs)]
    stages[0].state[pretence.DYNAMIC] = int(dynamic_batch_size)
    partial = asked in {"unsupported", "partial"} and not forced
    if partial:
        logger.info(
            "There are 2 ops of 1 different types in the TorchScript that are not compiled by neuron-cc: "
            "aten::embedding, (For more information see https://github.com/aws/aws-neuron-sdk/blob/master/"
            "release-notes/neuron-cc-ops/neuron-cc-ops-pytorch.md)"
        )
        stages += [pretence.Through()]
    _say(len(stages), 242 if partial else 249)
    return torch.jit.trace(pretence.Program(*stages), tuple(inputs), **options)


def _say(subgraphs, fused):
    logger.info(
        "Number of arithmetic operators (pre-compilation) before = 249, fused = %d, percent fused = %s%%",
        fused,
        round(100 * fused / 249, 2),
    )
    logger.info("The neuron partitioner created %d sub-graphs", subgraphs)
    logger.info(
        "Neuron successfully compiled %d sub-graphs, Total fused subgraphs = %d, Percent of model sub-graphs "
        "successfully compiled = 100.0%%",
        subgraphs,
        subgraphs,
    )


def _left_to_the_cpu(module, inputs, options):
    logger.warning(
        "torch.neuron.trace failed on _NeuronGraph$551; falling back to native python function call"
    )
    logger.warning("No operator is placed on Neuron runtime; returning a CPU trace")
    return torch.jit.trace(module, tuple(inputs), **options)


def is_available():
    return False


experimental = types.ModuleType("torch_neuron.experimental")
experimental.neuron_cores_context = pretence.neuron_cores_context
sys.modules["torch_neuron.experimental"] = experimental

# The library puts itself into torch: `torch.neuron.trace` is documented beside `torch_neuron.trace`.
neuron = types.ModuleType("torch.neuron")
neuron.trace, neuron.get_supported_operations = trace, get_supported_operations
torch.neuron = sys.modules["torch.neuron"] = neuron

"""Stand-in for torch_neuronx that computes on the CPU: the documented signatures around torch.jit.trace.

frameworks/torch/torch-neuronx/api-reference-guide/inference/ of aws-neuron-sdk at 81ce03ae. What the runtime
checks, this checks: shapes and types at each call, flags by the reference of neuronx-cc. `neuron_pretence`
tells which failures can be asked for.
"""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor

import neuron_pretence as pretence
import torch

# The real one does so too (issue #737): a script in the `bin` of its environment.
subprocess.run(["libneuronpjrt-path"], check=True, stdout=subprocess.DEVNULL)

logger = logging.getLogger("Neuron")
torch.set_num_threads(1)  # the device computes in the real one, not the host's cores
_CASTS = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": None, "fp8_e4m3": torch.float8_e4m3fn}


class PartitionerConfig:
    """As documented: it takes what it knows, and swallows every other name."""

    def __init__(  # noqa: PLR0913 - the documented signature
        self,
        *,
        trace_kwargs=None,
        model_support_percentage_threshold=0.5,
        min_subgraph_size=-1,
        max_subgraph_count=-1,
        ops_to_partition=None,
        analyze_parameters=None,
        **_unknown,
    ):
        self.trace_kwargs = trace_kwargs or {}
        self.threshold = model_support_percentage_threshold
        self.min_subgraph_size = min_subgraph_size
        self.max_subgraph_count = max_subgraph_count
        self.ops_to_partition = ops_to_partition or set()
        self.analyze_parameters = analyze_parameters or {}


def trace(  # noqa: PLR0913 - the documented signature
    func,
    example_inputs,
    *_,
    input_output_aliases={},  # noqa: B006 - the documented signature
    compiler_workdir=None,
    compiler_args=None,
    partitioner_config=None,
    inline_weights_to_neff=True,
    cpu_backend=False,
):
    if _:
        warnings.warn("torch_neuronx.trace: use keyword arguments after example_inputs", stacklevel=2)
    pretence.find("neuronx-cc")
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    flags = pretence.neuronx_cc(compiler_args, compiler_workdir)
    if cpu_backend and "--target" not in flags:
        raise ValueError("cpu_backend=True needs --target in compiler_args")
    if cpu_backend and "NEURON_PLATFORM_TARGET_OVERRIDE" not in os.environ:  # seen on a host without a device
        raise RuntimeError("Unsupported Platform - r7i.24xlarge")
    if pretence.failure() == "fallback":
        return torch.jit.trace(pretence.as_module(func), inputs, check_trace=False)
    if pretence.failure() == "unsupported" and partitioner_config is None:
        raise pretence.CompilerError(pretence.ERRORS["NCC_EVRF001"])
    if partitioner_config is not None:
        flags = pretence.neuronx_cc(
            partitioner_config.trace_kwargs.get("compiler_args"),
            partitioner_config.trace_kwargs.get("compiler_workdir"),
        )
    cast = (
        _CASTS[flags.get("--auto-cast-type", "bf16")] if flags.get("--auto-cast", "none") != "none" else None
    )
    if input_output_aliases:
        if partitioner_config is not None:
            raise RuntimeError("input_output_aliases: not with a partitioner")
        inner = pretence.Stateful(pretence.rounded(func, cast), inputs, input_output_aliases)
    else:
        inner = pretence.rounded(pretence.as_module(func), cast)
    module = pretence.NeuronModule(inner, inputs)
    module.state[pretence.WEIGHTS] = int(inline_weights_to_neff)
    stages = [module, *_partitions(partitioner_config)]
    return torch.jit.trace(pretence.Program(*stages), inputs, check_trace=False)


def _partitions(config):
    """What the partitioner leaves to the CPU, and what it says of it."""
    if config is None:
        return []
    unknown = ["aten::sort"] if pretence.failure() == "unsupported" else []
    if not unknown and not config.ops_to_partition:
        logger.info("100.00%% of arithmetic operations (7 of 7) are supported")
        logger.info("Num Partitions: 1")
        return []
    if unknown:
        logger.info("The following operations are currently not supported:")
        logger.info("aten::sort, unsup.py(28): forward")
    share = 6 / 7 if unknown else 1.0
    logger.info("%.2f%% of arithmetic operations (%d of 7) are supported", 100 * share, 6 if unknown else 7)
    if share < config.threshold:
        raise ValueError(f"The model has {share:.2%} of supported operators, below {config.threshold}")
    if 0 < config.max_subgraph_count < 2:
        raise ValueError(
            "The partitioner has found 2 subgraphs which exceeds the specified max subgraph count of "
            f"{config.max_subgraph_count}."
        )
    logger.info("Num Partitions: 2")
    return [pretence.Through()]


def analyze(  # noqa: PLR0913, PLR0917 - the documented signature
    func,
    example_inputs,
    compiler_workdir=None,
    additional_ignored_ops=set(),  # noqa: B006 - the documented signature
    max_workers=4,
    is_hf_transformers=False,
    cleanup=False,
):
    unknown = [
        {"kind": "aten::sort", "failureAt": "neuronx-cc", "call": "unsup.py(28): forward", "opGraph": ""}
    ]
    is_partial = pretence.failure() == "unsupported"
    return {
        "torch_neuronx_version": "2.9.0.2.15.32035+simulated",
        "neuronx_cc_version": "2.26.6360.0+simulated",
        "support_percentage": "85.71%" if is_partial else "100.00%",
        "supported_operators": {"aten::linear": 3, "aten::relu": 3},
        "unsupported_operators": unknown if is_partial else [],
    }


def dynamic_batch(neuron_script):
    for state in pretence.states(neuron_script):
        state[pretence.DYNAMIC] = 1
    return neuron_script


def lazy_load(trace, enable_lazy_load=True):
    for state in pretence.states(trace):
        state[pretence.LAZY] = int(enable_lazy_load)


def move_trace_to_device(trace, device_id):
    set_neuron_cores(trace, device_id, 1)


def set_neuron_cores(trace, start_nc=-1, nc_count=-1):
    for state in pretence.states(trace):
        pretence.runtime().place(state, start_nc, nc_count)
        state[pretence.WEIGHTS] = 1


neuron_cores_context = pretence.neuron_cores_context


class DataParallel(torch.nn.Module):
    """Copies of a model on several cores, a part of the batch each, called by threads."""

    def __init__(self, model, device_ids=None, dim=0, set_dynamic_batching=True):
        super().__init__()
        self.device_ids = list(range(len(pretence.runtime().visible))) if device_ids is None else device_ids
        self.models, self.dim = [copy.deepcopy(model) for _ in self.device_ids], dim
        for copied, core in zip(self.models, self.device_ids, strict=True):
            set_neuron_cores(copied, core, 1)
            if set_dynamic_batching:
                dynamic_batch(copied)
        self.num_workers, self.split_size = 2 * len(self.device_ids), None

    def disable_dynamic_batching(self):
        for model in self.models:
            for state in pretence.states(model):
                state[pretence.DYNAMIC] = 0

    def forward(self, *inputs):
        chunks = [torch.chunk(tensor, len(self.models), self.dim) for tensor in inputs]
        with ThreadPoolExecutor(self.num_workers) as threads:
            answers = list(threads.map(lambda model, *given: model(*given), self.models, *chunks))
        if isinstance(answers[0], torch.Tensor):
            return torch.cat(answers, self.dim)
        return tuple(torch.cat(parts, self.dim) for parts in zip(*answers, strict=True))

"""Stand-in that computes on the CPU for neuronx-cc, neuron-cc and the runtime; both fake libraries share it.

Flags are held against the reference of each compiler (aws-neuron-sdk at 81ce03ae), failures have the texts of
its error codes and of logs that users posted. Environment variables choose them:

FAKE_NEURON_FAILURE  a code such as NCC_EVRF001 | NCC_EOOM002 | NCC_EMOD025; unsupported | fallback | partial
                     | not_calculated
"""

from __future__ import annotations

import copy
import os
import shutil
import sys
from pathlib import Path

import torch

_LIBRARY = torch.library.Library("neuron", "DEF")
_LIBRARY.define("forward_1(Tensor[] inputs, Tensor state, str spec) -> Tensor[]")

NEURONX_VALUES = {
    "--framework": {"XLA"},
    "--target": {"inf2", "trn1", "trn1n", "trn2"},
    "--model-type": {"generic", "transformer", "unet-inference"},
    "--auto-cast": {"none", "matmult", "all"},
    "--auto-cast-type": {"bf16", "fp16", "tf32", "fp8_e4m3"},
    "--native-int64": {"default", "enabled", "disabled"},
    "--implicit-integer-downcast": {"default", "all", "none"},
    "--distribution-strategy": {"llm-training"},
    "--logical-nc-config": {"1", "2"},
    "-lnc": {"1", "2"},
    "--optlevel": {"1", "2", "3"},
    "-O": {"1", "2", "3"},
    "--verbose": {"info", "warning", "error", "critical", "debug"},
    "--logfile": None,
    "--output": None,
}
"""Flags that take a value, and which; null: any. compiler/neuronx-cc/api-reference-guide/index.rst."""
NEURONX_SWITCHES = {
    "--enable-mixed-precision-accumulation",
    "--disable-mixed-precision-accumulation",
    "--enable-saturate-infinity",
    "--enable-fast-context-switch",
    "--enable-fast-loading-neuron-binaries",
}
NEURON_CASTS = {
    "fp32-cast-all",
    "fp32-cast-all-fp16",
    "fp32-cast-matmult",
    "fp32-cast-matmult-bf16",
    "fp32-cast-matmult-fp16",
}
NEURON_SWITCHES = NEURONX_SWITCHES - {
    "--enable-mixed-precision-accumulation",
    "--disable-mixed-precision-accumulation",
}
ERRORS = {
    "NCC_EVRF001": (
        "[NCC_EVRF001] Operator topk is not supported. Locate the operator in source or libraries and "
        "replace it with an alternate implementation via Neuron Kernel Interface (NKI)."
    ),
    "NCC_EUOC002": "[NCC_EUOC002] An unsupported operator was used.",
    "NCC_EOOM001": (
        "[NCC_EOOM001] The combined memory needed for the model tensors exceeds the high-bandwidth memory "
        "limit."
    ),
    "NCC_EOOM002": "[NCC_EOOM002] Maximum peak HBM usage of 18.12GB exceeds HBM limit of 16.00GB",
    "NCC_EMOD025": (
        "[NCC_EMOD025] Dynamic shape is not supported: instruction 'add.1' has shape 'f32[<=8]'. The Neuron "
        "compiler requires all tensor dimensions to be statically sized."
    ),
}


def failure():
    """What was chosen to go wrong."""
    return os.environ.get("FAKE_NEURON_FAILURE", "")


def find(compiler):
    """Look the compiler up as the libraries do, on PATH."""
    if shutil.which(compiler) is None:
        raise RuntimeError(f"{compiler} compiler binary does not exist")


class CompilerError(RuntimeError):
    """neuronx-cc has ended with another exit status than 0."""


def neuronx_cc(arguments, workdir):
    """Compile: check the flags, leave a log and a NEFF. Returns the flags as a mapping."""
    tokens = arguments.split() if isinstance(arguments, str) else list(arguments or ())
    found = _parsed(tokens)
    if found.get("-lnc", found.get("--logical-nc-config", "1")) == "2" and found.get("--target") != "trn2":
        _fail(
            workdir, "[NCC_EARG001] Logical Neuron Core (LNC) configuration 2 is not supported on this target"
        )
    if failure().startswith("NCC_"):
        _fail(workdir, ERRORS[failure()])
    _leave(workdir, "Compiler status PASS")
    return found


def _parsed(tokens):
    found = {}
    while tokens:
        flag, equals, value = tokens.pop(0).partition("=")
        if flag in NEURONX_SWITCHES and not equals:
            found[flag] = True
            continue
        if flag not in NEURONX_VALUES:
            raise CompilerError(f"[NCC_EARG001] neuronx-cc: error: unrecognized arguments: {flag}")
        if not equals:
            value = tokens.pop(0) if tokens else ""
        allowed = NEURONX_VALUES[flag]
        if allowed is not None and value not in allowed:
            raise CompilerError(
                f"[NCC_EARG001] neuronx-cc: error: argument {flag}: invalid choice: '{value}'"
            )
        found[flag] = value  # the right-most wins
    return found


def neuron_cc(arguments, workdir):
    """Compile for inf1: check the flags, leave a log and a NEFF. Returns the words of --fast-math."""
    if arguments is not None and not isinstance(arguments, list):
        raise TypeError("compiler_args must be a list of strings")
    tokens, words = list(arguments or ()), []
    while tokens:
        flag = tokens.pop(0)
        if flag == "--fast-math":
            while tokens and not tokens[0].startswith("--"):
                words.append(tokens.pop(0))
        elif flag == "--neuroncore-pipeline-cores":
            if not (tokens and tokens.pop(0).isdigit()):
                raise CompilerError(
                    "neuron-cc: error: argument --neuroncore-pipeline-cores: invalid int value"
                )
        elif flag not in NEURON_SWITCHES:
            raise CompilerError(f"neuron-cc: error: unrecognized arguments: {flag}")
    _check_fast_math(words)
    _leave(workdir, "Compiler status PASS")
    return words


def _check_fast_math(words):
    exclusive = ({"all", "none"}, NEURON_CASTS, {"fast-relayout", "no-fast-relayout"})
    for word in words:
        if not any(word in group for group in exclusive):
            raise CompilerError(f"neuron-cc: error: argument --fast-math: invalid choice: '{word}'")
    for group in exclusive:
        if len(group.intersection(words)) > 1:
            raise CompilerError(f"neuron-cc: error: --fast-math: mutually exclusive: {sorted(group)}")


def _leave(workdir, line):
    if workdir is not None:
        Path(workdir, "log-neuron-cc.txt").write_text(f"{line}\n", encoding="utf-8")
        Path(workdir, "graph.neff").write_bytes(b"neff" * 256)


def _fail(workdir, text):
    if workdir is not None:
        Path(workdir, "log-neuron-cc.txt").write_text(f"Compilation started\n{text}\n", encoding="utf-8")
    raise CompilerError(f"neuronx-cc failed with exit status 70\n{text}")


class NeuronModule(torch.nn.Module):
    """A subgraph as the device would run it: fixed shapes and types, the operator neuron::forward_1."""

    def __init__(self, inner, inputs):
        super().__init__()
        self.inner = inner
        self.spec = ";".join(f"{','.join(map(str, one.shape))}:{one.dtype}" for one in inputs)
        self.register_buffer("state", torch.zeros(2, dtype=torch.int32))  # dynamic batch, core + 1

    def forward(self, *inputs):
        return self.inner(*torch.ops.neuron.forward_1(list(inputs), self.state, self.spec))


class Program(torch.nn.Module):
    """What is traced: subgraphs of the device in a row, or a module that stays on the CPU."""

    def __init__(self, *stages):
        super().__init__()
        self.stages = torch.nn.ModuleList(stages)

    def forward(self, *inputs):
        for stage in self.stages:
            inputs = stage(*inputs)
            inputs = inputs if isinstance(inputs, tuple) or stage is self.stages[-1] else (inputs,)
        return inputs


class Function(torch.nn.Module):
    """A callable that is no module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Through(torch.nn.Module):
    """Hands on what it is given."""

    def forward(self, *inputs):
        return inputs


def as_module(func):
    """A copy of a module, or a callable as one."""
    return copy.deepcopy(func) if isinstance(func, torch.nn.Module) else Function(func)


def rounded(module, dtype):
    """Round the weights of matrix products as the device would cast them; the cosine shows it."""
    if dtype is not None:
        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d)):
                    part.weight.copy_(part.weight.to(dtype).to(part.weight.dtype))
    return module


GRADIENTS = []
"""For each call: whether its thread would record gradients of what is left to the CPU."""


def _forward(inputs, state, spec):
    GRADIENTS.append(torch.is_grad_enabled())
    dynamic = bool(state[0])
    asked = spec.split(";")
    if len(asked) != len(inputs):
        raise RuntimeError(f"expected {len(asked)} inputs, got {len(inputs)}")
    for place, (tensor, text) in enumerate(zip(inputs, asked, strict=True)):
        sizes, _, dtype = text.partition(":")
        shape = tuple(int(size) for size in sizes.split(",") if size)
        if str(tensor.dtype) != dtype:
            raise RuntimeError(f"input {place}: expected {dtype}, got {tensor.dtype}")
        if dynamic and tuple(tensor.shape[1:]) != shape[1:]:
            raise ValueError(f"input {place}: expected {shape} but for the batch, got {tuple(tensor.shape)}")
        if not dynamic and tuple(tensor.shape) != shape:
            raise RuntimeError(f"input {place}: expected shape {shape}, got {tuple(tensor.shape)}")
    if failure() == "not_calculated":
        sys.stderr.write(
            "Warning: Tensor output are ** NOT CALCULATED ** during CPU execution and only indicate tensor "
            "shape\n"
        )
    return [tensor.clone() for tensor in inputs]


_LIBRARY.impl("forward_1", _forward, "CompositeExplicitAutograd")


def states(trace):
    """The state of every subgraph: whether batches are dynamic, and the core it lies on."""
    return [buffer for name, buffer in trace.named_buffers() if name.rpartition(".")[2] == "state"]

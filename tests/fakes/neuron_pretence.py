"""Stand-in that computes on the CPU for neuronx-cc, neuron-cc and the runtime; both fake libraries share it.

Flags are held against the reference of each compiler (aws-neuron-sdk at 81ce03ae), failures have the texts of
its error codes and of logs that users posted. Environment variables choose them:

FAKE_NEURON_FAILURE  a code such as NCC_EVRF001 | NCC_EOOM002 | NCC_EMOD025; unsupported | fallback | partial
                     | not_calculated
FAKE_NEURON_CORES    NeuronCores of the host, 2 by default
FAKE_NEURON_CALLS    file that gets a line of JSON for each call of a subgraph on a core
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import torch

_LIBRARY = torch.library.Library("neuron", "DEF")
_LIBRARY.define("forward_1(Tensor[] inputs, Tensor state, str spec) -> Tensor[]")
_LIBRARY.define("leave_1(Tensor[] outputs) -> Tensor[]")

NEURONX_VALUES = {
    "--framework": {"XLA"},
    "--target": {"inf2", "trn1", "trn1n", "trn2", "trn3"},
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
_SAME = {"-O": "--optlevel", "--logical-nc-config": "-lnc"}
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
    found = parsed(tokens)
    if found.get("-lnc", "1") == "2" and found.get("--target") not in {
        "trn2",
        "trn3",
    }:
        _fail(
            workdir, "[NCC_EARG001] Logical Neuron Core (LNC) configuration 2 is not supported on this target"
        )
    if failure().startswith("NCC_"):
        _fail(workdir, ERRORS[failure()])
    _leave(workdir, "Compiler status PASS")
    return found


def parsed(tokens):
    """Flags by name."""
    found = {}
    while tokens:
        flag, equals, value = tokens.pop(0).partition("=")
        if flag in {"-O1", "-O2", "-O3"}:  # a letter takes its value without a space too
            flag, equals, value = "-O", "=", flag[-1]
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
        found[_SAME.get(flag, flag)] = value  # the right-most wins
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


DYNAMIC, FIRST_CORE, CORES, TURN, LAZY, WEIGHTS = range(6)
"""Places in the state of a subgraph: whether batches are dynamic; the first core it lies on + 1, of those
that are visible to the process (0: it isn't loaded); their number; calls so far; whether its first call loads
it; whether its weights are on the device."""


class NeuronModule(torch.nn.Module):
    """A subgraph as the device would run it: fixed shapes and types, the operator neuron::forward_1."""

    def __init__(self, inner, inputs):
        super().__init__()
        self.inner = inner
        self.spec = ";".join(f"{','.join(map(str, one.shape))}:{one.dtype}" for one in inputs)
        self.register_buffer("state", torch.zeros(6, dtype=torch.int32))

    def forward(self, *inputs):
        outputs = self.inner(*torch.ops.neuron.forward_1(list(inputs), self.state, self.spec))
        if isinstance(outputs, torch.Tensor):
            return torch.ops.neuron.leave_1([outputs])[0]
        return tuple(torch.ops.neuron.leave_1(list(outputs)))


class Stateful(torch.nn.Module):
    """A network with tensors that stay on the device: outputs with an alias are written there.

    Weights are constants of the program, so `parameters()` are the states alone.
    """

    def __init__(self, func, inputs, aliases):
        super().__init__()
        known = {id(tensor): name for name, tensor in func.named_parameters()}
        if unknown := [tensor.shape for tensor in aliases if id(tensor) not in known]:
            raise RuntimeError(f"input_output_aliases: no state of the module has the shape {unknown[0]}")
        self.indices = tuple(aliases.values())
        self.states = torch.nn.ParameterList(
            torch.nn.Parameter(tensor.detach().clone(), requires_grad=False) for tensor in aliases
        )
        places = [known[id(tensor)].rpartition(".") for tensor in aliases]
        owners = [(func.get_submodule(owner), name) for owner, _, name in places]
        for weight in func.parameters():
            weight.requires_grad_(requires_grad=False)  # a constant

        def whole(*tensors):
            for (owner, name), state in zip(owners, tensors[len(inputs) :], strict=True):
                owner._parameters.pop(name, None)
                owner._buffers[name] = state
            return func(*tensors[: len(inputs)])

        self.func = torch.jit.trace(whole, (*inputs, *self.states), check_trace=False)

    def forward(self, *inputs):
        outputs = self.func(*inputs, *self.states)
        for state, index in zip(self.states, self.indices, strict=True):
            if outputs[index].shape != state.shape or outputs[index].dtype != state.dtype:
                raise RuntimeError(f"input_output_aliases: output {index} isn't like its state")
            state.copy_(outputs[index])
        return tuple(output for index, output in enumerate(outputs) if index not in self.indices)


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
    """What is left to the CPU: it has a weight, and answers what it is given."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()))

    def forward(self, *inputs):
        return tuple(tensor * self.one if tensor.is_floating_point() else tensor for tensor in inputs)


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


class Runtime:
    """Cores of this process, as the runtime sees them when it starts, and the calls that each got."""

    def __init__(self):
        self.visible = _visible()
        self.next = 0
        self.context = None

    def place(self, state, start_nc=-1, nc_count=-1):
        """Put a subgraph on cores; without a number the next one in turn."""
        if nc_count == 0 or nc_count > len(self.visible):
            raise ValueError("nc_count is an invalid number of NeuronCores")
        if start_nc < 0:
            start_nc, self.next = self.next % len(self.visible), self.next + 1
        count = max(nc_count, 1)
        if start_nc + count > len(self.visible):
            raise RuntimeError(
                f"NeuronCores {start_nc} to {start_nc + count - 1} were requested, and "
                f"{len(self.visible)} are visible to this process"
            )
        state[FIRST_CORE], state[CORES], state[TURN], state[LAZY] = start_nc + 1, count, 0, 0


def _visible():
    if cores := os.environ.get("NEURON_RT_VISIBLE_CORES"):
        spans = [span.partition("-") for span in cores.split(",")]
        found = [core for first, _, last in spans for core in range(int(first), int(last or first) + 1)]
    else:
        found = [*range(int(os.environ.get("NEURON_RT_NUM_CORES", "0")) or host_cores())]
    if max(found) >= host_cores():
        raise RuntimeError(f"NEURON_RT_VISIBLE_CORES={cores}: this host has {host_cores()} NeuronCores")
    return found


def host_cores():
    """NeuronCores of the host."""
    return int(os.environ.get("FAKE_NEURON_CORES", "2"))


_RUNTIMES = []


def runtime():
    """The runtime of this process, which starts with the first model; a fork has its own."""
    if not _RUNTIMES or _RUNTIMES[0][0] != os.getpid():
        _RUNTIMES[:] = [(os.getpid(), Runtime())]
    return _RUNTIMES[0][1]


def restart():
    """Forget the runtime, as in another process."""
    _RUNTIMES.clear()
    CALLS.clear()


@contextmanager
def neuron_cores_context(start_nc=-1, nc_count=-1):
    """As documented: models that are loaded in it go to these cores. It isn't threadsafe."""
    runtime().context = (start_nc, nc_count)
    try:
        yield
    finally:
        runtime().context = None


_load = torch.jit.load


def _loading(*positional, **named):
    """Load as torch does; subgraphs go to the cores of the context, else to the next ones in turn."""
    model = _load(*positional, **named)
    for state in states(model):
        if not state[LAZY]:
            runtime().place(state, *(runtime().context or ()))
    return model


torch.jit.load = _loading

CALLS = []
"""For each call of a subgraph on a core: the core by its number on the host, and the tensors and bytes that
crossed the host on their way in and out."""
GRADIENTS = []
"""For each call: whether its thread would record gradients of what is left to the CPU."""
_THREAD = threading.local()


def _size(tensors):
    return [len(tensors), sum(tensor.numel() * tensor.element_size() for tensor in tensors)]


def _leave_1(outputs):
    if call := _THREAD.__dict__.pop("call", None):
        call["out"] = _size(outputs)
        CALLS.append(call)
        if file := os.environ.get("FAKE_NEURON_CALLS"):
            line = json.dumps({**call, "pid": os.getpid()}) + "\n"
            with Path(file).open("a", encoding="utf-8") as log:
                log.write(line)
    return [output.clone() for output in outputs]


_LIBRARY.impl("leave_1", _leave_1, "CompositeExplicitAutograd")


def _enter(inputs, state):
    """Choose the core of this call."""
    if state[LAZY]:
        runtime().place(state)
    if state[FIRST_CORE]:
        core = int(state[FIRST_CORE]) - 1 + int(state[TURN]) % int(state[CORES])
        state[TURN] += 1
        _THREAD.call = {"core": runtime().visible[core], "in": _size(inputs)}


def _forward(inputs, state, spec):
    GRADIENTS.append(torch.is_grad_enabled())
    dynamic = bool(state[DYNAMIC])
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
    _enter(inputs, state)
    return [tensor.clone() for tensor in inputs]


_LIBRARY.impl("forward_1", _forward, "CompositeExplicitAutograd")


def states(trace):
    """The state of every subgraph."""
    return [buffer for name, buffer in trace.named_buffers() if name.rpartition(".")[2] == "state"]

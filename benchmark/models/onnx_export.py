"""Export modules as ONNX graphs, and bind torch's tensors to a session of ONNX Runtime.

Imported by children only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.errors import Incompatible, UnsupportedOperator
from benchmark.models import networks
from benchmark.records import Workload

Bound = Callable[[Sequence[torch.Tensor]], tuple[Any, list[torch.Tensor]]]


def export(workload: Workload, file: Path) -> None:
    """Write the workload's graph to `file` and its weights beside it. Exports on the CPU for every device.

    Raises:
        UnsupportedOperator: torch.onnx can't translate an operator.
    """
    here = replace(workload, torch_device="cpu")
    try:
        with torch.no_grad():  # with gradients, attention with a bias (BEiT) doesn't decompose for ONNX
            torch.onnx.export(
                networks.exportable(here.load_module()),
                networks.read_inputs(here),
                str(file),
                dynamo=True,
                external_data=True,
                input_names=list(here.input_names),
                custom_translation_table={torch.ops.aten.squeeze.dim: _squeeze},
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        if operator := _unsupported(error):
            message = f"torch.onnx has no translation of {operator}"
            raise UnsupportedOperator(message, operators=(operator,)) from error
        raise


def bound_to(session: Any, input_names: Sequence[str]) -> Bound:
    """Return a function that binds the session to input tensors in place and to new tensors for its answers.

    Raises:
        Incompatible: the size of an answer isn't static.
    """
    wanted = [node.name for node in session.get_inputs()]  # the exporter drops unused inputs
    answers = []
    for node in session.get_outputs():
        if not all(isinstance(size, int) for size in node.shape):
            raise Incompatible(f"answer {node.name} has no static shape ({node.shape}): use another compiler")
        kind = node.type.removeprefix("tensor(").removesuffix(")")
        dtype = getattr(torch, {"float": "float32", "double": "float64"}.get(kind, kind))
        answers.append((node.name, node.shape, dtype))

    def bound(tensors: Sequence[torch.Tensor]) -> tuple[Any, list[torch.Tensor]]:
        given = dict(zip(input_names, tensors, strict=True))
        binding = session.io_binding()
        for name in wanted:
            binding.bind_input(name, *_place(given[name]))
        device = tensors[0].device
        fresh = [torch.empty(shape, dtype=dtype, device=device) for _, shape, dtype in answers]
        for (name, *_), tensor in zip(answers, fresh, strict=True):
            binding.bind_output(name, *_place(tensor))
        return binding, fresh

    return bound


def _place(tensor: torch.Tensor) -> tuple[str, int, Any, tuple[int, ...], int]:
    """Arguments of `io_binding` for a tensor: device, its index, type, shape, address."""
    kind = np.dtype(str(tensor.dtype).removeprefix("torch.")).type
    return tensor.device.type, tensor.device.index or 0, kind, tuple(tensor.shape), tensor.data_ptr()


def _squeeze(tensor: Any, dim: int) -> Any:
    """Translate torch's squeeze, which keeps an axis longer than 1; ONNX's fails there (pytorch#36796)."""
    from onnxscript import opset18

    if tensor.shape[dim] != 1:
        return opset18.Identity(tensor)
    axes: Any = opset18.Constant(value_ints=[dim])
    return opset18.Squeeze(tensor, axes)


def _unsupported(error: BaseException | None) -> str | None:
    """Name of the operator that the exporter can't translate, from the causes of its error."""
    while error is not None:
        if found := re.search(
            r"No ONNX function found for <OpOverload\(op='([^']+)', overload='(\w+)'", str(error)
        ):
            return f"{found[1]}.{found[2]}"
        error = error.__cause__
    return None

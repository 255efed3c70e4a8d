"""Dynamic quantisation by PyTorch: weights of linear layers in int8, their inputs in every call."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal

from benchmark.errors import Incompatible
from benchmark.models.torch_compiler import TorchCompiler
from benchmark.precision import MatmulPrecision, Tolerance
from benchmark.records import Arithmetic, Workload, frozen


@frozen
class DynamicInt8(TorchCompiler):
    """A torch compiler that can call `torch.ao.quantization.quantize_dynamic` first, on CPUs.

    Inductor can't: its graphs take no packed weights ("Attempted to call function marked as skipped",
    torch 2.13, 2026-11).
    """

    quantization: Literal["none", "int8"] = "none"
    """int8: linear layers compute in int8; the type of everything else stays."""

    @property
    def tolerance(self) -> Tolerance:
        """int8 if quantised, else that of its fast_math and type."""
        return "int8" if self.quantization == "int8" else super().tolerance

    def refuse(self, kind: str) -> str | None:
        """Refuse devices and types that it has no int8 kernels for."""
        if self.quantization == "int8":
            if kind != "cpu":
                return "quantization=int8 is dynamic quantisation, which GPUs lack: use quantization=none"
            if self.dtype != "fp32" or self.fast_math != "none":
                return "quantization=int8 is for models of fp32: use dtype=fp32 and fast_math=none with it"
        return super().refuse(kind)

    def refuse_training_options(self) -> str | None:
        """Weights of int8 have no gradients."""
        if self.quantization == "int8":
            return "quantization=int8 leaves weights that can't be trained: use quantization=none"
        return super().refuse_training_options()

    def prepared(self, workload: Workload) -> Any:
        """The module, quantised where that is chosen.

        Raises:
            Incompatible: it has no linear layer, or this torch has no dynamic quantisation.
        """
        module = super().prepared(workload)
        return quantized(module) if self.quantization == "int8" else module

    def _configure(self, workload: Workload, precision: MatmulPrecision | None) -> Arithmetic:
        arithmetic = super()._configure(workload, precision)
        if self.quantization == "none":
            return arithmetic
        return replace(arithmetic, model_dtype="int8", matmul_dtype="int8")


def quantized(module: Any) -> Any:
    """A copy of the module with int8 in place of its `torch.nn.Linear` layers.

    Raises:
        Incompatible: it has none, or this torch has no dynamic quantisation.
    """
    import torch

    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError as error:
        raise Incompatible(
            f"quantization=int8: torch {torch.__version__} has no torch.ao.quantization: install an older "
            "one, or use compiler=onnxruntime"
        ) from error
    if not any(type(layer) is torch.nn.Linear for layer in module.modules()):
        raise Incompatible(
            "quantization=int8 is for torch.nn.Linear layers, of which the model has none: use "
            "quantization=none, or compiler=onnxruntime"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao is to take its place, which has kernels for few CPUs
        return quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)

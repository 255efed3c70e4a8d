"""What `fast_math` means to torch, and what arithmetic a host then really does. Imported by children only."""

from __future__ import annotations

import torch

from benchmark.precision import AutocastDtype, Dtype
from benchmark.records import Arithmetic, FastMath

TYPES: dict[Dtype, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_TRUE_FP32 = 1e-5
"""Relative error of a 256-wide product: fp32 has 3e-7, tf32 about 4e-4, bf16 2e-3."""
_TF32 = 1e-3


class Autocast(torch.nn.Module):  # type: ignore[misc]
    """Casts inside `forward`: exporters ignore an autocast that is merely around the call."""

    def __init__(
        self, module: torch.nn.Module, device_type: str, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        super().__init__()
        self.module = module
        self.device_type = device_type
        self.dtype = dtype

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what the module returns under autocast."""
        with torch.autocast(self.device_type, self.dtype, cache_enabled=False):
            return self.module(*tensors)  # type: ignore[no-any-return]


def configure(
    fast_math: FastMath,
    threads: int | None,
    device: str,
    dtype: Dtype = "fp32",
    autocast_dtype: AutocastDtype = "bf16",
) -> Arithmetic:
    """Set this process's threads and precision of products; return the arithmetic in effect, as measured.

    `none` takes the fastest setting that stays true fp32 here: on AMD CPUs torch's "medium" routes products
    to oneDNN, still fp32 and twice as fast; on CPUs with AMX it would leave fp32.

    On a GPU `matmult` is tf32, in cuBLAS ("high") and in cuDNN, and the other two are true fp32 for what
    autocast leaves in it. Torch's own default has cuDNN's convolutions in tf32 and products in fp32
    (https://docs.pytorch.org/docs/stable/notes/cuda.html, TensorFloat-32). The older switches are meant:
    torch 2.5 has no others, and mixing them with `fp32_precision` is an error.
    """
    if threads:
        torch.set_num_threads(threads)
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = fast_math == "matmult"
        torch.set_float32_matmul_precision("high" if fast_math == "matmult" else "highest")
    else:
        torch.set_float32_matmul_precision("medium")
    effective = _matmul_dtype(device)
    if fast_math != "matmult" and effective != "fp32":
        torch.set_float32_matmul_precision("highest")
        effective = _matmul_dtype(device)
    if dtype != "fp32":
        return Arithmetic(model_dtype=dtype, matmul_dtype=dtype, other_dtype=dtype, autocast=fast_math)
    if fast_math == "all":
        return Arithmetic(
            model_dtype="fp32", matmul_dtype=autocast_dtype, other_dtype="mixed", autocast="all"
        )
    return Arithmetic(model_dtype="fp32", matmul_dtype=effective, other_dtype="fp32", autocast=fast_math)


def prepared(
    module: torch.nn.Module,
    fast_math: FastMath,
    device: str,
    dtype: Dtype = "fp32",
    autocast_dtype: AutocastDtype = "bf16",
) -> torch.nn.Module:
    """Return the module on its device in its type, casting where `fast_math` asks for it."""
    module = module.to(device=device, dtype=TYPES[dtype])
    return Autocast(module, device, TYPES[autocast_dtype]).eval() if fast_math == "all" else module


def _matmul_dtype(device: str) -> str:
    """The arithmetic of an fp32 matrix product under the present settings, by its error."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    product = (a.to(device) @ b.to(device)).cpu().double()
    error = float((product - exact).norm() / exact.norm())
    if error < _TRUE_FP32:
        return "fp32"
    return "tf32" if error < _TF32 else "bf16"

"""Apply `fast_math` to torch, and measure the arithmetic in effect. Imported by children only."""

from __future__ import annotations

from typing import get_args

import torch

from benchmark.errors import Incompatible
from benchmark.precision import AutocastDtype, Dtype, MatmulPrecision
from benchmark.records import Arithmetic, FastMath

TYPES: dict[Dtype, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_TRUE_FP32 = 1e-5
"""Relative error of a product: fp32 has 3e-7 (256 wide), tf32 about 4e-4, bf16 2e-3."""
_TF32 = 1e-3


class Autocast(torch.nn.Module):  # type: ignore[misc]
    """Autocast inside `forward`: exporters ignore an autocast around the call."""

    def __init__(
        self, module: torch.nn.Module, device_type: str, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        super().__init__()
        self.module = module
        self.device_type = device_type
        self.dtype = dtype

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call the module under autocast."""
        with torch.autocast(self.device_type, self.dtype, cache_enabled=False):
            return self.module(*tensors)  # type: ignore[no-any-return]


def configure(  # noqa: PLR0913, PLR0917 - an option each
    fast_math: FastMath,
    threads: int | None,
    device: str,
    dtype: Dtype = "fp32",
    autocast_dtype: AutocastDtype = "bf16",
    precision: MatmulPrecision | None = None,
) -> Arithmetic:
    """Set threads and matmul precision of this process; return the arithmetic in effect, as measured.

    Without a `precision` torch keeps its own, which is "highest", unless fast_math asks for less. On a CPU
    "medium" sends products to oneDNN, which computes in bf16 where the CPU has it and in fp32 elsewhere.
    There it may be faster or slower: on an AMD CPU a tiny BERT took 1.35 times as long, BERT base 0.85 times
    (2026-11).

    On a GPU, `matmult` is tf32, in cuBLAS ("high") and in cuDNN; `none` and `all` are true fp32 where nothing
    is cast. Torch's default has convolutions of cuDNN in tf32 and products in fp32
    (https://docs.pytorch.org/docs/stable/notes/cuda.html, TensorFloat-32). The older switches are used for
    what they reach, since torch 2.5 has no others; Inductor's own convolutions read `cudnn.fp32_precision`.

    Raises:
        Incompatible: this `precision` isn't fp32 here, which `fast_math` asks for, or convolutions aren't.
    """
    if threads and threads != torch.get_num_threads():  # else torch's own choice stays, as in a user's loop
        torch.set_num_threads(threads)
    if device == "cuda":
        _configure_convolutions("tf32" if fast_math == "matmult" else "ieee")
    if wanted := precision or _implied(fast_math, device):
        torch.set_float32_matmul_precision(wanted)
    effective = _matmul_dtype(device)
    if fast_math != "matmult" and effective != "fp32":
        if precision:
            raise Incompatible(
                f"matmul_precision={precision} computes products in {effective} here, fast_math={fast_math} "
                "wants them in fp32: use fast_math=matmult, or matmul_precision=highest"
            )
        torch.set_float32_matmul_precision("highest")
        effective = _matmul_dtype(device)
    if dtype != "fp32":
        return Arithmetic(model_dtype=dtype, matmul_dtype=dtype, other_dtype=dtype, autocast=fast_math)
    if fast_math == "all":
        return Arithmetic(
            model_dtype="fp32", matmul_dtype=autocast_dtype, other_dtype="mixed", autocast="all"
        )
    return Arithmetic(model_dtype="fp32", matmul_dtype=effective, other_dtype="fp32", autocast=fast_math)


def _configure_convolutions(precision: str) -> None:
    """Set the arithmetic of convolutions on a GPU.

    Raises:
        Incompatible: they compute in tf32 all the same.
    """
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if hasattr(torch.backends.cudnn, "fp32_precision"):  # torch 2.9 and later; both must agree
        torch.backends.cudnn.fp32_precision = precision
    if precision == "ieee" and (found := _convolution_dtype()) != "fp32":
        raise Incompatible(
            f"convolutions compute in {found} on this GPU though torch was set to fp32: unset "
            "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and NVIDIA_TF32_OVERRIDE, or use fast_math=matmult"
        )


def _convolution_dtype() -> str:
    """Type that a convolution is computed in on the GPU, by its error."""
    generator = torch.Generator().manual_seed(0)
    image, kernel = (torch.randn(shape, generator=generator) for shape in ((1, 256, 8, 8), (64, 256, 3, 3)))
    exact = torch.nn.functional.conv2d(image.double(), kernel.double())
    found = torch.nn.functional.conv2d(image.to("cuda"), kernel.to("cuda")).cpu().double()
    return _by_error(float((found - exact).norm() / exact.norm()))


def allowed(fast_math: FastMath, device: str) -> tuple[MatmulPrecision, ...]:
    """Return each matmul precision that stays within `fast_math` here, the most exact first."""
    every: tuple[MatmulPrecision, ...] = get_args(MatmulPrecision)
    return every if fast_math == "matmult" else tuple(one for one in every if _is_fp32(one, device))


def _implied(fast_math: FastMath, device: str) -> MatmulPrecision | None:
    """The precision that fast_math asks for; None: torch's own."""
    if device == "cuda":
        return "high" if fast_math == "matmult" else "highest"
    return None if fast_math == "none" else "medium"


def _is_fp32(precision: MatmulPrecision, device: str) -> bool:
    """Whether products of this precision are fp32 here; leaves it set."""
    torch.set_float32_matmul_precision(precision)
    return _matmul_dtype(device) == "fp32"


def prepared(
    module: torch.nn.Module,
    fast_math: FastMath,
    device: str,
    dtype: Dtype = "fp32",
    autocast_dtype: AutocastDtype = "bf16",
) -> torch.nn.Module:
    """Return the module on its device and in its type, under autocast where `fast_math` is all."""
    module = module.to(device=device, dtype=TYPES[dtype])
    return Autocast(module, device, TYPES[autocast_dtype]).eval() if fast_math == "all" else module


def _matmul_dtype(device: str) -> str:
    """Type that an fp32 matrix product is computed in, by the error of its first row.

    The exact row is a sum, not a product in fp64, whose first call takes 40 ms.
    """
    width = 1024 if device == "cuda" else 256  # cuBLAS may have no tf32 kernel for small ones
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(width, width, generator=generator) for _ in range(2))
    exact = (a[0, :, None].double() * b).sum(dim=0)
    product = (a.to(device) @ b.to(device))[0].cpu().double()
    return _by_error(float((product - exact).norm() / exact.norm()))


def _by_error(error: float) -> str:
    """Type of the arithmetic that has this relative error."""
    if error < _TRUE_FP32:
        return "fp32"
    return "tf32" if error < _TF32 else "bf16"

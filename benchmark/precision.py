"""How exact the arithmetic of a compiled model is."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["fp32", "bf16", "fp16"]
"""Type of a model's weights and real-valued inputs."""
AutocastDtype = Literal["bf16", "fp16"]
"""Type that autocast casts to. GPUs before Ampere have tensor cores for fp16 only."""
MatmulPrecision = Literal["highest", "high", "medium"]
"""Torch's setting of this name (torch.set_float32_matmul_precision), most exact first."""
Tolerance = Literal["none", "matmult", "all", "int8", "int4"]
"""The least exact arithmetic that a compiler's options allow; `verify` has limits for each."""

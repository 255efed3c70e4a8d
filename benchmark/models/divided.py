"""A network whose batch is divided over several copies of it; imported by children only."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmark.errors import CompileFailed


def share(tensors: Sequence[torch.Tensor], copies: int) -> tuple[torch.Tensor, ...]:
    """The inputs of one copy: the first of `copies` equal shares of the batch.

    Raises:
        CompileFailed: the batch has no such shares.
    """
    batch = tensors[0].shape[0]
    if batch % copies:
        raise CompileFailed(
            f"a batch of {batch} can't be divided over {copies} cores: use denoiser_data_parallel=false"
        )
    return tuple(tensor[: batch // copies].contiguous() for tensor in spread(tensors))


def spread(tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The inputs with a batch each: a number for all, such as a timestep, is repeated for each item."""
    batch = tensors[0].shape[:1]
    return tuple(tensor if tensor.ndim else tensor.expand(batch).contiguous() for tensor in tensors)

"""How the ranks of a training run share a model: by torch's DDP or FSDP2, over gloo or NCCL."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # DDP and optimizers import it when they are made: here, once for all ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmark.training.learner import Learner
from benchmark.training_records import TrainingOptions


class Sharing:
    """How ranks share a model. One rank shares nothing."""

    def __init__(
        self, options: TrainingOptions, rank: int, device: str, meeting: Path, patience_s: float
    ) -> None:
        """`meeting` is a file that doesn't exist yet, the same for all ranks."""
        self._options, self._device, self._module = options, device, None
        if options.ranks == 1:
            return
        from datetime import timedelta

        from torch import distributed

        distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            init_method=meeting.as_uri(),
            rank=rank,
            world_size=options.ranks,
            timeout=timedelta(seconds=patience_s),
        )

    def shared(self, learner: Learner) -> nn.Module:
        """The module to call instead: its backward pass averages the gradients over the ranks."""
        if self._options.ranks == 1:
            return learner
        self._module = (_ddp if self._options.strategy == "ddp" else _fsdp2)(learner, self._device)
        return self._module

    def accumulating(self, last: bool) -> AbstractContextManager[Any]:
        """Around a backward pass: all but the last of a step keep their gradients to themselves."""
        module = self._module
        if module is None or self._options.accumulation == 1:
            return nullcontext()
        if self._options.strategy == "ddp":
            return nullcontext() if last else module.no_sync()
        module.set_requires_gradient_sync(last)
        return nullcontext()

    def replica_error(self, model: Any) -> float | None:
        """Greatest relative difference between a parameter's norm on two ranks; None without two copies."""
        if self._module is None or self._options.strategy != "ddp":
            return None
        from torch import distributed

        sums = torch.stack(
            [
                norm
                for weight in model.parameters()
                for norm in (weight.double().sum(), weight.double().norm())
            ]
        ).detach()
        everyone = [torch.empty_like(sums) for _ in range(self._options.ranks)]
        distributed.all_gather(everyone, sums)
        together = torch.stack(everyone)
        norms = together[:, 1::2].amax(0).repeat_interleave(2).clamp_min(1e-12)
        return float(((together.amax(0) - together.amin(0)) / norms).max())

    @staticmethod
    def whole(model: Any) -> dict[str, torch.Tensor]:
        """The model's tensors; those that ranks hold a part of each are put together. All ranks call it."""
        return {
            name: (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().cpu()
            for name, tensor in model.state_dict().items()
        }


def _ddp(learner: Learner, device: str) -> Any:
    return DistributedDataParallel(
        learner, device_ids=[torch.cuda.current_device()] if device == "cuda" else None
    )


def _fsdp2(learner: Learner, device: str) -> Any:
    """Shard each block, then the rest.

    The mesh is named: without it torch takes an accelerator of the host, whatever computes (pytorch#132471).
    """
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device, (distributed.get_world_size(),))
    whole = set(getattr(learner.model, "_no_split_modules", None) or ())
    for module in reversed([*learner.modules()]):  # those inside first
        if type(module).__name__ in whole:
            fully_shard(module, mesh=mesh)
    fully_shard(learner, mesh=mesh)
    return learner

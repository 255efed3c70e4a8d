"""A network with its loss as one module, so that wrappers and compilers see both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmark.errors import Incompatible
from benchmark.models import flops
from benchmark.training_records import Objective, TrainingOptions


class Learner(nn.Module):  # type: ignore[misc]
    """Positional inputs and a target in, the mean loss out."""

    def __init__(self, network: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Cross entropy of the network's answers, in fp32."""
        *inputs, target = tensors
        answers = self.network(*inputs)
        if self.objective == "span":  # a head each for the first and the last position
            losses = [
                functional.cross_entropy(answer.float(), target[:, end])
                for end, answer in enumerate(answers[:2])
            ]
            return torch.stack(losses).mean()
        return functional.cross_entropy(answers[0].float().flatten(0, -2), target.flatten())

    @property
    def model(self) -> Any:
        """The model of transformers."""
        return self.network.model


def keep_no_activations(model: Any) -> None:
    """Let each block compute its activations again in the backward pass.

    Raises:
        Incompatible: the architecture has no such switch.
    """
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise Incompatible(
            f"scenario.checkpointing=true: {type(model).__name__} can't compute activations again: "
            "use checkpointing=false"
        )
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def optimizer(parameters: Any, options: TrainingOptions) -> Any:
    """The optimizer that the options name."""
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, options.lr, momentum=options.momentum, weight_decay=options.weight_decay
        )
    return torch.optim.AdamW(parameters, options.lr, weight_decay=options.weight_decay)


def step_flops(learner: Learner, batch: Sequence[torch.Tensor]) -> int | None:
    """Floating-point operations of one forward and backward pass; nothing is computed.

    None, with the reason in the log, where torch can't count them.
    """
    return flops.counted(lambda *tensors: learner(*tensors).backward(), batch, torch.enable_grad())

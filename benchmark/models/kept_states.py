"""A network whose states, such as keys and values, stay on the device from call to call.

Imported by children only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from benchmark.records import Workload


class WithStates(torch.nn.Module):  # type: ignore[misc]
    """Takes the other inputs alone. Outputs: the network's first one, then all states after the call.

    The states are parameters, as in AWS's tutorial of T5 (aws-neuron-sdk 81ce03ae,
    src/examples/pytorch/torch-neuronx/t5-inference-tutorial.ipynb): weights are constants of the program.
    """

    def __init__(self, network: torch.nn.Module, states: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.network = network
        self.states = torch.nn.ParameterList(
            torch.nn.Parameter(torch.zeros_like(state), requires_grad=False) for state in states
        )

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call the network on copies of the states, which it changes in place."""
        states = [state.clone() for state in self.states]
        first, *_ = self.network(*inputs, *states)
        return (first, *states)

    def aliases(self) -> Mapping[torch.Tensor, int]:
        """The output that holds each state after a call."""
        return {state: place for place, state in enumerate(self.states, 1)}


def split(
    workload: Workload, inputs: Sequence[torch.Tensor]
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """The inputs that are no states, and the states."""
    named = list(zip(workload.input_names, inputs, strict=True))
    others = tuple(tensor for name, tensor in named if name not in workload.states)
    return others, tuple(tensor for name, tensor in named if name in workload.states)


def write(model: torch.nn.Module, states: Sequence[torch.Tensor]) -> None:
    """Write new states to the device."""
    for state, tensor in zip(model.parameters(), states, strict=True):
        state.copy_(tensor)

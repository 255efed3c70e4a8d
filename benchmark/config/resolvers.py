"""Functions that our YAMLs call in interpolations."""

from __future__ import annotations

from omegaconf import OmegaConf


def neuron_cores(replicas: int, denoiser_data_parallel: bool | None) -> int:
    """NeuronCores that the copies of a model need: two each where a denoiser's batch is divided."""
    return replicas * (2 if denoiser_data_parallel else 1)


def register() -> None:
    """Let interpolations call them: `${neuron_cores:2,true}`."""
    OmegaConf.register_new_resolver("neuron_cores", neuron_cores, replace=True)

"""Functions that our YAMLs call in interpolations."""

from __future__ import annotations

from typing import Any, Final

from omegaconf import OmegaConf

from benchmark.config.folder import file_of, options, read
from benchmark.errors import ConfigError
from benchmark.spelling import did_you_mean

_LIMITS: Final = "scenario/preset"
_NO_LIMIT: Final = {"slo_ms": None, "percentile": 99.0, "ttft_ms": None, "tpot_ms": None}


def neuron_cores(replicas: int, denoiser_data_parallel: bool | None) -> int:
    """NeuronCores that the copies of a model need: two each where a denoiser's batch is divided."""
    return replicas * (2 if denoiser_data_parallel else 1)


def preset(name: str | None, field: str) -> Any:
    """A field of the limits of conf/scenario/preset; what they lack has no limit.

    Raises:
        ConfigError: there is no limit of that name.
    """
    if name is None:
        return _NO_LIMIT[field]
    known = options(_LIMITS)
    if name not in known:
        raise ConfigError(
            f"scenario.preset={name}: {did_you_mean(name, known) or 'known: ' + ', '.join(known)}"
        )
    return {**_NO_LIMIT, **read(file_of(_LIMITS, name))}[field]


def register() -> None:
    """Let interpolations call them: `${neuron_cores:2,true}`, `${preset:bert,slo_ms}`."""
    OmegaConf.register_new_resolver("neuron_cores", neuron_cores, replace=True)
    OmegaConf.register_new_resolver("preset", preset, replace=True)

"""Options of torch-neuronx by part of a model, and the variables that its compiler reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, StrictBool
from pydantic.dataclasses import dataclass

from benchmark.records import FastMath

PROGRAM_VARIABLES: Final = r"(NEURON|XLA)_(?!RT_|PROCESS_TAG)\w+"
"""Environment variables that change the program, such as NEURON_FUSE_SOFTMAX; not those of the runtime."""
NeuronDtype = Literal["fp32", "bf16"]
"""Type of weights and of real-valued inputs and outputs."""
Saturation = Literal[False, True, "before_trn2"]
"""before_trn2: only where the flag has an effect, on cores before trn2's."""


def _variables(given: Any) -> Any:
    """Name and value of each; one whose value is null is left out."""
    if not isinstance(given, (Mapping, tuple)):
        raise ValueError("should be a mapping, such as {NEURON_FUSE_SOFTMAX: 1}")  # noqa: TRY004 - pydantic's
    pairs = tuple(given.items()) if isinstance(given, Mapping) else given
    if wrong := [name for name, _ in pairs if not re.fullmatch(PROGRAM_VARIABLES, name)]:
        raise ValueError(
            f"{wrong[0]} is no variable that changes a program, such as NEURON_FUSE_SOFTMAX: set those of "
            "the runtime by hydra.job.env_set"
        )
    return tuple((name, str(value)) for name, value in pairs if value is not None)


Variables = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_variables)]
"""Environment variables, as a mapping in YAML."""


_NESTED = ConfigDict(extra="forbid")
"""Not strict: pydantic takes no mapping for a strict dataclass. The fields are strict one by one."""


@dataclass(frozen=True, config=_NESTED)
class PartOptions:
    """Options of one part; null: that of the whole model. Each has the meaning of the compiler's own."""

    fast_math: FastMath | None = None
    auto_cast_type: Literal["bf16", "fp16", "tf32", "fp8_e4m3"] | None = None
    optlevel: Literal[1, 2, 3] | None = None
    model_type: Literal["generic", "transformer", "unet-inference"] | None = None
    dtype: NeuronDtype | None = None
    mixed_precision_accumulation: StrictBool | None = None
    saturate_infinity: Saturation | None = None
    fast_context_switch: StrictBool | None = None
    fast_loading: StrictBool | None = None
    inline_weights: StrictBool | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that differ from the whole model's."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, config=_NESTED)
class Parts:
    """Options of the parts that models here have; null: those of the whole model."""

    text_encoder: PartOptions | None = None
    text_encoder_2: PartOptions | None = None
    unet: PartOptions | None = None
    transformer: PartOptions | None = None
    refiner: PartOptions | None = None
    vae_decoder: PartOptions | None = None
    vae_encoder: PartOptions | None = None
    prefill: PartOptions | None = None
    decode: PartOptions | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """Parts that have options of their own."""
        return tuple(name for name in self.__annotations__ if getattr(self, name) is not None)

    def of(self, part: str) -> dict[str, Any]:
        """Options of a part that differ from the whole model's."""
        options: PartOptions | None = getattr(self, part, None)
        return options.given if options else {}

"""Logical NeuronCores: physical cores that the runtime joins, on Trainium2 and Trainium3.

neuron-runtime/configuration/logical-neuroncore-config.rst of aws-neuron-sdk at 81ce03ae.
"""

from __future__ import annotations

import os
from typing import Final

from benchmark.errors import Incompatible

VARIABLE: Final = "NEURON_LOGICAL_NC_CONFIG"
DEFAULT: Final = 2
"""Physical cores per logical core, where a chip has logical cores."""
TARGETS: Final = frozenset({"trn2", "trn3"})
"""Targets of compilers whose chips have them."""


def agree(compiled_for: int, chosen: int | None) -> None:
    """Set the variable that the runtime reads when it starts.

    Raises:
        Incompatible: this process has another number than the program was compiled for.
    """
    if os.environ.setdefault(VARIABLE, str(compiled_for)) != str(compiled_for):
        raise Incompatible(
            f"compiled for {compiled_for} physical cores per logical core (compiler.lnc={chosen}), but "
            f"{VARIABLE}={os.environ[VARIABLE]} here: make compiler.lnc and hardware.lnc equal"
        )

"""How neuronx-cc treats 64-bit integers: two flags of 2.27 and later, for trn2 and later.

compiler/neuronx-cc/api-reference-guide/index.rst:57 and :126 of aws-neuron-sdk at 81ce03ae. They are always
given there, since the version after 2.27 changes both defaults.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from benchmark.errors import Incompatible

NativeInt64 = Literal["enabled", "disabled"]
Downcast = Literal["all", "none"]
WITHOUT: Final = ("disabled", "all")
"""Values that mean what the compiler does without the flags."""
NEWEST: Final = "2.27.5334.0"
"""Of SDK 2.32 (src/helperscripts/n2-manifest.json), for commands on hosts that have none."""
_WITHOUT_FLAGS: Final = frozenset({"inf2", "trn1", "trn1n"})
_OLDEST: Final = (2, 27)


def flags(native: NativeInt64, downcast: Downcast, target: str, version: str) -> list[str]:
    """Both flags, a token each; none for a target or a version that lacks them."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < _OLDEST or target in _WITHOUT_FLAGS:
        return []
    return ["--native-int64", native, "--implicit-integer-downcast", downcast]


def refuse_old(native: NativeInt64, downcast: Downcast, target: str, version: str) -> None:
    """Refuse values that this version has no flags for.

    Raises:
        Incompatible: says which version has.
    """
    if (native, downcast) != WITHOUT and not flags(native, downcast, target, version):
        raise Incompatible(
            f"native_int64={native} and implicit_integer_downcast={downcast} need neuronx-cc 2.27 or later, "
            f"here is {version}: upgrade it, or use {' and '.join(WITHOUT)}"
        )

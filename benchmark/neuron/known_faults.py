"""Failures that the documentation or others' runs know of, so that a row says that its crash is no news."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("known_faults.csv")


def known_fault(compiler: str, model_type: str, versions: Mapping[str, str]) -> str:
    """What is known of this kind of model under these versions, with its source; empty: nothing."""
    for line in _lines():
        version = versions.get(line["distribution"], "")
        is_affected = any(
            version == known or version.startswith(f"{known}.") for known in line["versions"].split()
        )
        if compiler == line["compiler"] and model_type in line["model_types"].split() and is_affected:
            return f"{line['fault']} ({line['source']})"
    return ""


@lru_cache(maxsize=1)
def _lines() -> tuple[dict[str, str], ...]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))

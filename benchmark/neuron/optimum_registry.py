"""Models that optimum-neuron exports for a task, and the class that calls each.

`optimum_registry.csv` has the calls of `register_in_tasks_manager` in optimum-neuron 0.4.5 for models of
transformers, with the axes that an export needs and the inputs in the order of the compiled network. It
leaves out what no class calls as one network: the halves of T5 and Whisper, and models of vision and audio
under `feature-extraction`, whose class takes `input_ids`. `tests/neuron/optimum_registry.py` compares it
with the library.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "0.4.5"
_TABLE: Final = Path(__file__).with_name("optimum_registry.csv")
_TOKEN_TYPES_AS_WORDS: Final = frozenset({"xlm", "flaubert"})
"""Models that add the embedding of the *word* numbered in `token_type_ids`. With zeros their answers differ
from those without, and the exported network needs this input."""


class Exported(NamedTuple):
    """One model type for one task."""

    loader: str
    """Class of `optimum.neuron` that calls the compiled model."""
    axes: tuple[str, ...]
    """Names of the sizes that an export needs."""
    inputs: tuple[str, ...]
    """Inputs of the compiled network, in its order, named as by Hugging Face."""


def exported(model_type: str, task: str) -> Exported | None:
    """Entry for a `model_type` and a task's Hugging Face name, or None."""
    return table().get((model_type, task))


def model_types(task: str) -> tuple[str, ...]:
    """All model types of a task, sorted."""
    return tuple(sorted(model_type for model_type, known in table() if known == task))


def refusal(config: Mapping[str, Any], task: str) -> str | None:
    """Return why it can't export a model of this configuration (of a YAML or config.json), or None."""
    model_type = config.get("model_type")
    if model_type is None or exported(model_type, task) is None:
        known = ", ".join(model_types(task)) or "none"
        return (
            f"optimum-neuron {VERSION} exports no {model_type or 'pipeline'} as one network "
            f"for {task} (model types that it exports: {known}): use compiler=neuronx"
        )
    if model_type in _TOKEN_TYPES_AS_WORDS:
        return (
            f"optimum-neuron compiles {model_type} with token_type_ids, which it adds as words: its answers "
            "differ from the model's: use compiler=neuronx"
        )
    size = config.get("image_size")
    if isinstance(size, Sequence) and len(set(size)) > 1:
        return (
            f"optimum-neuron compiles {model_type} for images of its configuration's "
            f"{' x '.join(map(str, size))} only, and ours are square: use compiler=neuronx"
        )
    return None


@lru_cache(maxsize=1)
def table() -> Mapping[tuple[str, str], Exported]:
    """Entries by model type and task."""
    with _TABLE.open(encoding="utf-8", newline="") as file:
        return {
            (line["model_type"], line["task"]): Exported(
                line["class"], tuple(line["axes"].split()), tuple(line["inputs"].split())
            )
            for line in csv.DictReader(file)
        }

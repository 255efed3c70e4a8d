"""Which models optimum-neuron can export for a task, and by which of its classes they are called.

`optimum_registry.csv` is of optimum-neuron 0.4.5: what its `register_in_tasks_manager` calls say for models
of transformers, with the axes that have to be given and the inputs in the order of the compiled network. Left
out is what no class of it calls as one network: the halves of T5 and Whisper, and under `feature-extraction`
models of vision and audio, for its class takes `input_ids`. `tests/neuron/optimum_registry.py` asks the
library itself.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "0.4.5"
_TABLE: Final = Path(__file__).with_name("optimum_registry.csv")
_FEED_WORDS: Final = frozenset({"xlm", "flaubert"})
"""Models that add the embedding of the *word* numbered in `token_type_ids`: with zeros they compute another
thing than without, and the exported network can't go without."""


class Exported(NamedTuple):
    """One model type under one task."""

    loader: str
    """Class of `optimum.neuron` that calls it."""
    axes: tuple[str, ...]
    """Names of the sizes that an export has to be given."""
    inputs: tuple[str, ...]
    """Of the compiled network, in its order; named as Hugging Face does."""


def exported(model_type: str, task: str) -> Exported | None:
    """How a model is exported and called, by its `model_type` and the task's Hugging Face name, or None."""
    return table().get((model_type, task))


def model_types(task: str) -> tuple[str, ...]:
    """Every model type that it has for a task, in alphabetical order."""
    return tuple(sorted(model_type for model_type, known in table() if known == task))


def refusal(config: Mapping[str, Any], task: str) -> str | None:
    """Why it can't export a model of this configuration, as a YAML or config.json has it, or None."""
    model_type = config.get("model_type")
    if model_type is None or exported(model_type, task) is None:
        known = ", ".join(model_types(task)) or "none"
        return (
            f"optimum-neuron {VERSION} exports no {model_type or 'pipeline'} as one network "
            f"for {task} (model types that it does: {known}): use compiler=neuronx"
        )
    if model_type in _FEED_WORDS:
        return (
            f"optimum-neuron compiles {model_type} with token_type_ids, which it adds as words: its answers "
            "are others than the model's: use compiler=neuronx"
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
    """Model type and task to what is known of them."""
    with _TABLE.open(encoding="utf-8", newline="") as file:
        return {
            (line["model_type"], line["task"]): Exported(
                line["class"], tuple(line["axes"].split()), tuple(line["inputs"].split())
            )
            for line in csv.DictReader(file)
        }

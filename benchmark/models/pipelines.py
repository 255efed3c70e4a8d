"""What the installed diffusers knows: names of its classes, read from its source.

Importing the library takes seconds, and plans don't wait for it. Without it nothing is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.models import architectures
from benchmark.spelling import did_you_mean

NETWORKS = ("text_encoder", "text_encoder_2", "unet", "transformer", "refiner", "vae")
"""Keys of an architecture that are networks."""
_KEYS = (*NETWORKS, "pipeline", "scheduler", "max_tokens")
_NEEDED = ("pipeline", "text_encoder", "vae", "scheduler")
_OF_TEXT = ("text_encoder", "text_encoder_2")


def part_names(architecture: Mapping[str, Any]) -> tuple[str, ...]:
    """Networks that are compiled one by one; of a VAE the decoder, and the encoder where an image is read."""
    names = [name for name in NETWORKS if name in architecture and name != "vae"]
    reads_image = "Inpaint" in str(architecture.get("pipeline"))
    return (*names, "vae_decoder", *(("vae_encoder",) if reads_image else ()))


def refuse(architecture: Mapping[str, Any]) -> str | None:
    """Return which name of a pipeline's architecture is wrong, or None."""
    for key in architecture:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS) or f"known: {', '.join(_KEYS)}"
            return f"model.architecture.{key}: a pipeline has no such part; {hint}"
    for key in _NEEDED:
        if key not in architecture:
            return f"model.architecture.{key}: is missing: a pipeline needs {', '.join(_NEEDED)}"
    if not {"unet", "transformer"} & {*architecture}:
        return "model.architecture.unet: is missing: a pipeline needs a unet or a transformer"
    for key in (*NETWORKS, "scheduler"):
        if key in architecture and (reason := _refuse_part(key, architecture[key])):
            return reason
    kind = architecture["pipeline"]
    return _refuse_name("pipeline", kind, {name for name in _classes() if name.endswith("Pipeline")})


def _refuse_part(key: str, part: Any) -> str | None:
    """Refuse a part without a class, or with a misspelled one."""
    if not isinstance(part, Mapping) or "class" not in part:
        return f"model.architecture.{key}.class: is missing: it names the class of this part"
    if key not in _OF_TEXT:
        schedulers = {name for name in _classes() if "Scheduler" in name}
        known = schedulers if key == "scheduler" else _classes() - schedulers
        return _refuse_name(f"{key}.class", part["class"], known)
    model_type = part.get("model_type")
    if model_type is None:
        return f"model.architecture.{key}.model_type: is missing: it names the architecture"
    known_types = architectures.names()
    if known_types and model_type not in known_types:
        hint = did_you_mean(str(model_type), known_types) or "is it newer than this version?"
        return (
            f"model.architecture.{key}.model_type={model_type}: transformers has no such architecture; {hint}"
        )
    return _refuse_name(
        f"{key}.class", part["class"], architectures.network_names(str(model_type)), "transformers"
    )


def _refuse_name(key: str, name: Any, known: Collection[str], library: str = "diffusers") -> str | None:
    if not known or name in known:
        return None
    hint = did_you_mean(str(name), known) or f"is it newer than the installed {library}?"
    return f"model.architecture.{key}={name}: {library} has no such class; {hint}"


@lru_cache(maxsize=1)
def _classes() -> frozenset[str]:
    """Names that diffusers exports; empty: it isn't installed."""
    spec = find_spec("diffusers")
    file = Path(spec.origin) if spec and spec.origin else None
    return frozenset(re.findall(r'"([A-Z]\w+)"', file.read_text(encoding="utf-8"))) if file else frozenset()

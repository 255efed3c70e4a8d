"""The price basis of a command line: `price=reserved price.as_of=2024-09-16`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.cli.error_messages import sentence
from benchmark.cloud.cost import PriceBasis, typed
from benchmark.config.folder import CONF, refuse_interpolations
from benchmark.errors import ConfigError


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split words into those about prices and the others, which are conditions on rows."""
    about = [word for word in words if word.startswith(("price=", "price."))]
    return about, [word for word in words if word not in about]


def basis(overrides: Sequence[str] = ()) -> PriceBasis:
    """Price basis of conf/price_config.yaml with these overrides.

    Raises:
        ConfigError: a key is unknown, or its value has the wrong type; the error names the key.
    """
    return typed(composed("price_config", overrides)["price"])


def composed(root: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a root of conf/ that has a group `price`, as plain values.

    Raises:
        ConfigError: an override names an unknown key.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="benchmark"):
            made = compose(root, overrides=[_added(word) for word in overrides])
        plain: Any = OmegaConf.to_container(made)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(sentence(error)) from error
    refuse_interpolations(plain, root)
    return dict(plain)


def _added(word: str) -> str:
    """Let unknown keys pass Hydra, since `cost.typed` lists the known ones in its error."""
    key, equals, value = word.partition("=")
    if key.startswith("price") and (not equals or "," in value):
        raise ConfigError(f"{word}: write {key}= with one value: a table has one price basis")
    return f"++{word}" if word.startswith("price.") else word

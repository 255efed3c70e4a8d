"""Which prices count, as typed on a command line: `price=reserved price.as_of=2024-09-16`."""

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
from benchmark.config.folder import CONF
from benchmark.errors import ConfigError


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words about prices, and the others, which are conditions on rows."""
    about = [word for word in words if word.startswith(("price=", "price."))]
    return about, [word for word in words if word not in about]


def basis(overrides: Sequence[str] = ()) -> PriceBasis:
    """The basis that conf/price_config.yaml has with these overrides.

    Raises:
        ConfigError: a key is unknown, or a value isn't one of its kind; names the key.
    """
    return typed(composed("price_config", overrides)["price"])


def composed(root: str, overrides: Sequence[str]) -> dict[str, Any]:
    """A root of conf/ that has a group `price`, composed, in plain values.

    Raises:
        ConfigError: an override names what isn't there.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="benchmark"):
            made = compose(root, overrides=[_added(word) for word in overrides])
        plain: Any = OmegaConf.to_container(made, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(sentence(error)) from error
    return dict(plain)


def _added(word: str) -> str:
    """Keys that YAML lacks pass Hydra, so that `cost.typed` says which there are instead."""
    key, equals, value = word.partition("=")
    if key.startswith("price") and (not equals or "," in value):
        raise ConfigError(f"{word}: write {key}= and one value: a table has one basis of its prices")
    return f"++{word}" if word.startswith("price.") else word

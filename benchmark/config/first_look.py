"""Check a composed configuration before Hydra imports callbacks, sets up logs and makes folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Final

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.config.experiment import CAMPAIGN, MOST_OF_CAMPAIGN
from benchmark.config.plugins import refuse_foreign
from benchmark.errors import ConfigError

_FOLDERS: Final = (
    "output_folder",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.output_subdir",
)
_MOST_OF_NAME: Final = 255
"""Bytes of a name of a file: the limit of Linux's file systems and of macOS's."""
_SHOWN: Final = 80
_INTERPOLATION: Final = re.compile(r"\$\{[^{}]*\}")


@contextmanager
def looked_at_first() -> Iterator[None]:
    """Check each configuration that Hydra composes while the block lasts, before Hydra uses it."""
    compose = ConfigLoaderImpl.load_configuration

    def checked(self: ConfigLoaderImpl, *arguments: Any, **options: Any) -> DictConfig:
        cfg = compose(self, *arguments, **options)
        look_at(cfg)
        return cfg

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = compose  # type: ignore[method-assign]


def look_at(cfg: DictConfig) -> None:
    """Refuse classes that aren't registered, and names of folders that lead elsewhere.

    Raises:
        ConfigError: says which, and what to write.
    """
    refuse_foreign(cfg)
    if "campaign" not in cfg:  # the configuration of a help text
        return
    campaign = _text(cfg, "campaign")
    if not re.fullmatch(CAMPAIGN, campaign):
        raise ConfigError(f"campaign={campaign[:_SHOWN]}: should match pattern '{CAMPAIGN}'")
    if len(campaign) > MOST_OF_CAMPAIGN:
        raise ConfigError(
            f"campaign={campaign[:_SHOWN]}...: should have at most {MOST_OF_CAMPAIGN} characters"
        )
    output = _text(cfg, "output_folder")
    for key in _FOLDERS:
        folder = _text(cfg, key)
        parts = PurePath(folder).parts
        if not folder.isprintable() or any(len(os.fsencode(part)) > _MOST_OF_NAME for part in parts):
            raise ConfigError(
                f"{key}={folder[:_SHOWN]}: a name in it is longer than {_MOST_OF_NAME} bytes, or has a "
                "control character: choose another"
            )
        if ".." in parts and folder != output:
            raise ConfigError(f"{key}={folder}: leads out of its folder: leave out .. or start it with /")


def _text(cfg: DictConfig, key: str) -> str:
    """A value as text; what only a single job resolves, such as its number, is left out."""
    try:
        return str(OmegaConf.select(cfg, key) or "")
    except OmegaConfBaseException:
        node = OmegaConf.select(cfg, key.rpartition(".")[0]) if "." in key else cfg
        raw = str(node._get_node(key.rpartition(".")[2]))  # noqa: SLF001 - the only access to an unresolved node
        while raw != (raw := _INTERPOLATION.sub("0", raw)):
            pass
        return raw

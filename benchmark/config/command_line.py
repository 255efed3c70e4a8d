"""The words of a command line as Hydra takes them: flags and overrides in any order."""

from __future__ import annotations

from argparse import ArgumentError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hydra._internal.utils import get_args_parser

from benchmark.errors import ConfigError


class CommandLine(NamedTuple):
    """What a grid is composed from."""

    overrides: list[str]
    config_name: str
    config_path: Path | None
    """Folder of the configuration, instead of conf/."""
    config_dir: Path | None
    """Folder that is searched besides."""


def command_line(words: Sequence[str]) -> CommandLine:
    """Read the words that a verb shares with a run.

    Raises:
        ConfigError: a flag that only a run has, or a folder that doesn't exist.
    """
    read, unknown = _parsed(words)
    shows = {"--help": read.help, "--hydra-help": read.hydra_help, "--cfg": read.cfg, "--info": read.info}
    shows |= {"--resolve": read.resolve, "--package": read.package, "--run": read.run}
    shows |= {"--shell-completion": read.shell_completion, "--experimental-rerun": read.experimental_rerun}
    for flag in [*unknown, *(flag for flag, given in shows.items() if given)]:
        raise ConfigError(f"{flag}: a verb has no such flag, see --help")
    return CommandLine(
        overrides=read.overrides,
        config_name=read.config_name or "config",
        config_path=_folder("--config-path", read.config_path),
        config_dir=_folder("--config-dir", read.config_dir),
    )


def flags_first(words: Sequence[str]) -> list[str]:
    """The words as Hydra's parser wants them: no flag behind an override.

    Raises:
        ConfigError: a flag that would be ignored, or that doesn't exist.
    """
    read, unknown = _parsed(words)
    for flag in unknown:
        raise ConfigError(f"{flag}: there is no such flag; --hydra-help lists them")
    if read.package and not read.cfg:
        raise ConfigError("--package: works only with --cfg, which shows a part of the configuration")
    rest = list(words)
    for override in read.overrides:
        rest.reverse()
        rest.remove(override)
        rest.reverse()
    return [*rest, *read.overrides]


def _parsed(words: Sequence[str]) -> tuple[Namespace, list[str]]:
    """Flags and overrides, and words that are neither."""
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        return parser.parse_known_intermixed_args(list(words))
    except ArgumentError as error:
        raise ConfigError(f"{error} (see --hydra-help)") from error


def _folder(flag: str, name: str | None) -> Path | None:
    if name is None:
        return None
    folder = Path(name).resolve()
    if not folder.is_dir():
        raise ConfigError(f"{flag} {name}: there is no such folder")
    return folder

"""Errors in one or two lines: the key, the allowed values or the most similar name, and what to do."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from benchmark.cli import streams
from benchmark.errors import BenchmarkError, ConfigError
from benchmark.host import machine
from benchmark.redaction import without_secrets
from benchmark.report.sanitize import say
from benchmark.spelling import did_you_mean

TRACEBACKS: Final = os.environ.get("HYDRA_FULL_ERROR") == "1"
"""Whether the user wants tracebacks. Read before `__main__` sets the same variable for Hydra."""

_MISTAKES = (BenchmarkError, HydraException, OmegaConfBaseException, YAMLError, UnicodeError, OSError)
_GRAMMAR = "write key=value, key=a,b with -m, and quotes around a value with special characters"
_PLACES = "choose another folder with output_folder=, store.root= or cache.root="
_KEYS = f"`{machine.program()} --cfg job` shows every key"
_SENTENCES: Final = {
    r"Multiple values for (\S+)\.": (
        r"\1: has a value already: leave out the + before \1=, or in a defaults list write `override /\1:`"
    ),
    r"force-add of config groups is not supported: '\+\+([^=]+)=": (
        r"\1: has a value already: leave out the ++ before \1="
    ),
    r"Could not append to config. An item is already at '([^']+)'": (
        r"\1: has a value already: leave out the + before \1="
    ),
    r"In '(([^']*?/?)[^/']+)': Could not override '\2([^'@]+)": (
        r"\1.yaml: there is no such group beside it: write `override /\3:` with the slash"
    ),
    r"Cannot find primary config '([^']+)'": (
        r"--config-name \1: there is no \1.yaml in conf/ or --config-dir (hydra.searchpath doesn't count)"
    ),
    r"MissingMandatoryValue while resolving interpolation: Missing mandatory value: (.+)": (
        r"needs \1, which only a single job has"
    ),
    r"Unknown plugin class : '(.+)'": (
        r"\1: no installed plug-in of Hydra: choose one by name, as hydra/launcher=basic (see --info plugins)"
    ),
}
"""Starts of Hydra's messages, and what is said instead."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn a mistake of the user or the host into a message and exit code 1; bugs keep their traceback."""
    if TRACEBACKS:
        yield
        return
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        streams.drop_output()
        raise SystemExit(streams.UNREAD) from None
    except _MISTAKES as error:
        raise _stopped(error) from error
    except (ValueError, KeyError, RuntimeError) as error:
        if _origin(error) != "hydra" and not _of_env_copy(error):
            raise
        raise _stopped(error) from error
    except SystemExit as stop:
        if streams.is_unread(stop):
            raise SystemExit(streams.UNREAD) from None
        if _origin(stop) == "argparse" and stop.code:  # its 2 would mean: cells failed
            raise SystemExit(1) from None
        raise
    except KeyboardInterrupt:
        say("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """For a caller that is no command: raise what a library says of a mistake in our words.

    Raises:
        ConfigError: with these.
    """
    try:
        yield
    except BenchmarkError:
        raise
    except _MISTAKES as error:
        raise ConfigError(sentence(error)) from error


def sentence(error: BaseException) -> str:
    """Describe an error: one line, and a second one for further mistakes."""
    first, *more = without_secrets(_message(error)).splitlines() or [type(error).__name__]
    return "\n".join([first, *(["; ".join(more)] if more else [])])


def _stopped(error: BaseException) -> SystemExit:
    say(f"error: {sentence(error)}", file=sys.stderr)
    return SystemExit(1)


def _origin(error: BaseException) -> str:
    """Package whose code raised the error."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _of_env_copy(error: Exception) -> bool:
    """Whether Hydra looked for a variable of `hydra.job.env_copy`, which it does without a message."""
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    return isinstance(error, KeyError) and names[-2:] == ["_load_configuration_impl", "__getitem__"]


def _message(error: BaseException) -> str:
    if isinstance(error, MarkedYAMLError):
        message = _malformed(error)
    elif isinstance(error, OverrideParseException):
        message = f"{error.override}: can't be read as an override: {_GRAMMAR}"
    elif isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        message = _absent(group, name, error.options)
    elif isinstance(error, HydraException):
        message = _uncomposable(str(error), error.__cause__)
    elif isinstance(error, OmegaConfBaseException):
        text = _first_line(error.msg)
        if str(error.full_key).startswith("hydra.job.env_set."):
            text += ": without -m Hydra knows its own keys only: write the value"
        message = f"{error.full_key}: {_plain_words(text) or text}" if error.full_key else _first_line(error)
    elif isinstance(error, KeyError) and _of_env_copy(error):
        message = f"hydra.job.env_copy: the variable {error.args[0]} is not set here"
    elif isinstance(error, OSError) and error.filename:
        message = f"{error.filename}: {error.strerror}: {_PLACES}"
    else:
        is_file = isinstance(error, UnicodeDecodeError)
        message = f"a YAML file is not UTF-8: {error}" if is_file else str(error)
        message = _plain_words(message) or message
    return message


def _malformed(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}" if mark else "a YAML file"
    hint = ": indent with spaces, YAML allows no tabs" if "\\t" in str(error.problem) else ""
    return f"{place}: {error.problem}{hint}"


def _absent(group: str, name: str, options: Sequence[str]) -> str:
    """Message for a name that is not in its config group."""
    known = f"known: {', '.join(options) or 'none'}"
    hints = " ".join(filter(None, (did_you_mean(name, options), known)))
    if group == "hydra/launcher":
        hints += "; pip install hydra-joblib-launcher or hydra-submitit-launcher for others"
    return f"{group}={name}: there is no such {group}; {hints}"


def _uncomposable(text: str, cause: BaseException | None) -> str:
    """Hydra's message about overrides that don't fit, in one line."""
    if unknown := re.match(r"Could not override '([^']+)'", text):
        return _unknown_key(unknown[1], cause)
    if of_hydra := re.match(r"Sweeping over Hydra's configuration is not supported : '(.+)'$", text):
        return _swept_setting(of_hydra[1])
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'", text):
        return f"{several[1]} names several values: add -m to run the grid of them"
    if plain := _plain_words(text):
        return plain
    message = " ".join(text.partition("\n\n")[0].split())
    reason = _first_line(cause.msg) if isinstance(cause, OmegaConfBaseException) else ""
    return ": ".join(part for part in (message.removeprefix("Error merging override "), reason) if part)


def _plain_words(text: str) -> str | None:
    matches = ((re.match(pattern, text), sentence) for pattern, sentence in _SENTENCES.items())
    return next((found.expand(sentence) for found, sentence in matches if found), None)


def _unknown_key(key: str, cause: BaseException | None) -> str:
    if axis := re.match(r"hydra\.sweeper\.params\.(.+)", key):
        return f"{key}: no axis of the experiment: write {axis[1]}= instead"
    if key.startswith("hydra."):
        return f"{key}: not set yet: write +{key}="
    return f"{key}: unknown key; {did_you_mean(key, _known_keys(cause)) or _KEYS}"


def _swept_setting(written: str) -> str:
    """Message for several values of a setting that Hydra reads once for a grid."""
    axis = re.match(r"\+*hydra\.sweeper\.params\.(.+)", written)
    advice = f"write {axis[1]} instead" if axis else "run one command for each value"
    if "OMP_NUM_THREADS" in written:
        advice = "sweep hardware.threads instead"
    return f"{written}: Hydra reads its own settings once for the whole grid: {advice}"


def _known_keys(cause: BaseException | None) -> list[str]:
    """Keys and sub-keys of the configuration that lacks the requested key."""
    node = getattr(cause, "parent_node", None)
    root = node._get_root() if isinstance(node, DictConfig) else None  # noqa: SLF001 - the only access from a node to its tree
    tree: Any = OmegaConf.to_container(root) if root is not None else {}
    sections = {key: value for key, value in tree.items() if isinstance(value, dict)}
    inner = [f"{section}.{key}" for section, keys in sections.items() for key in keys]
    return [*tree, *inner, "experiment"]


def _first_line(text: object) -> str:
    return str(text).partition("\n")[0]

"""Say what was wrong in one or two lines: the key, the allowed values or the nearest name, what to do."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import ConfigCompositionException, HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from benchmark.errors import BenchmarkError


@contextmanager
def explained() -> Iterator[None]:
    """Turn the user's mistakes and the world's into a message and exit code 1; bugs keep their traceback."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        yield
        return
    try:
        yield
    except (BenchmarkError, HydraException, OmegaConfBaseException, MarkedYAMLError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def sentence(error: BaseException) -> str:
    """What went wrong, in the user's words."""
    if isinstance(error, MarkedYAMLError):
        return _malformed(error)
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: {str(error.msg).splitlines()[0]}"
    if isinstance(error, ConfigCompositionException):
        return _uncomposable(str(error))
    if isinstance(error, HydraException):
        return _ungrammatical(str(error))
    if isinstance(error, OSError):
        return f"{error.filename or 'file'}: {error.strerror or error}; choose another place by store.root=, cache.root= or output_folder="
    return str(error)


def _malformed(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}" if mark else "a YAML file"
    hint = ": indent with spaces, YAML allows no tabs" if "\\t" in str(error.problem) else ""
    return f"{place}: {error.problem}{hint}"


def _uncomposable(text: str) -> str:
    """Hydra's account of a group or key that isn't there, in one line."""
    if missing := re.search(r"Could not find '(?:(.+)/)?([^/']+)'", text):
        group, name = missing[1], missing[2]
        options = re.findall(r"^\t(\S+)$", text.partition("Available options")[2].partition("Config search path")[0], re.MULTILINE)
        near = difflib.get_close_matches(name, options, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{group}={name}: there is no such {group}; {hint}known: {', '.join(options)}"
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return f"{unknown[1]}: unknown key; see the keys and groups by `python -m benchmark --cfg job`{_near(unknown[1])}"
    if "Ambiguous value" in text:
        asked = re.search(r"'([^']+)'", text)
        return f"{asked[1] if asked else 'a value'} names several values: add -m to run the grid of them"
    return " ".join(text.split("\n\n")[0].split())


def _near(key: str) -> str:
    words = ("model", "hardware", "compiler", "scenario", "sampling", "store", "experiment", "batch", "seq_len", "weights")
    words += ("seed", "campaign", "run", "output_folder", "cache", "verify", "limits", "compiler.fast_math", "store.root")
    near = difflib.get_close_matches(key, [*words, "cache.root", "limits.memory_gib", "hardware.threads"], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _ungrammatical(text: str) -> str:
    return f"{text.splitlines()[0]} (override grammar: key=value, key=a,b with -m; quote values with special characters)"

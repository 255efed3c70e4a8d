"""What is installed, here or for another interpreter; the error for a missing library says its command."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from benchmark.errors import LibraryMissing
from benchmark.host.path import environment_of

DISTRIBUTION: Final = "benchmark-orchestrator"
_IN_WHEEL: Final = Path(__file__).parents[1] / "conf"
"""A folder that a wheel has and a checkout hasn't: there it lies beside the package."""
_NEEDED = ("filelock", "numpy", "omegaconf", "psutil", "pydantic", "scipy")
"""Libraries that this program needs in a child; compiler and task check their own."""
_OLDEST = (3, 9)
"""The last Python that inf1's libraries support."""
_NEEDED_BEFORE_310 = (*_NEEDED, "eval-type-backport")
"""Pydantic reads `float | None` with it."""
_LIST = """
import json, sys
from importlib import metadata
found = [(one.metadata["Name"], one.version) for one in metadata.distributions()]
print(json.dumps([sys.version_info[:3], found]))
"""
_IMPORT = """
import sys
from importlib import import_module
try:
    found = import_module(sys.argv[1])
    if sys.argv[2] and not hasattr(found, sys.argv[2]):
        sys.exit(f"it has no {sys.argv[2]}")
except (ImportError, OSError, RuntimeError) as error:
    sys.exit(str(error) or type(error).__name__)
"""
_PATIENCE_S = 60
_PATIENCE_IMPORT_S = 300
"""A first import of a large library reads gigabytes from a cold disk."""
_ERRORS: Final = {
    errno.ENOEXEC: f"it isn't a program for this host, which is {os.uname().machine}",
    errno.EISDIR: "it is a folder",
}


class Interpreter(NamedTuple):
    """Another Python and what is installed for it."""

    version: tuple[int, ...]
    distributions: dict[str, str]
    """Versions by normalised name."""


def command_for(name: str = "") -> str:
    """The command that installs this program with one of its extras: from the checkout, or as a wheel is."""
    what = f"[{name}]" if name else ""
    if _IN_WHEEL.is_dir():
        return f"pip install '{DISTRIBUTION}{what}'"
    return f"pip install -e '.{what}'" if name else "pip install -e ."


def versions(*distributions: str, install: str, python: str | None = None) -> dict[str, str]:
    """Versions of distributions installed here, or for the interpreter `python`, by name.

    Raises:
        LibraryMissing: one is not installed; `install` mends it.
    """
    if python is not None:
        return _versions_there(distributions, install, python)
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise LibraryMissing(f"{name} is not installed: {install}") from None
    return found


def fit(python: str) -> str:
    """Return the version of an interpreter that can measure for this program.

    Raises:
        LibraryMissing: it can't; says what is missing and what to do.
    """
    there = _interpreter(python)
    version = ".".join(map(str, there.version))
    if there.version < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise LibraryMissing(f"{_named(python)} is Python {version}: use one from {oldest} on")
    needed = _NEEDED if there.version >= (3, 10) else _NEEDED_BEFORE_310
    _versions_there(needed, f"pip install {' '.join(needed)}", python)
    return version


def _versions_there(distributions: tuple[str, ...], install: str, python: str) -> dict[str, str]:
    there = _interpreter(python)
    found = {name: there.distributions.get(_normalised(name)) for name in distributions}
    if missing := [name for name, version in found.items() if version is None]:
        command = install.replace("pip install", f"{python} -m pip install")
        verb = "is" if len(missing) == 1 else "are"
        raise LibraryMissing(f"{', '.join(missing)} {verb} not installed for {python}: {command}")
    return {name: str(version) for name, version in found.items()}


def imports(module: str, attribute: str, *, install: str, python: str | None) -> None:
    """Import a library in a process of its environment, once a command: what is installed may still not work.

    Raises:
        LibraryMissing: the import fails, or the library lacks `attribute`; `install` mends it.
    """
    command = install.replace("pip install", f"{python} -m pip install") if python else install
    path = "" if python else os.pathsep.join(filter(None, sys.path))
    programs = environment_of(python or sys.executable, os.environ)["PATH"]
    if error := _failed_import(python or sys.executable, module, attribute, path, programs):
        where = f" by {python}" if python else ""
        raise LibraryMissing(f"{module} can't be imported{where} ({error}): {command}")


@lru_cache(maxsize=64)
def _failed_import(python: str, module: str, attribute: str, path: str, programs: str) -> str | None:
    """Why an import fails in a fresh process with this PYTHONPATH and PATH, or None."""
    environment = environment_of(python, os.environ)
    try:
        done = subprocess.run(  # noqa: S603 - the user chose it
            [python, "-c", _IMPORT, module, attribute],
            env=environment | {"PYTHONPATH": path, "PATH": programs, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_IMPORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {_PATIENCE_IMPORT_S} s"
    if done.returncode == 0:
        return None
    last = done.stderr.strip().rpartition("\n")[2]
    return last or f"the process ended with {done.returncode}"


def _named(python: str) -> str:
    """The keys that name an interpreter: a chip's environment is named once, at the hardware."""
    return f"compiler.python or hardware.python={python}"


def _interpreter(python: str) -> Interpreter:
    answer = _queried(python)
    if isinstance(answer, str):
        raise LibraryMissing(
            f"{_named(python)}: {answer}; name the interpreter of an environment: "
            "python3 -m venv FOLDER makes FOLDER/bin/python"
        )
    return answer


@lru_cache(maxsize=64)
def _queried(python: str) -> Interpreter | str:
    """Start it once with its own libraries only; return what it lists, or why that failed."""
    environment = environment_of(python, os.environ)
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(  # noqa: S603 - the user chose it
            [python, "-c", _LIST],
            env=environment | {"PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        version, found = json.loads(done.stdout)
    except OSError as error:
        number = errno.EISDIR if Path(python).is_dir() else error.errno or 0
        return _ERRORS.get(number) or error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE_S} s"
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        return f"it doesn't answer as Python does{last and f': {last}'}"
    distributions: dict[str, str] = {}
    for name, number in found:
        if name:  # a broken installation has none
            distributions.setdefault(_normalised(name), number)
    return Interpreter(tuple(version), distributions)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def gxx(compiler: str) -> str:
    """Version of the C++ compiler that compiler `compiler` calls.

    Raises:
        LibraryMissing: there is none on the path.
    """
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        raise LibraryMissing(f"{compiler} compiles with g++, which is not on the path: apt-get install g++")
    output = subprocess.run(  # noqa: S603 - the compiler on the path
        [found, "--version"], capture_output=True, text=True, timeout=30, check=False
    ).stdout
    version = re.search(r"\d+\.\d+[.\d]*", output)
    return version[0] if version else "unknown"

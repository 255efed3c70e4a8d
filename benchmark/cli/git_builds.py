"""Builds of this program from commits, for `compare --git`: a source tree and an environment for each.

A build is kept in `~/.cache/benchmark/builds`, by commit and by what it depends on. Where a commit depends on
what this checkout depends on, its environment borrows the libraries of this one; else pip installs its own.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from benchmark.errors import ConfigError

_EXTRAS: Final = ("onnxruntime", "openvino")
"""Extras that a build has."""
_REQUIRED: Final = re.compile(
    rf"^dependencies = \[.*?^\]|^(?:{'|'.join(_EXTRAS)}) = \[.*?\]", re.MULTILINE | re.DOTALL
)
_SIDE: Final = "benchmark/cli/side.py"
_READY: Final = "ready"
_PIP_S: Final = 3600


class Build(NamedTuple):
    """A commit and the interpreter that runs it."""

    ref: str
    commit: str
    python: str


def build(ref: str, say: Callable[[str], object]) -> Build:
    """Return the build of a commit of the repository in the working folder, made where there is none.

    `say` gets a line before what takes minutes.

    Raises:
        ConfigError: there is no git, no repository, no such commit, no program in it, or pip fails.
    """
    root = Path(_git("rev-parse", "--show-toplevel").decode().strip())
    verified = _git("rev-parse", "--verify", f"{ref}^{{commit}}", failure=f"--git {ref}: no such commit here")
    commit = verified.decode().strip()
    here = depends_on(root)
    source = _sources(root, ref, commit)
    borrows = depends_on(source) == here
    made_of = f"{sys.executable} {here}" if borrows else sys.executable
    folder = source.parent / f"{commit[:12]}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"
    python = folder / "bin" / "python"
    if not (folder / _READY).is_file():
        venv.create(folder, clear=True, symlinks=True, with_pip=not borrows)
        if borrows:
            _borrow(folder, source)
        else:
            say(f"{ref} depends on other libraries: installing them takes minutes")
            _install(ref, python, source)
        (folder / _READY).touch()
    return Build(ref, commit, str(python))


def _git(*words: str, failure: str = "") -> bytes:
    """What git prints in the working folder.

    Raises:
        ConfigError: there is no git, or it fails; with these words, or its own.
    """
    try:
        ran = subprocess.run(["git", *words], capture_output=True, check=False)  # noqa: S603, S607 - the user's
    except FileNotFoundError as error:
        raise ConfigError("--git: git is not installed") from error
    if ran.returncode:
        reason = ran.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise ConfigError(failure or f"--git: {reason.removeprefix('fatal: ')}")
    return ran.stdout


def _sources(root: Path, ref: str, commit: str) -> Path:
    """Folder with the files of a commit."""
    builds = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "benchmark" / "builds"
    source = builds / f"{commit[:12]}-source"
    if source.is_dir():
        return source
    builds.mkdir(parents=True, exist_ok=True)
    packed = _git("-C", str(root), "archive", commit)
    work = Path(tempfile.mkdtemp(dir=builds))
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as files:
            files.extractall(work, filter="data")
        if not (work / _SIDE).is_file():
            raise ConfigError(f"--git {ref}: commit {commit[:12]} has no {_SIDE}, which measures a side")
        work.rename(source)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return source


def depends_on(folder: Path) -> str:
    """Digest of the libraries that the program in a folder depends on."""
    project, constraints = (folder / name for name in ("pyproject.toml", "constraints.txt"))
    required = "".join(_REQUIRED.findall(project.read_text("utf-8"))) if project.is_file() else ""
    lines = constraints.read_text("utf-8").splitlines() if constraints.is_file() else []
    # Pins of what only developers install may differ.
    pins = sorted(line for line in lines if f'"{line.partition("==")[0]}' in required)
    return hashlib.sha256("\n".join([required, *pins]).encode()).hexdigest()


def _borrow(folder: Path, source: Path) -> None:
    """Let an environment find the commit's sources first, and then the libraries of this interpreter."""
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    (site / "a-sources.pth").write_text(f"{source}\n{source / 'benchmark'}\n", encoding="utf-8")
    ours = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (site / "b-libraries.pth").write_text("".join(f"{path}\n" for path in ours), encoding="utf-8")


def _install(ref: str, python: Path, source: Path) -> None:
    constraints = ["-c", str(source / "constraints.txt")] if (source / "constraints.txt").is_file() else []
    what = f"{source}[{','.join(_EXTRAS)}]"
    command = [str(python), "-m", "pip", "install", "--quiet", *constraints, "-e", what]
    ran = subprocess.run(  # noqa: S603 - our own environment
        command, capture_output=True, text=True, check=False, timeout=_PIP_S
    )
    if ran.returncode:
        raise ConfigError(f"--git {ref}: pip can't install it: {ran.stderr.strip().rpartition(chr(10))[2]}")

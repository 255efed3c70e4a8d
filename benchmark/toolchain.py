"""The C++ compiler of this host, with which torch's compilers build their kernels."""

from __future__ import annotations

import re
import shutil
import subprocess

from benchmark.errors import LibraryMissing


def gxx(compiler: str) -> str:
    """Version of the C++ compiler that the compiler of this name calls.

    Raises:
        LibraryMissing: there is none on the path.
    """
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        raise LibraryMissing(f"{compiler} compiles with g++, which is not on the path: apt-get install g++")
    told = subprocess.run(  # noqa: S603 - the compiler on the path
        [found, "--version"], capture_output=True, text=True, timeout=30, check=False
    ).stdout
    version = re.search(r"\d+\.\d+[.\d]*", told)
    return version[0] if version else "unknown"

"""What torch's compilers need on a host with an NVIDIA GPU, beside torch: found without importing torch."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Final

USUAL: Final = Path("/usr/local/cuda")


def home() -> Path | None:
    """Folder of the CUDA toolkit, where torch looks for it: CUDA_HOME, CUDA_PATH, nvcc, /usr/local/cuda.

    As torch/utils/cpp_extension.py, _find_cuda_home, has it (torch 2.13).
    """
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if text := os.environ.get(name):
            return Path(text)
    if nvcc := shutil.which("nvcc"):
        return Path(nvcc).parents[1]
    return USUAL if USUAL.is_dir() else None


def lacking_for_triton() -> str | None:
    """What Triton lacks to build the launcher of its kernels: a C compiler or Python's headers."""
    if not (shutil.which("gcc") or shutil.which("clang") or os.environ.get("CC")):
        return "Triton needs a C compiler to launch its kernels: apt-get install gcc"
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    if not headers.is_file():
        return f"Triton needs {headers} to launch its kernels: apt-get install python3-dev"
    return None


def lacking_for_aot_inductor() -> str | None:
    """What AOTInductor lacks to build its package: it needs the toolkit's headers too."""
    found = home()
    if found is None or not (found / "include" / "cuda.h").is_file():
        where = f"{found}/include/cuda.h is absent" if found else "there is none"
        return (
            f"aot_inductor needs the headers of the CUDA toolkit, and {where}: install the toolkit of "
            "torch's CUDA version, or set CUDA_HOME"
        )
    return lacking_for_triton()

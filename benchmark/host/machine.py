"""Facts of this host, from /proc, the firmware's DMI tables and git, never from the network."""

from __future__ import annotations

import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import psutil

from benchmark.records import frozen
from benchmark.redaction import public_variables, without_secrets

COMMAND_PID = "BENCHMARK_COMMAND_PID"
"""Environment variable of children and of the sides of a comparison; see `command_pid`."""
DMI = Path("/sys/devices/virtual/dmi/id")
CGROUP = Path("/sys/fs/cgroup")
_FIRST_NAMESPACE = "pid:[4026531836]"
"""Of process ids, the one that the kernel makes at its start (PROC_PID_INIT_INO)."""
_SAME_START_S = 1.0
"""Most by which two readings of the time at which a process started differ."""
_ISA = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "sve",
    "bf16",
)


_SPEED = re.compile(
    r"(ATEN|OMP|GOMP|KMP|MKL|DNNL|ONEDNN|OPENBLAS|MALLOC|TORCH|TORCHINDUCTOR|PYTORCH|XLA|ORT|OV|NEURON|CUDA"
    r"|NVIDIA)_|(LD_PRELOAD|GLIBC_TUNABLES|THP_MEM_ALLOC_ENABLE)$"
)


@frozen
class Provenance:
    """Where and by what a row was made."""

    hostname: str
    cpu_model: str
    cores: int
    """Physical cores this process may use."""
    memory_gib: float
    os: str
    python: str
    command: str
    git_commit: str | None
    git_dirty: bool | None


@lru_cache(maxsize=1)
def memory_gib() -> float:
    """Memory of this host."""
    return round(psutil.virtual_memory().total / 2**30, 2)


def provenance() -> Provenance:
    """Where rows are made, and by which command: a notebook's is another for each grid."""
    return replace(_provenance(), command=command())


@lru_cache(maxsize=1)
def _provenance() -> Provenance:
    """Facts that stay the same while this program runs."""
    ours = _git("ls-files", "--error-unmatch", Path(__file__).name)  # else the repository around a virtualenv
    commit = _git("rev-parse", "HEAD") if ours else None
    return Provenance(
        hostname=socket.gethostname(),
        cpu_model=cpu_model(),
        cores=usable_cores(),
        memory_gib=memory_gib(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        command=command(),
        git_commit=commit,
        git_dirty=None if commit is None else bool(_git("status", "--porcelain", "--untracked-files=no")),
    )


def program() -> str:
    """How this program was called: by its own name, or as a module."""
    return "benchmark" if Path(sys.argv[0]).name == "benchmark" else "python -m benchmark"


def command() -> str:
    """The command line of this program, as one would type it, without secrets."""
    return without_secrets(" ".join([program(), *map(shlex.quote, sys.argv[1:])]))


def command_pid() -> int:
    """Process id of the command that this process works for; its own in the command itself."""
    return int(os.environ.get(COMMAND_PID, os.getpid()))


def has_host_pids() -> bool:
    """Whether this process sees the host's process ids; in a container they mean nothing."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink()) == _FIRST_NAMESPACE
    return True


def process_started_s(pid: int) -> float | None:
    """When the process started, in seconds since 1970; None: there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def is_running(pid: int, started_s: float | None) -> bool:
    """Whether the process runs; one that started at another time has got the id of a process that ended."""
    now_s = process_started_s(pid)
    return now_s is not None and (started_s is None or abs(now_s - started_s) < _SAME_START_S)


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """Name of the CPU, as the kernel reports it."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def isa() -> str:
    """Instruction sets that change generated code, sorted and joined by commas."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    flags = frozenset(found[1].split()) if found else frozenset()
    return ",".join(sorted(flags.intersection(_ISA)))


def usable_cores() -> int:
    """Physical cores this process may use: hyper-threads and a container's CPU quota taken into account."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical, logical = psutil.cpu_count(logical=False) or allowed, psutil.cpu_count() or allowed
    cores = min(allowed, max(1, round(allowed * physical / logical)))
    quota = _cpu_quota()
    return max(1, min(cores, int(quota))) if quota else cores


def of_every_core(threads: int | None) -> bool:
    """Whether so many threads are one for each physical core of this host, all of which this process may use.

    That is what a runtime starts by itself, and it then places them: ONNX Runtime binds each to its core.
    A number that is asked for, though the same, loses that.
    """
    return threads is not None and threads == usable_cores() == psutil.cpu_count(logical=False)


def speed_settings() -> dict[str, str]:
    """Environment variables that can change speed: children inherit them, so rows hold them. No secrets."""
    return public_variables({name: value for name, value in sorted(os.environ.items()) if _SPEED.match(name)})


def omp_threads() -> int | None:
    """Threads that OMP_NUM_THREADS requests: the first number of its list, for the outermost loop."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if text.isdigit() and int(text) else None


@lru_cache(maxsize=1)
def instance_type() -> str | None:
    """Cloud instance type by the DMI tables; EC2 and Alibaba write it into the product name, others don't."""
    vendor, product = _read(DMI / "sys_vendor").strip(), _read(DMI / "product_name").strip()
    return product if vendor in {"Amazon EC2", "Alibaba Cloud"} and product else None


def _cpu_quota() -> float | None:
    """CPUs granted by the control group (v2, else v1), or None without a quota."""
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if not period:
        quota = _read(CGROUP / "cpu" / "cpu.cfs_quota_us")
        period = _read(CGROUP / "cpu" / "cpu.cfs_period_us")
    try:
        share = int(quota) / int(period)
    except ValueError:
        return None
    return share if share > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _git(*arguments: str) -> str | None:
    """What git says about the folder of this program, wherever it was started."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

"""One host compiles, another runs what it compiled, without a C++ compiler; what is damaged is refused; of
what two hosts compile at the same time one is kept.

python -m tests.benchmarks.shared_cache --compilers torchscript,aot_inductor,inductor

A host is a command with its own cache folder, home and rows. On the second one, `g++` says its version, which
is part of the key, and fails at anything else; `gcc`, `cc` and `c++` aren't there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmark.bucket.objects import Bucket
from benchmark.cache.remote import RemoteCache
from benchmark.execution.host_lock import LOCK_NAME
from tests.buckets import BucketServer

BUILDERS = ("gcc", "g++", "cc", "c++", "clang", "clang++", "ld", "as")


class Host:
    """A folder in which a host keeps everything, and the programs that it has."""

    def __init__(self, folder: Path, bucket: str, *, builds: bool) -> None:
        self.folder, self.bucket, self.calls = folder, bucket, folder / "calls"
        programs = folder / "bin"
        programs.mkdir(parents=True)
        self.environment = {
            **os.environ,
            "BENCHMARK_HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "NO_COLOR": "1",
            LOCK_NAME: f"{os.getpid()}-{folder.name}",
        }
        if not builds:
            self.environment["PATH"] = str(programs)
            for program in {Path(found).name for place in os.get_exec_path() for found in _programs(place)}:
                if program not in BUILDERS and not any(program.endswith(f"-{name}") for name in BUILDERS):
                    (programs / program).symlink_to(shutil.which(program) or "/nothing")
            version = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
            gxx = programs / "g++"
            gxx.write_text(
                f'#!/bin/sh\n[ "$*" = --version ] && cat <<END && exit\n{version}END\n'
                f'echo "$*" >> {self.calls}\nexit 1\n'
            )
            gxx.chmod(0o755)

    def ran(self, *words: str) -> tuple[float, str]:
        """Run a command; seconds and what it wrote to stderr."""
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmark", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        return time.perf_counter() - start, done.stdout + done.stderr

    def cell(self, compiler: str, campaign: str, verb: str = "") -> tuple[float, dict[str, object], str]:
        """Compile or run one cell; seconds, its row, and what was said."""
        words = ["model=bert_tiny", f"compiler={compiler}", f"cache.remote={self.bucket}/team/cache"]
        words += [f"campaign={campaign}", "sampling=quick", "sampling.repeats=1"]
        took, said = self.ran(*filter(None, [verb]), *words)
        _, rows = self.ran("results", f"campaign={campaign}", "--json")
        return took, json.loads(rows)[-1], said


def _programs(place: str) -> list[Path]:
    return [*Path(place).iterdir()] if Path(place).is_dir() else []


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--compilers", default="torchscript,aot_inductor")
    asked = options.parse_args()
    server = BucketServer()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= server.environment
        bucket = server.new_bucket()
        try:
            for compiler in asked.compilers.split(","):
                shown(compiler, Path(folder, compiler), f"{bucket}/{compiler}")
        finally:
            server.stop()


def shown(compiler: str, folder: Path, bucket: str) -> None:
    """Print what both hosts did."""
    first = Host(folder / "a", bucket, builds=True)
    say(compiler, "A compiles", first.cell(compiler, "a", "compile"))
    second = Host(folder / "b", bucket, builds=False)
    if compiler == "inductor":
        say(compiler, "B runs, bucket not trusted", second.cell(compiler, "untrusted"))
        second.ran("cache", "trust", f"{bucket}/team/cache")
        shutil.rmtree(folder / "b" / "compile_cache", ignore_errors=True)
        second.calls.unlink(missing_ok=True)
    took, row, said = second.cell(compiler, "b")
    say(compiler, "B runs, without gcc", (took, row, said))
    print(f"{'':<14}calls of g++ on B, but for its version: {_lines(second.calls)}")
    objects = Bucket(f"{bucket}/x")
    place = f"{objects.prefix.removesuffix('/x')}/team/cache"
    files = json.loads(objects.get(f"{place}/entries/{row['artifact_key']}.json").data)["files"].values()
    largest = f"{place}/files/{max(files, key=lambda file: file['bytes'])['sha256']}"
    data = bytearray(objects.get(largest).data)
    data[len(data) // 2] ^= 1
    objects.put(largest, bytes(data))
    third = Host(folder / "c", bucket, builds=True)
    say(compiler, "one byte flipped, C runs", third.cell(compiler, "c"))
    at_once(compiler, folder, bucket)


def at_once(compiler: str, folder: Path, bucket: str) -> None:
    """Two hosts with nothing of their own compile the same cell: the bucket keeps one artefact."""
    twins = [Host(folder / name, f"{bucket}/twins", builds=True) for name in ("d", "e")]
    with ThreadPoolExecutor(2) as both:
        done = [*both.map(lambda host: host.cell(compiler, host.folder.name, "compile"), twins)]
    for host, one in zip(twins, done, strict=True):
        say(compiler, f"both compile, {host.folder.name.upper()}", one)
    there = RemoteCache(f"{bucket}/twins/team/cache")
    kept = [manifest.key for manifest in there.manifests() if manifest.kind == "artifact"]
    print(f"{'':<14}artefacts in the bucket: {len(kept)}")
    assert kept == [done[0][1]["artifact_key"]] == [done[1][1]["artifact_key"]]


def say(compiler: str, words: str, done: tuple[float, dict[str, object], str]) -> None:
    took, row, said = done
    facts = {
        name: row.get(name)
        for name in ("status", "stage", "cache_hit", "compile_s", "latency_p50_ms", "artifact_key")
    }
    print(f"{compiler:<14}{words}: {took:.1f} s, {facts}")
    if note := _about(said):
        print(f"{'':<14}{note}")


def _about(said: str) -> str:
    lines = [line for line in said.splitlines() if "is not used" in line or "can't" in line]
    return lines[0] if lines else ""


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.is_file() else 0


if __name__ == "__main__":
    main()

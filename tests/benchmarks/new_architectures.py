"""Architectures that have no YAML here, from their default configuration made small, under four compilers.

    python -m tests.benchmarks.new_architectures --seed 0 --count 40

Prints a table: `ok`, the status of a refusal, `crash` for what no sentence of this program explains; then
each reason. Exit code 1: something crashed. Everything is written into a temporary folder, or into --folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import re
import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmark.config.folder import CONF
from benchmark.errors import BenchmarkError
from benchmark.models import architectures
from benchmark.store.results import ResultsStore

COMPILERS = ("eager", "torchscript", "onnxruntime", "openvino")
SMALL = (
    "batch=2", "seq_len=16", "input_length=8", "output_length=4", "sampling=quick", "sampling.warmup_s=0",
    "sampling.min_s=0", "sampling.max_s=1", "sampling.max_calls=5", "sampling.min_calls=2",
    "sampling.repeats=1", "launcher.compile_workers=2", "limits.compile_timeout_s=300",
)  # fmt: skip
_OF_A_LIBRARY = re.compile(r"(?:\w+: )?[\w.]*(?:Error|Exception|Exit|Interrupt)\b")
"""How an error begins that nothing of this program explains."""


class Outcome(NamedTuple):
    """Result of one architecture under one compiler."""

    word: str
    reason: str


def candidates() -> list[str]:
    """Architectures without a YAML, in alphabetical order."""
    have = {kind for file in CONF.glob("model/*.yaml") for kind in _types(yaml.safe_load(file.read_text()))}
    return sorted(architectures.names() - have)


def drawn(seed: int, count: int) -> list[str]:
    """Some of them, by the seed."""
    return random.Random(seed).sample(candidates(), count)  # noqa: S311 - no secret


def _types(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "model_type" in node:
            yield node["model_type"]
        for inner in node.values():
            yield from _types(inner)


def write(architecture: str, folder: Path) -> Outcome | None:
    """Make the YAML; return how that ended where there is none."""
    from benchmark.cli.model import new

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            new(None, _name(architecture), None, folder, None, architecture, shrink=True, force=True)
    except BenchmarkError as error:
        return Outcome("refused", " ".join(str(error).split("\n")))
    except Exception:  # noqa: BLE001 - that is what this script looks for
        return Outcome("crash", traceback.format_exc(limit=-2))
    return None


def _name(architecture: str) -> str:
    return re.sub(r"\W", "_", architecture)


def run(
    names: list[str], folder: Path, compilers: tuple[str, ...] = COMPILERS
) -> dict[tuple[str, str], Outcome]:
    """Run the grid; return the outcome of each model and compiler."""
    command = [
        *(
            sys.executable,
            "-m",
            "benchmark",
            "-m",
            f"model={','.join(names)}",
            f"compiler={','.join(compilers)}",
        ),
        *(
            f"hydra.searchpath=[file://{folder}]",
            f"store.root={folder}/results",
            f"cache.root={folder}/cache",
        ),
        *(f"output_folder={folder}/runs", "campaign=new_architectures", *SMALL),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CONF.parent)
    (folder / "grid.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    columns = ["model", "compiler", "status", "stage", "error", "started_at"]
    frame = ResultsStore(f"{folder}/results").frame(columns).sort_values("started_at")
    rows = {(row.model, row.compiler): row for row in frame.itertuples()}
    nothing = Outcome("crash", f"no row: {(done.stderr or done.stdout)[-300:]}")
    return {
        (name, compiler): _outcome(rows[name, compiler]) if (name, compiler) in rows else nothing
        for name in names
        for compiler in compilers
    }


def _outcome(row: Any) -> Outcome:
    error = str(row.error or "")
    unexplained = row.status in {"crashed", "interrupted"} or _OF_A_LIBRARY.match(error)
    if row.status == "ok":
        return Outcome("ok", "")
    return Outcome("crash" if unexplained else row.status, f"{row.status} at {row.stage}: {error}")


def main() -> int:
    """Print the table; return 1 if anything crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument(
        "--folder", type=Path, help="where everything is written; default: a temporary folder"
    )
    parser.add_argument("architectures", nargs="*", help="these, instead of random ones")
    options = parser.parse_args()
    chosen = options.architectures or sorted(drawn(options.seed, options.count))
    with contextlib.ExitStack() as stack:
        folder = (options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))).resolve()
        ends = {one: write(one, folder) for one in chosen}
        written = [one for one in chosen if ends[one] is None]
        outcomes = run([_name(one) for one in written], folder) if written else {}
        tasks = {one: _task(folder, one) for one in written}
    counts: Counter[str] = Counter()
    reasons: dict[str, list[str]] = {}
    print(f"{'architecture':28} {'task':22} " + " ".join(f"{name:12}" for name in COMPILERS))
    for one in chosen:
        end = ends[one]
        cells = [end or outcomes[_name(one), compiler] for compiler in COMPILERS]
        counts.update(cell.word for cell in cells)
        for compiler, cell in zip(COMPILERS, cells, strict=True):
            if cell.reason:
                reasons.setdefault(cell.reason, []).append(one if end else f"{one}/{compiler}")
        print(f"{one[:28]:28} {tasks.get(one, '')[:22]:22} " + " ".join(f"{cell.word:12}" for cell in cells))
    print("\n" + ", ".join(f"{count} {word}" for word, count in counts.most_common()))
    for reason, where in reasons.items():
        print("\n" + ", ".join(dict.fromkeys(where)))
        print(textwrap.fill(reason, 110, initial_indent="  ", subsequent_indent="  "))
    return int(counts["crash"] > 0)


def _task(folder: Path, architecture: str) -> str:
    content = yaml.safe_load((folder / "model" / f"{_name(architecture)}.yaml").read_text(encoding="utf-8"))
    return str(content["defaults"][0]["override /task@_global_.task"])


if __name__ == "__main__":
    raise SystemExit(main())

"""A compiler that computes nothing: its latencies follow a formula, and it can fail on purpose.

For tests, documentation and drills. It runs on `hardware=simulated` only; its rows have `simulated=true`.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from benchmark.errors import UnsupportedOperator
from benchmark.host import libraries, machine
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_TOKENS = 128
_SPEED: dict[FastMath, float] = {"none": 1.0, "matmult": 0.7, "all": 0.5}

Fault = Literal["none", "raise", "unsupported_op", "abort", "segfault", "kill", "exit", "hang", "eat_memory"]


@frozen
class Simulated(CompilerDefaults):
    """A call takes (call_ms + item_ms * batch * sequence_length / 128) times the factor of fast_math.

    A generation takes that for its prompt and the first token, and `token_ms` for each token after it.
    """

    fast_math: FastMath = "none"
    """none: times 1; matmult: times 0.7; all: times 0.5."""
    call_ms: NonNegativeFloat = 1.0
    item_ms: NonNegativeFloat = 0.5
    token_ms: NonNegativeFloat = 0.0
    jitter: NonNegativeFloat = 0.0
    """Relative standard deviation, seeded by the batch size."""
    stall_calls: PositiveInt | None = None
    """The last of each so many calls stalls; null: none does."""
    stall_ms: NonNegativeFloat = 0.0
    """How much longer that call takes."""
    fault: Fault = "none"
    """How it fails; faults that end a process need hardware.isolated=true."""
    fault_stage: Literal["compile", "load", "call"] = "call"
    """Where it fails."""

    name: ClassVar[str] = "simulated"
    runs_on: ClassVar[frozenset[str]] = frozenset({"simulated"})
    leaves_artifact: ClassVar[bool] = True
    python: ClassVar[str | None] = None
    preload: ClassVar[tuple[str, ...]] = ()

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on every device
        """Refuse nothing."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Version of this program, which contains the formula."""
        return {"simulated": metadata.version(libraries.DISTRIBUTION)}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Write the latency to a file."""
        self._fail_in("compile")
        law = {"latency_ms": self._latency_ms(workload), "token_ms": self.token_ms * _SPEED[self.fast_math]}
        (folder / "law.json").write_text(json.dumps(law), encoding="utf-8")
        return CompileReport(subgraphs=1, graph_breaks=0, ops_on_device_fraction=1.0)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Return a session whose calls advance its own clock."""
        assert folder is not None  # noqa: S101 - leaves_artifact
        self._fail_in("load")
        law = json.loads((folder / "law.json").read_text(encoding="utf-8"))
        latency_ns, token_ns = law["latency_ms"] * 1e6, law["token_ms"] * 1e6
        spread = random.Random(workload.shape.batch_size)  # noqa: S311 - no secret
        now = calls = 0
        output = workload.shape.output_length or 1

        def first_token() -> None:
            nonlocal now, calls
            self._fail_in("call")
            now += round(latency_ns * max(0.1, spread.gauss(1, self.jitter)))
            calls += 1
            if self.stall_calls and calls % self.stall_calls == 0:
                now += round(self.stall_ms * 1e6)

        def generate(tokens: int) -> list[int]:
            nonlocal now
            began = now
            first_token()
            moments = [now - began + round(more * token_ns) for more in range(tokens)]
            now = began + moments[-1]
            return moments

        def run() -> Any:
            generate(output)
            return ()

        arithmetic = Arithmetic(
            model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast=self.fast_math
        )
        return Session(
            run=run,
            arithmetic=arithmetic,
            clock=lambda: now,
            generate=generate if workload.shape.output_length else None,
        )

    def _latency_ms(self, workload: Workload) -> float:
        shape = workload.shape
        tokens = (shape.sequence_length or shape.input_length or _TOKENS) / _TOKENS
        return (self.call_ms + self.item_ms * workload.shape.batch_size * tokens) * _SPEED[self.fast_math]

    def _fail_in(self, stage: str) -> None:
        """Fail, if this is the stage of the fault."""
        if self.fault == "none" or stage != self.fault_stage:
            return
        if self.fault == "unsupported_op":
            raise UnsupportedOperator("simulated: aten::imagined has no kernel")
        if self.fault == "raise":
            raise RuntimeError(f"simulated fault {self.fault!r}")
        if machine.command_pid() == os.getpid():
            raise RuntimeError(f"fault={self.fault} would end this program: set hardware.isolated=true")
        _END[self.fault]()


def _eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(64 << 20))


def _hang() -> None:
    while True:
        time.sleep(3600)


_END: dict[Fault, Any] = {
    "abort": os.abort,
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "hang": _hang,
    "eat_memory": _eat_memory,
}

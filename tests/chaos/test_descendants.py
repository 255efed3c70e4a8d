"""What a child has started ends with it, however the child ends: compilers start compilers."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing, nullcontext

import pytest

from benchmark.errors import RunFailure
from benchmark.execution.forkserver import ChildLimits, Forkserver
from tests.chaos.survivors import marked, survivors

pytestmark = pytest.mark.chaos


def compile_with_help(environment, ending):
    """In the child: start a process that would go on for a minute, then end in the way that is asked for."""
    subprocess.Popen(["sleep", "60"], env=environment)
    if ending == "raises":
        raise RuntimeError(ending)
    if ending == "dies":
        os._exit(3)
    while ending == "hangs":
        time.sleep(60)


@pytest.mark.parametrize("ending", ["returns", "raises", "dies", "hangs"])
def test_what_a_compiler_started_ends_with_its_child(tmp_path, ending):
    environment, mark = marked()
    limits = ChildLimits(log=tmp_path / "child.log", timeout_s=0.7 if ending == "hangs" else 30)
    with (
        closing(Forkserver([])) as server,
        nullcontext() if ending == "returns" else pytest.raises(RunFailure),
    ):
        server.call(limits, compile_with_help, environment, ending)
    assert survivors(mark) == []

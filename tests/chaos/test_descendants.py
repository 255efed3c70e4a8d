"""What a child has started ends with it, however the child ends: compilers start compilers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from benchmark.errors import RunFailure
from benchmark.execution.forkserver import ChildLimits, Forkserver
from tests.chaos.survivors import alive, marked, survivors, wait_for

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


COMPILE = """
import os, sys
from pathlib import Path
from benchmark.execution.forkserver import Forkserver
from benchmark.execution.forkserver import ChildLimits
from tests.chaos.test_descendants import compile_with_help

limits = ChildLimits(log=Path(sys.argv[1]), timeout_s=60)
Forkserver([]).call(limits, compile_with_help, dict(os.environ), "hangs")
"""


def test_nothing_survives_a_parent_that_is_killed_while_a_compiler_works(tmp_path):
    environment, mark = marked()
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    parent = subprocess.Popen([sys.executable, "-c", COMPILE, str(tmp_path / "child.log")], env=environment)
    try:
        wait_for(lambda: any("sleep" in Path(f"/proc/{found}/comm").read_text() for found in alive(mark)))
        assert len(alive(mark)) >= 4  # parent, forkserver, child, and what it started
    finally:
        parent.kill()
        parent.wait()
    assert survivors(mark) == []

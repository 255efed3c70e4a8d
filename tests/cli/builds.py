"""Interpreters that stand for other builds of this program."""

from __future__ import annotations

import sys

SLOWER = f"""#!{sys.executable}
import dataclasses, runpy
from benchmark.compilers.simulated import Simulated
honest = Simulated.load
def slower(self, workload, folder):
    session = honest(self, workload, folder)
    return dataclasses.replace(session, clock=lambda: 11 * session.clock() // 10)
Simulated.load = slower
runpy.run_module("benchmark.cli.side", run_name="__main__", alter_sys=True)
"""
"""A build that is 10 % slower on the simulated device."""


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)

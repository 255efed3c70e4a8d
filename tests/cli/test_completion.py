"""Tab completion: verbs and options by the parser, overrides by Hydra, under the command `benchmark`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("benchmark model=bert_t", {"model=bert_tiny"}),
        ("benchmark -m model=bert_t", {"model=bert_tiny"}),
        ("benchmark plan experiment=nig", {"experiment=nightly"}),
        ("benchmark re", {"replay", "report", "results", "report="}),
        ("benchmark results --so", {"--sort"}),
        ("benchmark plan --js", {"--json"}),
        ("benchmark store im", {"import"}),
        ("benchmark nightly ", {"check", "recipe", "timeline"}),
        ("benchmark results model=bert_t", set()),
    ],
)
def test_what_may_come_next_is_offered(tmp_path, typed, offered):
    command = Path(sys.executable).with_name("benchmark")
    ran = subprocess.run(
        [command, "-sc", "query=bash"],
        cwd=tmp_path,
        env={**os.environ, "COMP_LINE": typed, "COMP_POINT": str(len(typed))},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(ran.stdout.split()) == offered

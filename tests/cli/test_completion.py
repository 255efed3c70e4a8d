"""Tab completion is Hydra's own, under the command `benchmark`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("benchmark model=bert_t", {"model=bert_tiny"}), ("benchmark experiment=nig", {"experiment=nightly"})],
)
def test_the_names_of_a_group_are_offered(tmp_path, typed, offered):
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

"""Start a grid: the libraries of its children load while this process loads its own and plans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmark.config.experiment import Experiment
from benchmark.config.grid import Excluded
from benchmark.execution.preload import can_run, distinct, interpreters
from benchmark.paths import CampaignPaths


def start(experiments: Sequence[Experiment], excluded: tuple[Excluded, ...] = ()) -> int:
    """Run a grid; the libraries of its children load while this process loads its own and plans."""
    with interpreters(experiments) as children:
        if any(map(can_run, distinct(experiments))) and not _is_finished(experiments[0]):
            children.start()
        from benchmark.cli.run import run_grid

        return run_grid(experiments, excluded, children)


def _is_finished(e: Experiment) -> bool:
    """Whether the last command of this campaign left nothing to run: then this one has no work either."""
    with suppress(OSError, ValueError, KeyError, IndexError):
        newest = CampaignPaths(folder=Path(e.output_folder)).all_progress[-1]
        state = json.loads(newest.read_bytes())
        return state["state"] == "done" and state["remaining"] == 0 and e.run in {"missing", "stale"}
    return False

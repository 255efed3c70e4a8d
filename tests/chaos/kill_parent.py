"""A drill: a grid is killed with SIGKILL at random moments, again and again, and must lose nothing.

By hand: python -m tests.chaos.kill_parent --times 50 --seed 0

After each kill: rows are readable by pandas, every cell that the program called finished has its row, no run
has two, and no process of it is alive two seconds later. The next start resumes the same campaign; in the end
every cell is ok exactly once and the cache holds nothing half-built.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from tests.chaos.survivors import marked, survivors

CELLS = 6
GRID = (
    "-m",
    "hardware=simulated",
    "hardware.isolated=true",
    "compiler.jitter=0.05",
    "compiler.fast_math=none,all",
    "batch=1,2,4",
    "sampling=quick",
    "sampling.repeats=1",
)
FINISHED = re.compile(r"^\[\d+/\d+\] (.+): (\w+) ", re.MULTILINE)
"""A line that calls a cell finished: its label and its status."""
BEFORE_PLANNING_S, GRID_S = 0.8, 0.6
"""Kills fall within so many seconds from the start, or from the announcement of the grid."""


class Campaign:
    """One campaign in a folder of its own: killed, resumed, killed again."""

    def __init__(self, folder):
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.store = folder / "outputs" / "results-simulated"
        self.out = folder / "out.txt"

    def start(self):
        environment, self.mark = marked()
        command = [sys.executable, "-m", "benchmark", *GRID, "campaign=drill"]
        with self.out.open("w") as out:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=out, stderr=out)

    def announced(self):
        return re.search(r"^\d+ cells", self.out.read_text(), re.MULTILINE)

    def kill(self, moment):
        """Kill at a random moment; say when that was, or None if the program was done before."""
        if early := moment.random() < 0.2:
            time.sleep(moment.uniform(0, BEFORE_PLANNING_S))
        else:
            while self.process.poll() is None and not self.announced():
                time.sleep(0.005)
            time.sleep(moment.uniform(0, GRID_S))
        self.process.kill()
        if self.process.wait() >= 0:
            return None
        return "before the plan" if early and not self.announced() else "amid the grid"

    def finish(self):
        """Let it run to its end."""
        self.process.wait(120)

    def finished(self):
        """Labels that the program called finished, with their status."""
        return dict(FINISHED.findall(self.out.read_text()))

    def rows(self):
        """Every row as pandas reads the folder, by label."""
        if not any(self.store.glob("*.parquet")):
            return pd.DataFrame(columns=["run_id", "status"])
        columns = [
            "run_id",
            "status",
            "model",
            "hardware",
            "compiler",
            "fast_math",
            "batch_size",
            "sequence_length",
        ]
        frame = pd.read_parquet(self.store, columns=columns)
        names = frame["model"] + " " + frame["hardware"] + " " + frame["compiler"] + " " + frame["fast_math"]
        axes = " b" + frame["batch_size"].astype("Int64").astype("string")
        lengths = " s" + frame["sequence_length"].astype("Int64").astype("string")
        return frame.set_index(names.astype("string") + axes + lengths)

    def is_compacting(self):
        return any((self.store.parent / f".{self.store.name}" / "journal").glob("*"))


def wrong_after_kill(campaign):
    """What is not as promised, in words."""
    rows = campaign.rows()
    lost = {label: status for label, status in campaign.finished().items() if label not in rows.index}
    twice = rows["run_id"][rows["run_id"].duplicated()].tolist()
    left = survivors(campaign.mark)
    return [
        *([f"called finished, but without a row: {lost}"] if lost else []),
        *([f"two rows of one run: {twice}"] if twice and not campaign.is_compacting() else []),
        *([f"still alive: {left}"] if left else []),
    ]


def wrong_at_the_end(campaign):
    """What a campaign that was left to finish lacks, in words."""
    rows = campaign.rows()
    abandoned = list((campaign.folder / "compile_cache" / ".tmp").iterdir())
    left = survivors(campaign.mark)
    return [
        *([f"exit code {campaign.process.returncode}"] if campaign.process.returncode else []),
        *([f"{rows['run_id'].nunique()} of {CELLS} cells"] if rows["run_id"].nunique() != CELLS else []),
        *([f"{len(rows)} rows for {CELLS} cells"] if len(rows) != CELLS else []),
        *([f"not all ok: {Counter(rows['status'])}"] if set(rows["status"]) != {"ok"} else []),
        *([f"half-built in the cache: {abandoned}"] if abandoned else []),
        *([f"still alive: {left}"] if left else []),
    ]


def drill(times, seed, folder):
    """Kill so many times; return how the kills fell, and everything that went wrong."""
    moment, kills, wrong = random.Random(seed), Counter(), []  # noqa: S311 - no secret
    campaigns = itertools.count()
    while kills.total() < times:
        campaign = Campaign(folder / f"campaign-{next(campaigns)}")  # one may end before it can be killed
        campaign.start()
        while kills.total() < times and (when := campaign.kill(moment)):
            kills[when] += 1
            wrong += wrong_after_kill(campaign)
            campaign.start()
        campaign.finish()
        wrong += wrong_at_the_end(campaign)
    return kills, wrong


def main():
    """Drill in a temporary folder; exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=50, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills, wrong = drill(asked.times, asked.seed, Path(folder))
    fell = ", ".join(f"{count} {when}" for when, count in sorted(kills.items()))
    print(*wrong, f"{kills.total()} kills ({fell}): {len(wrong)} broken promises", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

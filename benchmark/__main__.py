"""The command line: a verb goes to its parser, everything else to Hydra."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from benchmark.cli.mistakes import explained
from benchmark.cli.verbs import VERBS

CONF = str(Path(__file__).resolve().parents[1] / "conf")


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def measure(cfg: DictConfig) -> int:
    """Run one cell; a grid comes here only under a stock launcher, cell by cell."""
    from benchmark import config
    from benchmark.cli.run import run_grid

    composed = HydraConfig.get()
    code = run_grid([config.load(cfg, composed.overrides.task)])
    if composed.mode == RunMode.RUN:
        raise SystemExit(code)
    return code


def main() -> None:
    """Dispatch, and turn the user's mistakes into one line and exit code 1."""
    with explained():
        if len(sys.argv) > 1 and sys.argv[1] in VERBS:
            from benchmark.cli.app import app

            app(prog_name="python -m benchmark")
        # Hydra prints its own account of an exception unless this is set; ours is shorter and names the key.
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")
        measure()


if __name__ == "__main__":
    main()

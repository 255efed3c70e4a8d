"""The command line: a verb goes to its parser, everything else to Hydra."""

from __future__ import annotations

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from benchmark.cli.error_messages import explained
from benchmark.cli.verbs import VERBS, run_verb
from benchmark.config.folder import CONF


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def measure(cfg: DictConfig) -> int:
    """Run one cell; a grid comes here only under a stock launcher, cell by cell."""
    from benchmark.cli.start import start
    from benchmark.config import experiment
    from benchmark.config.sweep import refuse_unread_algebra

    composed = HydraConfig.get()
    if composed.mode != RunMode.RUN:
        refuse_unread_algebra(cfg, composed.sweeper._target_)
        return start([experiment.load(cfg, composed.overrides.task)])
    with explained():  # here already: Hydra writes a line of its own about every error that reaches it
        refuse_unread_algebra(cfg, None)
        raise SystemExit(start([experiment.load(cfg, composed.overrides.task)]))


def main() -> None:
    """Dispatch, and turn the user's mistakes into one line and exit code 1."""
    with explained():
        if len(sys.argv) > 1 and sys.argv[1] in VERBS:
            run_verb()
        # Hydra prints its own account of an exception unless this is set; ours is shorter and names the key.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        flags = [word for word in sys.argv[1:] if word in {"-m", "--multirun"}]
        sys.argv[1:] = [
            *flags,
            *(word for word in sys.argv[1:] if word not in flags),
        ]  # Hydra wants them first
        measure()


if __name__ == "__main__":
    main()

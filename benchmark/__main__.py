"""The command line: a verb goes to its parser, everything else to Hydra."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from benchmark.cli import early, streams, usage
from benchmark.execution.server_connection import end_early
from benchmark.host import memory
from benchmark.report.sanitize import say

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = frozenset(
    "plan compile largest tune results matrix report best status explain lint replay compare "  # noqa: SIM905 - a list
    "nightly doctor cache store model server cluster".split()
)
"""By name only: deciding which parser gets the command must not cost the import of `cli.app`."""


def measure(cfg: DictConfig) -> int:
    """Run one cell. The cells of a grid come here only under a stock launcher, one by one."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from benchmark.cli.error_messages import explained
    from benchmark.cli.start import start
    from benchmark.config import experiment
    from benchmark.config.hydra_settings import (
        SWEEPER,
        refuse_choices,
        refuse_in_job,
        refuse_in_single_run,
    )
    from benchmark.errors import NotAllOk

    own: Any = HydraConfig.get()  # typed by Hydra as what it isn't: it is a DictConfig
    if own.output_subdir is not None:
        _hide_secrets(Path(own.runtime.output_dir, own.output_subdir))
    single = own.mode == RunMode.RUN
    # Inside Hydra, which prints a line of its own about every error that reaches it.
    with explained() if single else nullcontext():
        if single:
            refuse_in_single_run(cfg, own)
            refuse_choices(GlobalHydra.instance().config_loader(), own, own.overrides.task)
        else:
            refuse_in_job(cfg, own)
        variables = experiment.variables(own.job.env_set)
        code = start([experiment.load(cfg, own.overrides.task, variables)], in_a_grid=not single)
    if code and not single and own.sweeper._target_ != SWEEPER:
        raise NotAllOk(code)
    return code


def _hide_secrets(snapshot: Path) -> None:
    """Write the YAMLs of Hydra's snapshot again, without secrets."""
    from benchmark.paths import write_whole
    from benchmark.redaction import without_secrets

    for file in snapshot.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        if (hidden := without_secrets(text)) != text:
            write_whole(file, hidden.encode())


def run() -> int:
    """Run the cell or the grid of the command line; return the exit code."""
    import hydra

    from benchmark.config.first_look import looked_at_first
    from benchmark.config.folder import CONF
    from benchmark.errors import NotAllOk

    codes: list[int] = []  # Hydra drops what its task returns; a grid raises SystemExit from the sweeper

    def task(cfg: DictConfig) -> int:
        codes.append(measure(cfg))
        return codes[-1]

    try:
        with looked_at_first():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    except NotAllOk as ended:
        return ended.code
    return max(codes, default=0)  # none where only the configuration is shown


def run_verb() -> NoReturn:
    """Parse and run the verb of the command line; a mistake in its options is exit code 1."""
    import typer

    from benchmark.cli.app import app
    from benchmark.cli.terminal_log import TerminalHandler
    from benchmark.host import machine

    logging.lastResort = TerminalHandler(logging.WARNING)  # a file's name may hold terminal codes too

    # click's UsageError, which newer typer ships under a name of its own
    usage_error: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]
    try:
        code = app(prog_name=machine.program(), standalone_mode=False)
    except usage_error as error:
        say(f"error: {error} (see {machine.program()} {sys.argv[1]} --help)", file=sys.stderr)
        raise SystemExit(1) from error
    except typer.Abort:
        raise SystemExit(130) from None
    raise SystemExit(code or 0)


def main() -> None:
    """Run the command; a mistake of the user becomes one line and exit code 1."""
    streams.make_usable()
    memory.keep_small()
    early.start(sys.argv[1:])
    try:
        from benchmark.cli.error_messages import explained

        with explained():
            sys.argv[1:] = usage.normal(sys.argv[1:], VERBS)
            if sys.argv[1:] and (sys.argv[1] in VERBS or sys.argv[1:] == ["--help"]):
                run_verb()
            if usage.answers(sys.argv[1:], VERBS):
                raise SystemExit(0)
            from benchmark.config.command_line import flags_first

            # Without this variable Hydra prints its own, longer account of an exception, which lacks the key.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            sys.argv[1:] = flags_first(sys.argv[1:])
            raise SystemExit(run())
    finally:
        end_early()


if __name__ == "__main__":
    main()

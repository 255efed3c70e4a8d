"""The verbs of the command line, by name alone: deciding who parses a command must not cost an import."""

from __future__ import annotations

import sys
from typing import NoReturn

VERBS = frozenset(
    "plan compile largest results matrix report best status explain lint replay compare "  # noqa: SIM905 - a list
    "nightly doctor cache store".split()
)


def run_verb() -> NoReturn:
    """Parse and run the verb on the command line; a mistake in its options is exit code 1."""
    import typer

    from benchmark.cli.app import app

    # click's UsageError, which newer typer ships under a name of its own
    usage_error: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]
    try:
        code = app(prog_name="python -m benchmark", standalone_mode=False)
    except usage_error as error:
        print(f"error: {error} (see python -m benchmark {sys.argv[1]} --help)", file=sys.stderr)
        raise SystemExit(1) from error
    except typer.Abort:
        raise SystemExit(130) from None
    raise SystemExit(code or 0)

"""The parser of the verbs. `__main__` sends it the commands whose first word is in its VERBS."""

from __future__ import annotations

import typer

from benchmark.cli import cache, md_option, model, server, store
from benchmark.cli.best import best
from benchmark.cli.compare import compare
from benchmark.cli.compile import compile_
from benchmark.cli.doctor import doctor
from benchmark.cli.explain import explain
from benchmark.cli.largest import largest
from benchmark.cli.lint import lint
from benchmark.cli.matrix import matrix
from benchmark.cli.nightly import app as nightly
from benchmark.cli.plan import plan
from benchmark.cli.replay import replay
from benchmark.cli.report import report
from benchmark.cli.results import results
from benchmark.cli.status import status

app = typer.Typer(
    help="Verbs. A run has no verb and takes Hydra overrides: python -m benchmark --help",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(plan)
app.command("compile", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(compile_)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(largest)
app.command()(results)
app.command()(matrix)
app.command()(report)
app.command()(best)
app.command()(status)
app.command()(explain)
app.command()(lint)
app.command()(replay)
app.command(cls=md_option.WithFile)(compare)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(doctor)
app.add_typer(cache.app, name="cache")
app.add_typer(model.app, name="model")
app.add_typer(nightly.app, name="nightly")
app.add_typer(server.app, name="server")
app.add_typer(store.app, name="store")

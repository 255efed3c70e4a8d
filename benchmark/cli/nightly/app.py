"""`nightly`: find series that became slower in a night, confirm them by interleaved reruns, draw charts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.analysis.nights import failed, judged_series, keep, kept, nights_of
from benchmark.cli import md_option
from benchmark.cli.compare import REGRESSION
from benchmark.cli.nightly import output, recipe
from benchmark.cli.nightly.charts import draw, draw_all, suspects
from benchmark.cli.nightly.reruns import Reruns
from benchmark.cli.replay import TRUST
from benchmark.errors import BenchmarkError, ConfigError
from benchmark.formatting import counted
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.stats.regression_detector import NightlyDetector
from benchmark.stats.regression_evidence import NIGHTS
from benchmark.store.results import DEFAULT_ROOT, ResultsStore
from benchmark.store.selection import JUDGE_SIMULATED

app = typer.Typer(help="Find and confirm slow-downs from night to night.", no_args_is_help=True)

_ACCEPTED = "Python of the last accepted build. Without it suspicions are listed, but none is confirmed."
_ROWS = "Conditions on rows, as for `results`."
_STORE = "Folder or URL that holds the rows."


@app.command(cls=md_option.WithFile)
def check(  # noqa: PLR0913, PLR0917 - a command line has that many
    condition: Annotated[list[str] | None, typer.Argument(help=_ROWS)] = None,
    store: Annotated[str, typer.Option(help=_STORE)] = DEFAULT_ROOT,
    night: Annotated[
        str, typer.Option(metavar="CAMPAIGN", help="Judge this campaign instead of the last.")
    ] = "",
    accepted_python: Annotated[str, typer.Option(metavar="PATH", help=_ACCEPTED)] = "",
    candidate_python: Annotated[
        str, typer.Option(metavar="PATH", help="Python of the new build.", show_default="this one")
    ] = sys.executable,
    turns: Annotated[int, typer.Option(min=1, help="Blocks of calls in each process.")] = 20,
    calls: Annotated[int, typer.Option(min=1, help="Most calls per block; slow ones: 0.25 s.")] = 40,
    trust: Annotated[bool, typer.Option("--trust", help=TRUST)] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help=JUDGE_SIMULATED)] = False,
    md: Annotated[str, typer.Option(metavar="[FILE]", help=md_option.MD, show_default=False)] = "",
    plot: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for charts of suspicious series.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Find series that became slower in the last campaign of the store.

    A campaign with at least half of its series counts as a night; nights are ordered by their start.
    A series is suspicious if it is slower than in the thirty nights before.
    It is then rerun: fresh processes of the accepted and the new build alternate.
    Exit code 3: a slow-down is confirmed.
    """
    md_option.refuse(md, as_json=as_json)
    aside = as_json or md == md_option.STDOUT
    console = Screen(stderr=aside)
    rows, text = ResultsStore(store), " ".join(condition or ())
    for name, python in (("--accepted-python", accepted_python), ("--candidate-python", candidate_python)):
        if python and not shutil.which(python):
            raise ConfigError(
                f"{name} {python}: no such program: make the build's environment, or leave it out"
            )
    nights, no_nights = nights_of(rows, text, night, simulated=simulated)
    detector = NightlyDetector()
    for number, past in enumerate(nights[:-1]):
        detector.learn(number, past.data, kept(rows, past.campaign))
    tonight = nights[-1]
    pythons = accepted_python, candidate_python
    with Reruns(tonight, pythons, (turns, calls), console, trust=trust) as reruns:
        alarmed = list(detector.night(len(nights) - 1, tonight.data, reruns.rerun))
    if accepted_python:
        keep(rows, tonight.campaign, detector.findings)
    checked = output.Checked(
        nights=nights,
        findings=detector.findings,
        failed=failed(rows, text, tonight),
        confirming=bool(accepted_python),
        judged=judged_series(nights, detector.least_nights),
        needed=detector.least_nights + NIGHTS,
        no_nights=no_nights,
        sides=reruns.sides,
    )
    output.show(checked, console, as_json=as_json)
    md_option.put(output.summary(checked, plot), md)
    md_option.annotate(output.marks(checked), aside=aside)
    if plot and detector.findings:
        try:
            draw(Path(plot), nights, rows, suspects(detector.findings))
        except (BenchmarkError, OSError) as error:  # the verdict and its exit code stay
            console.print(f"no charts: {error}", style="red", markup=False, highlight=False)
    return REGRESSION if alarmed else 0


@app.command()
def timeline(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for the charts.")],
    condition: Annotated[list[str] | None, typer.Argument(help=_ROWS)] = None,
    store: Annotated[str, typer.Option(help=_STORE)] = DEFAULT_ROOT,
    night: Annotated[str, typer.Option(metavar="CAMPAIGN", help="Draw nights up to this one.")] = "",
    simulated: Annotated[bool, typer.Option("--simulated", help=JUDGE_SIMULATED)] = False,
) -> None:
    """Draw series over the nights: each process, the usual spread, and confirmed slow-downs.

    With conditions: all series that they select, as small multiples.
    Without: the series that the night's check suspected, or all series if none.
    """
    rows, text = ResultsStore(store), " ".join(condition or ())
    nights, no_nights = nights_of(rows, text, night, simulated=simulated)
    stored = () if text else kept(rows, nights[-1].campaign)
    findings = [one for one in stored if one.series in {*nights[-1].rows["series"]}]
    left_out = 0
    if findings:
        files = draw(Path(out), nights, rows, suspects(findings))
    else:
        files, left_out = draw_all(Path(out), nights, rows)
    for file in files:
        say(file)
    if no_nights:
        say(f"not drawn: {counted(no_nights, 'campaign')} with fewer than half of the last one's series")
    if left_out:
        say(f"{left_out} series that changed less are left out: select them by conditions")


app.command("recipe")(recipe.recipe)

"""`nightly`: which series the last night made slower, confirmed by fresh runs in turns; charts; recipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmark.analysis.nights import Night, can_judge, failed, keep, kept, nights_of
from benchmark.cli import md_option
from benchmark.cli.compare import REGRESSION
from benchmark.cli.nightly import output, recipe
from benchmark.cli.nightly.charts import draw, draw_all, suspects
from benchmark.cli.nightly.reruns import Reruns
from benchmark.errors import BenchmarkError
from benchmark.stats.regression_detector import NightlyDetector
from benchmark.store.results import DEFAULT_ROOT, ResultsStore
from benchmark.store.selection import JUDGE_SIMULATED

app = typer.Typer(help="What the nights of the store tell.", no_args_is_help=True)

_ACCEPTED = "Interpreter with the last accepted build; without it suspects are told, but none is confirmed."
_ROWS = "Rows to look at, as `results` takes."
_STORE = "Folder or URL that holds the rows."


@app.command(cls=md_option.WithFile)
def check(  # noqa: PLR0913, PLR0917 - a command line has that many
    condition: Annotated[list[str] | None, typer.Argument(help=_ROWS)] = None,
    store: Annotated[str, typer.Option(help=_STORE)] = DEFAULT_ROOT,
    night: Annotated[str, typer.Option(metavar="CAMPAIGN", help="Judge this one, not the last.")] = "",
    accepted_python: Annotated[str, typer.Option(metavar="PATH", help=_ACCEPTED)] = "",
    candidate_python: Annotated[
        str, typer.Option(metavar="PATH", help="Interpreter with the new build.", show_default="this one")
    ] = sys.executable,
    turns: Annotated[int, typer.Option(min=1, help="Blocks of calls of each process.")] = 20,
    calls: Annotated[int, typer.Option(min=1, help="Calls of a block at most; slow ones: 0.25 s.")] = 40,
    simulated: Annotated[bool, typer.Option("--simulated", help=JUDGE_SIMULATED)] = False,
    md: Annotated[str, typer.Option(metavar="[FILE]", help=md_option.MD, show_default=False)] = "",
    plot: Annotated[str, typer.Option(metavar="FOLDER", help="Draw the nights of the suspects there.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Look for series that the last campaign of the store made slower.

    A campaign is a night, in the order of their starts. Suspects, by the thirty nights before, are run anew:
    fresh processes of the accepted and of the new build, in turns. Exit code 3: a slow-down is confirmed.
    """
    md_option.refuse(md, as_json=as_json)
    aside = as_json or md == md_option.STDOUT
    console = Console(stderr=aside)
    rows, text = ResultsStore(store), " ".join(condition or ())
    nights = nights_of(rows, text, night, simulated=simulated)
    detector = NightlyDetector()
    for number, past in enumerate(nights[:-1]):
        detector.learn(number, past.data, kept(rows, past.campaign))
    tonight = nights[-1]
    with Reruns(tonight, (accepted_python, candidate_python), (turns, calls), console) as reruns:
        alarmed = list(detector.night(len(nights) - 1, tonight.data, reruns.rerun))
    if accepted_python:
        keep(rows, tonight.campaign, detector.findings)
    checked = output.Checked(
        nights=nights,
        findings=detector.findings,
        failed=failed(rows, text, tonight),
        confirming=bool(accepted_python),
        judged=can_judge(nights, detector.least_nights),
        sides=reruns.sides,
    )
    output.show(checked, console, as_json=as_json)
    md_option.put(output.summary(checked, plot), md)
    md_option.annotate(output.marks(checked), aside=aside)
    if plot and detector.findings:
        try:
            draw(Path(plot), nights, rows, suspects(detector.findings))
        except (BenchmarkError, OSError) as error:  # the verdict stands, and its exit code tells it
            console.print(f"no charts: {error}", style="red", markup=False, highlight=False)
    return REGRESSION if alarmed else 0


@app.command()
def timeline(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Where the charts go.")],
    condition: Annotated[list[str] | None, typer.Argument(help=_ROWS)] = None,
    store: Annotated[str, typer.Option(help=_STORE)] = DEFAULT_ROOT,
    night: Annotated[str, typer.Option(metavar="CAMPAIGN", help="Up to this one, not the last.")] = "",
    simulated: Annotated[bool, typer.Option("--simulated", help=JUDGE_SIMULATED)] = False,
) -> None:
    """Draw the nights of series: every process, what spread is usual, and confirmed slow-downs.

    With conditions all series that they choose, as small multiples; without, what the night's check
    suspected, or all series where it suspected none.
    """
    rows, text = ResultsStore(store), " ".join(condition or ())
    nights = nights_of(rows, text, night, simulated=simulated)
    found = () if text else [one for one in kept(rows, nights[-1].campaign) if _is_there(one.series, nights)]
    left_out = 0
    if found:
        files = draw(Path(out), nights, rows, suspects(found))
    else:
        files, left_out = draw_all(Path(out), nights, rows)
    for file in files:
        print(file)
    if left_out:
        print(f"{left_out} series that changed less are left out: conditions choose among them")


def _is_there(series: str, nights: list[Night]) -> bool:
    return series in {*nights[-1].rows["series"]}


app.command("recipe")(recipe.recipe)

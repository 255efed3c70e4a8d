"""`replay`: run the configuration of a stored run again, and compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow.compute as pc
import typer

from benchmark.cell import cell_of
from benchmark.cli import named_by_row
from benchmark.cli.explain import RUN_ID, as_line, full_id, newest, stored
from benchmark.cli.start import start
from benchmark.config.experiment import NOT_OF_A_CELL, Experiment, Gate
from benchmark.config.sweep import grid
from benchmark.errors import ConfigError
from benchmark.host import machine
from benchmark.paths import at_home
from benchmark.records import Row
from benchmark.report.display.explanation import explain, print_differences
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.store.results import DEFAULT_ROOT, ResultsStore

_CAMPAIGN = "Name of the new run's campaign; else replay-, the run's first characters, and the time."
_JSON = "Print what `explain --json` prints, the stored run as `previous`: on the last line, after progress."
TRUST = "Use interpreters, files and environment variables that stored rows name."
_ID_HEAD = 8
_OWN = {"campaign", "run", "output_folder", "store.root", "cache.root", "cache.remote"}
"""Keys that a replay sets itself."""


def replay(  # noqa: PLR0913, PLR0917 - a command line has that many
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help=RUN_ID)],
    campaign: Annotated[str, typer.Option(metavar="NAME", help=_CAMPAIGN)] = "",
    store: Annotated[
        str, typer.Option(help="Where the run is looked up, and the new row goes.")
    ] = DEFAULT_ROOT,
    cache: Annotated[str, typer.Option(help="Folder of the compile cache; else that of the run.")] = "",
    trust: Annotated[bool, typer.Option("--trust", help=TRUST)] = False,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON)] = False,
) -> int:
    """Run the configuration of a stored run again, in a campaign of its own, and say what differs.

    What the row names beside today's configuration (an interpreter, a file, an
    environment variable) is used only with --trust.

    The exit code is that of a run: 0 where the new run is ok, 2 where it failed.
    """
    rows, console = ResultsStore(store), Screen()
    old = stored(rows, full_id(rows, run_id))
    experiment = configured_as(old, campaign, store, cache, trust=trust)
    for name, value in experiment.environment.items():
        console.print(f"{name}={value}, as in the run", markup=False, highlight=False, soft_wrap=True)
    cell_id, before = cell_of(experiment).cell_id, rows.highest_sequence()
    if cell_id != old.values["cell_id"]:
        console.print(
            "the program has changed since: the same configuration is another cell now", markup=False
        )
    code = start([experiment])
    mine = (pc.field("campaign") == experiment.campaign) & (pc.field("cell_id") == cell_id)
    new = newest(rows, mine & (pc.field("sequence") > before))
    if as_json:
        say(as_line(explain(new, old)) if new else json.dumps(None))
    elif new:
        print_differences(explain(new, old), "the run that was replayed", console=console)
        if {new.status, old.status} == {"ok"}:
            console.print(f"\n{_caution(old, new)}", markup=False, highlight=False)
    return code


def _caution(old: Row, new: Row) -> str:
    """Why a difference between two runs proves nothing."""
    doubtful = [name for name, row in (("old", old), ("new", new)) if _is_doubtful(row)]
    noisy = f", and {'both were' if doubtful[1:] else f'the {doubtful[0]} one was'} noisy" if doubtful else ""
    return (
        f"Not a verdict: one process against one{noisy}. `compare --run` measures in turns, with an interval."
    )


def _is_doubtful(row: Row) -> bool:
    return bool(row.values.get("noise_flags")) or row.values.get("steady") is False


def configured_as(old: Row, campaign: str, store: str, cache: str, *, trust: bool = False) -> Experiment:
    """The experiment of a stored run, in the given campaign and places; an empty text takes the default.

    Environment variables that the row has with another value than this command are set.

    Raises:
        ConfigError: the row holds no configuration, names what isn't trusted, today's program refuses it, or
            the campaign is the run's.
    """
    run_id = str(old.values["run_id"])
    then = _stored(old)
    if not then:
        raise ConfigError(f"run {run_id} has no configuration (imported rows have none): run it by overrides")
    if campaign == old.values["campaign"]:
        raise ConfigError(
            f"--campaign {campaign} is that of run {run_id} itself: choose another to keep both rows"
        )
    (today,) = grid([])
    now = json.loads(today.resolved)
    raw = _overlaid(now, then)
    raw["campaign"] = campaign or f"replay-{run_id[:_ID_HEAD]}-{today.campaign}"
    raw |= {"run": "all", "output_folder": at_home(f"outputs/{raw['campaign']}")}
    raw["store"] = {"root": store}
    if cache:
        raw["cache"] = {"root": cache}
    if isinstance(raw["sampling"], Mapping):
        raw["sampling"] = {**raw["sampling"], "repeats": 1}  # a run is one process
    settings = machine.speed_settings()
    variables = {
        str(name): str(value)
        for name, value in dict(old.values.get("environment_variables") or ()).items()
        if settings.get(name) != value
    }
    if not trust:
        usual = {**now, **({"cache": raw["cache"]} if cache else {})}
        named_by_row.refuse_named(run_id, raw, usual, variables)
    kept = [word for word in old.values["overrides"] or () if word.partition("=")[0] not in _OWN]
    try:
        return Gate().experiment(raw, [*kept, f"campaign={raw['campaign']}"], variables)
    except ConfigError as error:
        if str(error).startswith("campaign="):  # the mistake is in the option
            raise
        raise ConfigError(
            f"run {run_id} was configured for another version of this program: run it by overrides instead, "
            f"{' '.join(kept) or 'all defaults'}, and correct these\n{error}"
        ) from error


def _stored(old: Row) -> dict[str, Any]:
    """The configuration of a row, with sections as today's program has them; it resolves nothing in them."""
    try:
        then = json.loads(old.values["config"] or "{}")
        sections = {key: value for key, value in then.items() if key not in NOT_OF_A_CELL}
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"run {old.values['run_id']}: its configuration is no JSON object: run it by overrides"
        ) from error
    return sections


def _overlaid(today: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration, completed with today's defaults for keys that are newer."""
    merged = {**today, **then}
    for key, section in then.items():
        if isinstance(section, Mapping) and not _chosen(section) and isinstance(today.get(key), Mapping):
            merged[key] = {**today[key], **section}
    return merged


def _chosen(section: Mapping[str, Any]) -> bool:
    """Whether a section is a model or a plug-in: keys of another one can't complete it."""
    return "_target_" in section or "name" in section

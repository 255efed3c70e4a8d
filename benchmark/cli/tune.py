"""`tune`: the best cell of a grid within limits, without measuring the whole grid."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer
from rich.console import Console

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import Plan
from benchmark.cli.progress import duration
from benchmark.cli.race_display import RaceDisplay, standing_line
from benchmark.cli.run import (
    INTERRUPTED,
    OK,
    OUT_OF_BUDGET,
    SOME_FAILED,
    again,
    being_done,
    stoppable,
    workers_of,
)
from benchmark.cli.start import hosts
from benchmark.cli.tune_space import (
    Accuracies,
    Space,
    accuracies,
    composed,
    proposals,
    refuse_short,
    space,
)
from benchmark.config.experiment import Experiment
from benchmark.errors import ConfigError
from benchmark.formatting import counted, finite
from benchmark.identity import options_of
from benchmark.paths import CampaignPaths
from benchmark.pipeline import race_log
from benchmark.pipeline.budget import BudgetTracker, Ending
from benchmark.pipeline.engine import Engine
from benchmark.pipeline.estimate import Estimate, Forecast
from benchmark.pipeline.looks import Looks, Objective, Wanted, numbered
from benchmark.pipeline.progress import GridProgress
from benchmark.pipeline.race_log import RaceLog
from benchmark.pipeline.services import Services
from benchmark.pipeline.time_left import TimeLeft
from benchmark.records import frozen
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.store.results import ResultsStore
from benchmark.tuning.candidates import Question
from benchmark.tuning.proposals import MOST, Proposals
from benchmark.tuning.race import Race, Round
from benchmark.tuning.verdict import Setting, Verdict, figure, verdict

_OBJECTIVE: Final = "latency (p50 of a call), throughput, usd (cost per million), or two: latency,usd."


@frozen
class Request:
    """What the command line asks."""

    wanted: Wanted
    question: Question
    accuracy_floor: float | None
    budget_s: float | None
    """Seconds that looks and compilations may take, those of earlier commands in this campaign too."""


def tune(  # noqa: PLR0913, PLR0917 - a command line has that many
    context: typer.Context,
    objective: Annotated[str, typer.Option(help=f"What is optimised: {_OBJECTIVE}")] = "latency",
    p95_ms: Annotated[float | None, typer.Option(help="Highest p95 of a call.")] = None,
    cosine_floor: Annotated[float | None, typer.Option(help="Lowest cosine to fp32.")] = None,
    accuracy_floor: Annotated[
        float | None, typer.Option(help="Lowest accuracy, 0 to 1, by stored rows of scenario=accuracy.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Relative difference that doesn't matter.")] = 0.02,
    minutes: Annotated[
        float | None, typer.Option(help="Most minutes for looks and compilations; without it: until decided.")
    ] = None,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Show the space, what is known of it, and its cost. Run nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as JSON, on the last line.")
    ] = False,
) -> int:
    """Find the best cell of a grid without measuring the whole grid: OVERRIDES of a run, swept as after -m.

    All cells take short looks (sampling=look) in common rounds. A cell is dropped when it is surely worse
    than the leader by more than the tolerance, or surely outside a limit. A look is a row like any other: the
    same command with the same campaign= goes on where it stopped. `report tune campaign=NAME` draws the race.

    Exit code 0: decided. 2: no cell keeps the limits. 4: the minutes ended before the decision.
    """
    request = _request(objective, p95_ms, cosine_floor, accuracy_floor, tolerance, minutes)
    grid = composed(context.args, request.wanted)
    console = Screen()
    with hosts(grid, reads_only=only_plan) as (experiments, engine):
        found = space(experiments, request.wanted, engine.look)
        if only_plan:
            _show_plan(found, request, as_json=as_json)
            return OK
        refuse_short(found, request.budget_s)
        floor = request.accuracy_floor
        judged = Accuracies() if floor is None else accuracies(found, floor)
        race, spent, ending = _run(found, request, judged, engine, console)
    setting = _setting(found, request, race, spent.used_s, judged)
    answer = verdict(race, setting)
    if as_json:
        say(json.dumps(_object(found, request, race, setting, answer, spent.made_s)))
    else:
        console.print(answer.sentence, markup=False, highlight=False, soft_wrap=True)
    if ending == "interrupted":
        line = f"to resume: {again(found.first.campaign)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        return INTERRUPTED
    if not answer.winners and not race.standing.waiting:
        return SOME_FAILED
    return OK if answer.decided else OUT_OF_BUDGET


def _request(  # noqa: PLR0913, PLR0917
    objective: str,
    p95_ms: float | None,
    cosine_floor: float | None,
    accuracy_floor: float | None,
    tolerance: float,
    minutes: float | None,
) -> Request:
    """Typed options.

    Raises:
        ConfigError: an option has a value that makes no sense.
    """
    known: tuple[Objective, ...] = get_args(Objective)
    named = objective.split(",")
    objectives = tuple(one for name in named for one in known if one == name)
    if not 1 <= len({*objectives}) == len(named) <= 2:  # noqa: PLR2004 - a front has two
        raise ConfigError(f"--objective {objective}: should be one of {', '.join(known)}, or two of them")
    for name, number in (("p95-ms", p95_ms), ("minutes", minutes), ("tolerance", tolerance)):
        if number is not None and not 0 < number < math.inf:
            raise ConfigError(f"--{name} {number:g}: must be above 0")
    for name, number, least in (("cosine-floor", cosine_floor, -1), ("accuracy-floor", accuracy_floor, 0)):
        if number is not None and not least <= number <= 1:
            raise ConfigError(f"--{name} {number:g}: must be from {least} to 1")
    return Request(
        wanted=Wanted(objectives=objectives, cosine_floor=cosine_floor, p95=p95_ms is not None),
        question=Question(objectives=len(objectives), tolerance=tolerance, p95_ms=p95_ms),
        accuracy_floor=accuracy_floor,
        budget_s=None if minutes is None else 60 * minutes,
    )


def _run(
    found: Space, request: Request, judged: Accuracies, engine: Engine, console: Console
) -> tuple[Race, Looks, Ending]:
    """Run the race to its end, or until the user or the budget stops it."""
    first, wanted = found.first, request.wanted
    store, cache = ResultsStore(first.store_root), CompileCache(first.cache_root, first.cache_remote)
    names = [run.run_id for run in found.runs]
    asked = race_log.asked(request.question, wanted, names) | {"accuracy_floor": request.accuracy_floor}
    log = RaceLog(race_log.file_of(first.output_folder), asked, found.labels)
    candidates = log.candidates(found.candidates)
    for place in (store, cache):
        place.prepare()
    if any(run.cell.experiment.hardware.isolated for run in found.runs):
        engine.interpreters.start()
    sampler = proposals(found)
    race = Race(candidates, request.question, proposed=sampler is not None)
    for index, reason in judged.below.items():
        race.refuse(index, reason)
    limits = first.budget
    budget = BudgetTracker(limits)
    ending: Ending = "interrupted"
    with RaceDisplay(console) as display:
        runner = engine.runner(Services(store, cache, engine.interpreters, display, budget))
        looks = Looks(runner, store, found.runs, wanted)
        console.print(_announced(found), markup=False, highlight=False, soft_wrap=True)
        with stoppable(budget, partial(_being_done, display), console) as unstoppable:
            try:
                ending = _rounds(race, looks, found, request, judged, budget, log, display, sampler)
            except KeyboardInterrupt:
                pass
            finally:
                unstoppable()
                if display.state is not None:
                    display.state.finish(ending)
                store.compact()
    return race, looks, ending


def _rounds(  # noqa: PLR0913, PLR0917 - the parts of a race
    race: Race,
    looks: Looks,
    found: Space,
    request: Request,
    judged: Accuracies,
    budget: BudgetTracker,
    log: RaceLog,
    display: RaceDisplay,
    sampler: Proposals | None,
) -> Ending:
    workers = workers_of(found.first.launcher)
    while True:
        left_s = math.inf if request.budget_s is None else request.budget_s - looks.used_s
        if sampler is not None:
            race.propose(sampler.next(race.means()))
        turn = race.next_round(left_s)
        if turn is None:
            return "done"
        missing = looks.plan(turn)
        left = None if request.budget_s is None else left_s
        line = standing_line(race, list(found.labels), request.wanted.objectives, left)
        display.begin(_progress(turn, missing, race, found, budget, workers), line)
        taken, ending = looks.take(turn, missing, workers)
        if ending == "interrupted":
            return ending
        race.add(turn, taken)
        for index, reason in looks.too_large(race.standing.waiting).items():
            race.refuse(index, reason)
        setting = _setting(found, request, race, looks.used_s, judged)
        log.add(turn, taken, race, verdict(race, setting).sentence)
        if ending != "done":
            return ending


def _progress(  # noqa: PLR0913, PLR0917
    turn: Round, missing: Plan, race: Race, found: Space, budget: BudgetTracker, workers: int
) -> GridProgress:
    """State of one round, for the screen and for `status`."""
    index_of = {numbered(found.runs[index], turn.number).run_id: index for index in turn.looks}
    seconds = {run.run_id: race.pace.look_s(index_of[run.run_id]) for run in missing.queue}
    ahead = Forecast(
        runs={run_id: Estimate(work_s=one) for run_id, one in seconds.items()},
        shares=dict.fromkeys(seconds, 1.0),
        making={},
        compile_s=0.0,
        measure_s=sum(seconds.values()),
        usd=None,
        unpriced=0,
        at_least=False,
    )
    plan = missing if missing.queue else missing._replace(runs=found.runs[:1])
    names = {run_id: found.labels[index] for run_id, index in index_of.items()}
    paths = CampaignPaths(folder=Path(found.first.output_folder))
    return GridProgress(plan, TimeLeft(missing, ahead, workers), budget, paths, names)


def _being_done(display: RaceDisplay) -> str:
    return "the current look" if display.state is None else being_done(display.state)


def _setting(found: Space, request: Request, race: Race, used_s: float, judged: Accuracies) -> Setting:
    return Setting(
        labels=found.labels,
        objectives=request.wanted.objectives,
        baseline=_baseline(found, race),
        used_s=used_s,
        budget_s=request.budget_s,
        doubts=judged.unsure,
    )


def _baseline(found: Space, race: Race) -> int | None:
    """The best of eager fp32 at the winner's batch, else of eager fp32, else the first candidate."""
    if not race.standing.front:
        return None
    batch = found.runs[race.standing.front[0]].cell.experiment.batch
    experiments = [run.cell.experiment for run in found.runs]
    eager = [index for index, e in enumerate(experiments) if _is_plain(e)]
    same = [index for index in eager if experiments[index].batch == batch]
    known = race.means()
    return min(same or eager or [0], key=lambda index: known.get(index, math.inf))


def _is_plain(e: Experiment) -> bool:
    """Whether this is PyTorch as it comes."""
    exact = e.compiler.fast_math == "none" and options_of(e.compiler).get("quantization", "none") == "none"
    return e.compiler.name == "eager" and exact


def _announced(found: Space) -> str:
    lines = [f"{counted(len(found.runs), 'candidate')}"]
    lines += [f"of which a sampler proposes {MOST}"] if len(found.runs) > MOST else []
    cached = sum(one.making_s == 0 for one in found.candidates)
    lines.append(f"{len(found.runs) - cached} to be compiled")
    lines.append(f"one look at each takes {found.looking(found.one_look_s)}")
    if found.making_s:
        lines.append(f"all compilations {duration(found.making_s)}")
    refused = [f"{count} can't run: {reason}" for reason, count in found.refused.items()]
    return "; ".join([", ".join(lines), *refused])


def _show_plan(found: Space, request: Request, *, as_json: bool) -> None:
    """Print the space, what is known of it, and what the whole grid costs."""
    known = sum(one.expected is not None for one in found.candidates)
    grid_s = found.making_s + _GRID_LOOKS * found.one_look_s
    document = {
        "candidates": len(found.runs),
        "cant_run": dict(found.refused),
        "duplicates": found.plan.duplicates,
        "known_by_earlier_rows": known,
        "to_compile": sum(one.making_s > 0 for one in found.candidates),
        "compile_s": found.making_s,
        "one_look_at_each_s": found.one_look_s,
        "whole_grid_s": grid_s,
        "labels": list(found.labels),
    }
    if as_json:
        say(json.dumps(document))
        return
    console = Screen()
    grid = f"the whole grid with {_GRID_LOOKS} looks at each takes {found.looking(grid_s)}"
    order = f"earlier rows say what to expect of {known}: that decides the order of compilations alone"
    for line in (*found.labels, _announced(found), order, grid):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if request.budget_s is not None and found.one_look_s > request.budget_s:
        console.print("! --minutes holds less than one look at each", markup=False, highlight=False)


_GRID_LOOKS: Final = 20
"""Looks at each with which a quiet machine shows 2 % for 60 candidates (2026-11)."""


def _object(  # noqa: PLR0913, PLR0917
    found: Space, request: Request, race: Race, setting: Setting, answer: Verdict, made_s: float
) -> dict[str, Any]:
    """The answer for programs; `made_s` are the seconds of compilations so far."""

    def described(index: int) -> dict[str, Any]:
        e = found.runs[index].cell.experiment
        return {
            "label": found.labels[index],
            "cell_id": found.runs[index].cell.cell_id,
            "compiler": e.compiler.name,
            "hardware": e.hardware.name,
            "batch": e.batch,
            "overrides": list(e.overrides),
            "figure": figure(race, index, setting.objectives),
            "looks": int(race.looks_of(index).shape[1]),
        }

    now = race.standing
    winner = now.front[0] if now.front else None
    grid_looks = 0 if winner is None else int(race.looks_of(winner).shape[1])
    everyone = range(len(found.runs))
    grid_s = made_s + race.making_left_s + grid_looks * sum(map(race.pace.look_s, everyone))
    return finite(
        {
            "sentence": answer.sentence,
            "decided": answer.decided,
            "within": answer.within,
            "tolerance": request.question.tolerance,
            "gain": answer.gain,
            "winners": [described(index) for index in now.front],
            "rivals": [described(index) for index in now.rivals],
            "unproposed": len(race.unproposed),
            "resting": [found.labels[index] for index in now.resting],
            "no_look": [found.labels[index] for index in now.waiting],
            "dropped": [
                {"label": found.labels[index], **one._asdict()} for index, one in sorted(race.dropped.items())
            ],
            "cant_run": dict(found.refused),
            "looks": sum(int(race.looks_of(index).shape[1]) for index in everyone),
            "whole_grid_s": grid_s,
            "used_s": setting.used_s,
            "seconds_more": answer.seconds_more,
            "campaign": found.first.campaign,
        }
    )

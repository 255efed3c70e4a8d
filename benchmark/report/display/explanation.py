"""One stored run, described for a person: what ran, its figures, its time by stage, its differences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmark import axes
from benchmark.formatting import floored, is_useless, significant
from benchmark.placement import words
from benchmark.records import Row, frozen

_ENVIRONMENT = (
    "instance_type",
    "device_name",
    "driver_version",
    "cores",
    "threads",
    "hostname",
    "cpu_model",
    "os",
    "framework_versions",
    "environment_variables",
)
_PROGRAM = ("git_commit", "git_dirty")
_OUTCOME = (
    "status",
    "latency_p50_ms",
    "latency_p95_ms",
    "throughput_per_s",
    "cosine",
    "compile_s",
    "cache_hit",
)
_NOT_SETTINGS = {"campaign", "run", "output_folder", "store", "cache"}
"""Keys that name a group of runs or a place in the file system: they don't change how a run works."""
_REST: Final = "rest"
_BAR = 20
_COMMIT = 10
"""Characters that identify a commit."""
_NAME = 11
"""Width of the longest name of a line: values are aligned in all blocks."""


@frozen
class Stage:
    """Time that one stage of a run took."""

    name: str
    """As in `stage_seconds`: `measure.load` is a part of `measure`; `rest` belongs to no stage.

    `measure.rest` is what its parts leave of `measure`.
    """
    seconds: float
    share: float | None
    """Share of the whole run, 0…1; null for times of a simulated clock."""


@frozen
class Difference:
    """One changed value; null stands for an absent one."""

    name: str
    before: object
    after: object
    relative_change: float | None = None
    """(after - before) / before; null where that has no meaning."""


@frozen
class Explanation:
    """A run, its stages, and its differences from another run."""

    run: Row
    stages: tuple[Stage, ...]
    previous: Row | None
    """The run that it is compared with."""
    differences: Mapping[str, tuple[Difference, ...]]
    """Changes of environment, program, settings and outcome; empty without a previous run."""


def explain(run: Row, previous: Row | None) -> Explanation:
    """Split the time of a run by stage, and find its differences from another run of its cell."""
    return Explanation(
        run=run,
        stages=_stages(run.values),
        previous=previous,
        differences={} if previous is None else _differences(previous.values, run.values),
    )


def print_run(explanation: Explanation, *, console: Console) -> None:
    """Print what ran, its figures, and its time by stage."""
    row = explanation.run.values
    where = f" at {row['stage']}" if row.get("stage") else ""
    look = "green" if row["status"] == "ok" else "red"
    console.print(Text.assemble(f"run {row['run_id']}: ", (f"{row['status']}{where}", look)))
    _block(console, "what ran", _what_ran(row))
    none = "none: only runs with status ok keep latencies"
    _block(console, "results", _figures(row) if row.get("samples") else [*_figures(row), ("latency", none)])
    _print_stages(explanation, console)


def print_differences(explanation: Explanation, other: str, *, console: Console) -> None:
    """Print the differences from the previous run; `other` describes that run."""
    if explanation.previous is None:
        _block(console, f"what differs from {other}", [("nothing", "there is no such run in the store")])
        return
    before = explanation.previous.values
    of_old = f"campaign {before['campaign']}, {_moment(before['started_at'])}, {before['status']}"
    lines = [("compared", f"{before['run_id']} of {of_old}")]
    for section, found in explanation.differences.items():
        lines += [("" if place else section, _sentence(section, one)) for place, one in enumerate(found)]
    if same := [section for section, found in explanation.differences.items() if not found]:
        lines.append(("the same", ", ".join(_unproven(before) if it == "program" else it for it in same)))
    _block(console, f"what differs from {other}", lines)


def _unproven(row: Mapping[str, Any]) -> str:
    """Name of an unchanged program, with a caveat where the commit alone can't prove it."""
    if row.get("git_commit") is None:
        return "program (as far as known: there is no commit)"
    return "program" + " (as far as known: both had uncommitted changes)" * bool(row.get("git_dirty"))


def _stages(row: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Stages in the order they ran, each followed by its parts, then the rest."""
    seconds: dict[str, float] = dict(row.get("stage_seconds") or {})
    parts = _parts(seconds)
    made_up = parts if row.get("simulated") else set()
    for whole in {_whole(name) for name in parts - made_up}:
        known = sum(seconds[name] for name in parts if _whole(name) == whole)
        seconds[f"{whole}.{_REST}"] = max(0.0, seconds[whole] - known)
        parts.add(f"{whole}.{_REST}")
    accounted = sum(spent for name, spent in seconds.items() if name not in {*parts, _REST})
    # Older rows don't have it. Their stages before `started_at` may make it unknowable.
    rest = seconds.pop(_REST, max(0.0, _seconds(row) - accounted))
    total = accounted + rest
    places = {name: place for place, name in enumerate(seconds)}
    ordered = sorted(seconds, key=lambda name: places[_whole(name)] if name in parts else places[name])
    spent = {name: seconds[name] for name in ordered} | {_REST: rest}
    return tuple(
        Stage(name=name, seconds=value, share=value / total if total and name not in made_up else None)
        for name, value in spent.items()
    )


def _parts(names: Iterable[str]) -> set[str]:
    """Those of the names that are parts of another one."""
    known = set(names)
    return {name for name in known if _whole(name) != name and _whole(name) in known}


def _whole(name: str) -> str:
    return name.partition(".")[0]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Difference, ...]]:
    def changed(names: Iterable[str]) -> tuple[Difference, ...]:
        return tuple(_changed(_values(before, names), _values(after, names)))

    return {
        "environment": changed(_ENVIRONMENT),
        "program": changed(_PROGRAM),
        "settings": tuple(_changed_settings(before, after)),
        "outcome": changed(_OUTCOME),
    }


def _values(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Columns by name; each entry of a map has a name of its own."""
    return dict(_leaves({name: row.get(name) for name in names}))


def _changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = _settings(before), _settings(after)
    if old and new:
        yield from _changed(old, new)
    elif old or new:  # an imported row has no configuration
        words = [f"{len(one)} keys" if one else "not recorded" for one in (old, new)]
        yield Difference(name="config", before=words[0], after=words[1])


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    config = json.loads(row.get("config") or "{}")
    leaves = dict(_leaves({key: value for key, value in config.items() if key not in _NOT_SETTINGS}))
    leaves.pop("sampling.repeats", None)  # a row is of one process, however many its cell has
    return leaves


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        old, new, change = before.get(name), after.get(name), None
        if isinstance(old, float) and isinstance(new, float):
            if math.isclose(old, new):  # 1e-9: no clock is that good
                continue
            change = (new - old) / old if old and name in _OUTCOME else None
        if old != new:
            yield Difference(name=name, before=old, after=new, relative_change=change)


def _what_ran(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of each line; unknown values are empty."""
    yield "model", _listed(row, model="", weights="weights", revision="revision", parameters="parameters")
    yield "task", _listed(row, task="")
    yield "hardware", _listed(row, hardware="") + ", nothing was measured" * bool(row.get("simulated"))
    yield "device", _listed(row, device_name="", cores="cores", threads="threads", driver_version="driver")
    yield "instance", _listed(row, instance_type="") or "not known"
    yield "compiler", _listed(row, compiler="", fast_math="fast_math")
    yield "flags", " ".join(row.get("compiler_flags") or ())
    yield (
        "arithmetic",
        _listed(
            row,
            model_dtype="weights",
            matmul_dtype="matmul",
            matmul_precision="matmul_precision",
            other_dtype="other",
            autocast="autocast",
        ),
    )
    sizes = {name: axes.BY_COLUMN[name].words for name in axes.SIZES}
    yield "input", _listed(row, **{**sizes, "batch_size": "batch"})
    yield "scenario", _listed(row, scenario="", replicas="replicas", workers="workers")
    yield "placement", words(dict(row.get("placement") or {}))
    yield "kv_cache", _listed(row, kv_cache="")
    yield "campaign", _listed(row, campaign="")
    yield "when", f"{_moment(row['started_at'])}, for {_seconds(row):.1f} s"
    commit = f"{row.get('git_commit') or 'not known'}"[:_COMMIT]
    yield "program", commit + " with uncommitted changes" * bool(row.get("git_dirty"))
    yield "error", _listed(row, error="")
    yield "log", _listed(row, log_path="")


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "p50", _with_bounds(row, "latency_p50_ms", "ms")
    yield "p95", _with_bounds(row, "latency_p95_ms", "ms")
    yield "throughput", _with_bounds(row, "throughput_per_s", f"{row.get('throughput_unit') or 'units'}/s")
    yield "cosine", _listed(row, cosine="", relative_error="relative error")
    after = f" after {row.get('warmup_calls')} of warm-up"
    yield "samples", f"{row['samples']}{after}" if row.get("samples") else ""
    doubts = [*(row.get("noise_flags") or ()), *["unsteady"] * (row.get("steady") is False)]
    yield "doubts", ", ".join([*doubts, *(row.get("verify_flags") or ())])
    made = " by an earlier run, now from the cache" * bool(row.get("cache_hit"))
    yield "compiled", f"in {_text('', row['compile_s'])} s{made}" if row.get("compile_s") is not None else ""
    yield (
        "graphs",
        _listed(row, subgraphs="", graph_breaks="breaks", ops_on_device_fraction="share of operators"),
    )
    yield "unsupported", ", ".join(row.get("unsupported_ops") or ())


def _with_bounds(row: Mapping[str, Any], name: str, unit: str) -> str:
    value, low, high = (row.get(key) for key in (name, f"{name}_lo", f"{name}_hi"))
    if value is None:
        return ""
    if low is None or high is None:
        bounds = ""
    elif is_useless(low, high):
        bounds = " (interval too wide to use)"
    else:
        bounds = f" ({_text('', low)} … {_text('', high)})"
    return f"{_text(name, value)} {unit}{bounds}"


def _print_stages(explanation: Explanation, console: Console) -> None:
    parts = _parts(stage.name for stage in explanation.stages)
    total = sum(stage.seconds for stage in explanation.stages if stage.name not in parts)
    console.print(Text(f"\ntime by stage: {total:.3f} s in total", style="bold"))
    percents = _percents(explanation.stages)
    grid = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "right", "right", "left"):
        grid.add_column(justify=justify, no_wrap=True)
    for stage in explanation.stages:
        name = f"  {stage.name.partition('.')[2]}" if stage.name in parts else stage.name
        share = f"{percents[stage.name]}%" if stage.name in percents else ""
        bar = "█" * round((stage.share or 0) * _BAR)
        grid.add_row(Text(name), f"{stage.seconds:.3f} s", share, Text(bar, style="cyan"))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False))
    if any(stage.share is None for stage in explanation.stages):
        console.print(
            Text("  parts without a share: measured by the clock of the simulated device", style="dim")
        )


def _percents(stages: Sequence[Stage]) -> dict[str, int]:
    """Shares of stages as whole percents that add up to 100, and those of parts to their stage's."""
    shares = {stage.name: 100 * stage.share for stage in stages if stage.share is not None}
    parts = _parts(shares)
    percents = _rounded({name: share for name, share in shares.items() if name not in parts}, 100)
    for whole in {_whole(name) for name in parts}:
        of_whole = {name: share for name, share in shares.items() if name in parts and _whole(name) == whole}
        percents |= _rounded(of_whole, percents[whole])
    return percents


def _rounded(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Round so that the sum is `total`: the largest fractions are rounded up."""
    percents = {name: int(share) for name, share in shares.items()}
    lacking = max(0, total - sum(percents.values())) if shares else 0
    for name in sorted(shares, key=lambda name: percents[name] - shares[name])[:lacking]:
        percents[name] += 1
    return percents


def _block(console: Console, title: str, lines: Iterable[tuple[str, str]]) -> None:
    """A title and lines of name and value; a line without a value is left out."""
    console.print(Text(f"\n{title}", style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=_NAME)
    grid.add_column(overflow="fold")
    for name, value in lines:
        if value:
            grid.add_row(Text(name), Text(value))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False))


def _sentence(section: str, found: Difference) -> str:
    before, after = (_text(found.name, value) for value in (found.before, found.after))
    if section == "settings" or before == after:  # as configured, and where three digits hide the change
        before, after = (
            value if isinstance(value, str) else json.dumps(value) for value in (found.before, found.after)
        )
    change = "" if found.relative_change is None else f" ({_percent(found.relative_change)})"
    return f"{found.name}: {before} → {after}{change}"


def _percent(change: float) -> str:
    percent = change * 100
    return f"{percent:+.0f} %" if abs(percent) >= 10 else f"{percent:+.2g} %"  # noqa: PLR2004 - two digits


def _listed(row: Mapping[str, Any], **labels: str) -> str:
    """Label and value of each known column."""
    known = [(label, _text(name, row[name])) for name, label in labels.items() if row.get(name) is not None]
    return ", ".join(f"{label} {value}".strip() for label, value in known)


def _text(name: str, value: object) -> str:
    """A value for a person: three significant digits; similarities are rounded down."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "git_commit":
        return str(value)[:_COMMIT]
    if isinstance(value, float) and math.isfinite(value) and value:
        if name == "cosine":
            return floored(value)
        return significant(value)
    return json.dumps(value) if isinstance(value, list) else str(value)


def _seconds(row: Mapping[str, Any]) -> float:
    """From the start of a run to its end."""
    return float((row["finished_at"] - row["started_at"]).total_seconds())


def _moment(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"

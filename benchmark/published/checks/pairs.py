"""Rules of `errata` that compare printed figures with each other: copies, and latencies that fall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any, Final

from benchmark.published import printed_figures
from benchmark.published.checks.difference import Difference, PublishedRow, grouped, listed, significant

_IN_A_ROW: Final = 3
_LONG: Final = 7
"""Significant digits that two measurements don't share."""
_FALL: Final = 0.1
"""As in `lint`: processes of one cell differ by some percent."""
_STEPS: Final = (("sequence_length", "length", "batch_size"), ("batch_size", "batch", "sequence_length"))


def same_series(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Two models with the same printed figure in several cells in a row."""
    timed = [one for one in entries if one.latency and one.value("sequence_length") is not None]
    for group in grouped(timed, lambda one: (one.document, one.machine)):
        for ours, theirs in combinations(grouped(group, lambda one: one.model), 2):
            others = {_cell(one): one for one in theirs}
            met = [(one, others[_cell(one)]) for one in ours if _cell(one) in others]
            run = max(_runs(met), key=len, default=[])
            if len(run) >= _IN_A_ROW:
                yield _same(run)


def shared_figures(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """One latency to many digits under two models of a document."""
    timed = [one for one in entries if one.latency and significant(one.text(one.latency)) >= _LONG]
    for group in grouped(timed, lambda one: (one.document, one.latency, one.text(one.latency))):
        models = list(dict.fromkeys(one.model for one in group))
        if len(models) > 1:
            column, text = group[0].latency, group[0].text(group[0].latency)
            rates = listed([one.text("throughput_per_s") for one in group])
            yield Difference(
                document=group[0].document,
                where=" and ".join(models),
                printed=f"{text} ms",
                computed="a figure of their own for all but one",
                sentence=(
                    f"{' and '.join(models)} have the same "
                    f"{column.removeprefix('latency_').removesuffix('_ms')} to "
                    f"{significant(text)} digits, {text} ms, at throughputs of {rates}/s: one was copied."
                ),
                kind="same figure for two models",
            )


def falling(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Latency that falls clearly while length or batch grows."""
    timed = [one for one in entries if one.latency]
    for step, word, other in _STEPS:
        known = [one for one in timed if one.value(step) is not None]
        keys = ("document", "family_id", "environment_id", other)
        for group in grouped(known, lambda one, keys=keys: tuple(str(one.value(key)) for key in keys)):  # type: ignore[misc]
            ordered = sorted(group, key=lambda one, step=step: int(one.value(step)))  # type: ignore[misc]
            for was, now in pairwise(ordered):
                yield from _fallen(was, now, step, word)


def _cell(one: PublishedRow) -> tuple[Any, ...]:
    return one.value("sequence_length"), one.value("batch_size")


def _runs(
    met: Sequence[tuple[PublishedRow, PublishedRow]],
) -> Iterator[list[tuple[PublishedRow, PublishedRow]]]:
    run: list[tuple[PublishedRow, PublishedRow]] = []
    for ours, theirs in met:
        if ours.text(ours.latency) == theirs.text(theirs.latency):
            run.append((ours, theirs))
        else:
            yield run
            run = []
    yield run


def _same(run: Sequence[tuple[PublishedRow, PublishedRow]]) -> Difference:
    ours, theirs = run[0]
    column = ours.latency
    texts = listed([one.text(column) for one, _ in run])
    raw = [(one.raw(column), other.raw(column)) for one, other in run]
    unrounded = listed([f"{one:.3f} and {other:.3f}" for one, other in raw if one and other])
    why = (
        f"unrounded they are {unrounded} ms: equal for having been rounded"
        if unrounded
        else "copied, or rounded too far"
    )
    name = f"{ours.model} and {theirs.model} {ours.machine}"
    return Difference(
        document=ours.document,
        where=f"{name}: {listed([one.size for one, _ in run])}",
        printed=texts,
        computed=f"{unrounded} ms" if unrounded else "figures of their own",
        sentence=f"{name} have the same figure in {len(run)} cells in a row ({texts}); {why}.",
        kind="same figures for two models",
    )


def _fallen(was: PublishedRow, now: PublishedRow, step: str, word: str) -> Iterator[Difference]:
    before, after = (
        printed_figures.number(was.text(was.latency)),
        printed_figures.number(now.text(was.latency)),
    )
    if before and after and now.value(step) > was.value(step) and after < before * (1 - _FALL):
        share = 1 - after / before
        spread = was.value("latency_std_ms")
        known = (
            f"standard deviations {spread:.3f} and {now.value('latency_std_ms'):.3f} ms"
            if spread
            else "no spread is known"
        )
        yield Difference(
            document=was.document,
            where=f"{now.model} {now.machine}: {word} {was.value(step)} and {now.value(step)}",
            printed=f"{was.text(was.latency)}, {now.text(was.latency)}",
            computed=f"no less than {was.text(was.latency)} at {word} {now.value(step)}",
            sentence=(
                f"{now.model} {now.machine}: from {word} {was.value(step)} to {now.value(step)} latency "
                f"falls from "
                f"{was.text(was.latency)} to {now.text(was.latency)}, by {share:.0%} of the former, while "
                f"the work grows "
                f"({known})."
            ),
            kind="latency falls while work grows",
        )

"""Rules of `errata` about costs, and about what a page's sentences and orders claim."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from benchmark.published import printed_figures
from benchmark.published.checks.difference import Difference, PublishedRow, grouped, listed
from benchmark.published.documents import CLAIM, PRINTED, REPEATED

_COST: Final = "usd_per_1m"
_SURE: Final = 0.05


def wrong_costs(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Printed costs against price / throughput, at the price of the document's date and basis."""
    for one in entries:
        text, cost, book = one.text(_COST), one.cost, one.price
        if not text or cost is None or book is None:
            continue
        right, shown = printed_figures.rounded(cost, text), printed_figures.bare(text)
        if shown == right:
            continue
        rate = one.value("throughput_per_s")
        hour = f"{book.usd_per_hour} $/h ({book.kind}, {book.region}, {book.published})"
        worked = f"{hour} x 1e6 / (3600 x {rate:g}/s) is ${cost:.4f}"
        if is_cut := shown == printed_figures.cut(cost, text):
            why = "its last digits were cut off, not rounded"
        else:
            why = f"${shown} would need {book.usd_per_hour * 1e6 / 3600 / float(shown):.3f}/s"
        yield Difference(
            document=one.document,
            where=f"{one.label}: cost per 1M",
            printed=text,
            computed=f"${right}",
            sentence=(
                f"{one.label}: printed {text} per 1M, but {worked}, rounded to the printed digits "
                f"${right}; {why}."
            ),
            kind="cut, not rounded" if is_cut else "cost doesn't follow from throughput",
        )


def unnamed_prices(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Costs without the price of an hour that they are made of."""
    priced = [one for one in entries if one.text(_COST) and not one.text("usd_per_hour")]
    for group in grouped(priced, lambda one: one.document):
        books = {one.value("instance_type"): book for one in group if (book := one.price)}
        if books:
            named = listed(
                [f"${book.usd_per_hour} an hour of {name}" for name, book in sorted(books.items())]
            )
            yield Difference(
                document=group[0].document,
                where=f"{len(group)} costs per 1M",
                printed="(no price of an hour)",
                computed=named,
                sentence=(
                    f"{len(group)} costs are printed without the price that they are made of; {named} "
                    f"({next(iter(books.values())).kind}, {next(iter(books.values())).region}) give most "
                    f"of them."
                ),
                kind="price not named",
            )


def printed_twice(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """One figure that is printed in two places, differently."""
    for one in entries:
        for name, again in one.said.items():
            column = name.removeprefix(PRINTED).removesuffix(REPEATED)
            if name == f"{PRINTED}{column}{REPEATED}" and again != (first := one.text(column)):
                yield Difference(
                    document=one.document,
                    where=f"{one.label}: {column}",
                    printed=f"{first} and {again}",
                    computed="one figure",
                    sentence=(
                        f"{one.label}: {column} is printed twice, as {first} and as {again}; the row has "
                        f"the first."
                    ),
                    kind="printed twice, differently",
                )


def more_expensive(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """`A is x % more expensive than B`: the base is B."""
    for one in entries:
        claim, ours = printed_figures.number(one.said.get(f"{CLAIM}% more expensive", "")), one.cost
        if claim is None or ours is None:
            continue
        others = [other for other in entries if _is_rival(one, other) and other.cost]
        if not others:
            continue
        other = min(others, key=lambda rival: rival.cost or math.inf)
        theirs = other.cost or math.nan
        more, less = 100 * (ours / theirs - 1), 100 * (1 - theirs / ours)
        if round(more) != round(claim):
            yield Difference(
                document=one.document,
                where=f"{one.model}: {one.value('instance_type')} against {other.value('instance_type')}",
                printed=f"{claim:.0f} % more expensive",
                computed=f"{more:+.0f} % (and {-less:+.0f} % the other way round)",
                sentence=(
                    f"{one.model}: {one.value('instance_type')} at ${ours:.3f} per 1M is said to be "
                    f"{claim:.0f} % more "
                    f"expensive; on the base of {other.value('instance_type')}'s ${theirs:.3f} it is "
                    f"{more:.0f} % more "
                    f"expensive, and {other.value('instance_type')} is {less:.0f} % cheaper on the base of "
                    f"${ours:.3f}."
                ),
                kind="percentage of the wrong base",
            )


def claimed_costs(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """A cost in a sentence against the row's own; a difference of two costs is no cost."""
    for one in entries:
        text, cost = one.said.get(f"{CLAIM}{_COST}", ""), one.cost
        if not text or cost is None or printed_figures.fits(cost, text):
            continue
        apart = [
            (other, (other.cost or math.nan) - cost)
            for other in entries
            if _is_rival(one, other) and other.cost
        ]
        found = next(((other, gap) for other, gap in apart if printed_figures.fits(abs(gap), text)), None)
        why = f"it costs ${cost:.3f}"
        if found:
            side = "less" if found[1] > 0 else "more"
            why = (
                f"that is how much {side} it costs than {found[0].value('instance_type')}: "
                f"${cost:.3f} against ${cost + found[1]:.3f}"
            )
        yield Difference(
            document=one.document,
            where=f"{one.label}: cost per 1M in a sentence",
            printed=text,
            computed=f"${printed_figures.rounded(cost, text)}",
            sentence=f"{one.label} is said to cost {text} per 1M; {why}.",
            kind="difference called a cost" if found else "cost doesn't follow from throughput",
        )


def better_accuracies(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """An accuracy called better that chance explains: two-proportion z test, answers taken as independent."""
    for one in entries:
        if f"{CLAIM}better accuracy" not in one.said or not one.value("accuracy_n"):
            continue
        same = ("document", "model", "hardware", "batch_size", "dataset")
        for other in entries:
            if (
                other is one
                or any(one.value(key) != other.value(key) for key in same)
                or not other.value("accuracy_n")
            ):
                continue
            n, m = one.value("accuracy_n"), other.value("accuracy_n")
            x, y = one.value("accuracy"), other.value("accuracy")
            pooled = (x * n + y * m) / (n + m)
            z = (x - y) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
            p = math.erfc(abs(z) / math.sqrt(2))
            if p > _SURE:
                yield Difference(
                    document=one.document,
                    where=f"{one.model} {one.machine}: accuracy",
                    printed=(
                        f"{one.said[f'{CLAIM}better accuracy']}: {one.text('accuracy')} against "
                        f"{other.text('accuracy')}"
                    ),
                    computed=f"no measurable difference (p = {p:.2f})",
                    sentence=(
                        f"{one.model} {one.machine}: {x:.2%} is called "
                        f"{one.said[f'{CLAIM}better accuracy']} than {y:.2%}, "
                        f"{100 * (x - y):+.2f} points on the base of the latter; at n = {n:,} that is no "
                        f"measurable "
                        f"difference (z = {z:.2f}, p = {p:.2f}, two-proportion z test)."
                    ),
                    kind="difference within noise",
                )


def _is_rival(one: PublishedRow, other: PublishedRow) -> bool:
    """The same model of the document on another machine, with a cost of its own."""
    return (
        bool(other.text(_COST))
        and one.document == other.document
        and one.value("model") == other.value("model")
        and one.value("hardware") != other.value("hardware")
    )

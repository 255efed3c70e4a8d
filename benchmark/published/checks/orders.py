"""Rules of `errata` about how a page counts, sorts and sums up."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations
from statistics import median
from typing import Final

from benchmark.published.checks.difference import Difference, PublishedRow, grouped, listed
from benchmark.published.documents import PAGE

_FAR: Final = 5.0
"""Calls in flight this many times above or below a table's median: callers and workers explain less."""
_FEW: Final = 4
"""A table with fewer figures has no median worth the name."""


def calls_in_flight(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Throughput x latency / batch is how many calls are in flight; a table's rows have about as many."""
    for group in grouped(entries, lambda one: (one.document, one.value("scenario"))):
        flying = [(one, count) for one in group if (count := _in_flight(one))]
        usual = median(count for _, count in flying) if len(flying) >= _FEW else math.nan
        for one, count in flying:
            if count * _FAR < usual or count > usual * _FAR:
                rate = one.text("throughput_per_s")
                same = [
                    other.model
                    for other in entries
                    if other is not one
                    and other.text("throughput_per_s") == rate
                    and other.said.get("(file)", "").partition("_")[2]
                    == one.said.get("(file)", "").partition("_")[2]
                ]
                copied = f"; {listed(same)} has the very same throughput: it was copied" if same else ""
                yield Difference(
                    document=one.document,
                    where=f"{one.label}: throughput",
                    printed=f"{rate}/s",
                    computed=f"about {usual / count * one.value('throughput_per_s'):.0f}/s",
                    sentence=(
                        f"{one.label}: {rate}/s at {one.text('latency_p50_ms')} ms and batch "
                        f"{one.value('batch_size')} are "
                        f"{count:.3g} calls in flight, the median of the table is {usual:.2g}{copied}."
                    ),
                    kind="throughput doesn't fit latency",
                )


def costs_sorted_as_text(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Pages that make a text of the cost before they sort by it: where that isn't the order of costs."""
    for table in _sorted_tables(entries, "cost as text"):
        for group in _by(table, _sort_keys(table[0])[:-1]):
            costs = sorted((f"${one.cost:,.3f}", one.cost) for one in group if one.cost is not None)
            texts, values = [text for text, _ in costs], [cost for _, cost in costs]
            if values != sorted(values):
                wrong = [f"{a} before {b}" for (a, x), (b, y) in pairwise(costs) if x > y]
                yield Difference(
                    document=group[0].document,
                    where=_group_name(group[0]),
                    printed=listed(texts, 99),
                    computed=listed([f"${cost:,.3f}" for cost in sorted(values)], 99),
                    sentence=(
                        f"{_group_name(group[0])}: the cost is sorted as text, so {listed(wrong)} "
                        f"({group[0].basis})."
                    ),
                    kind="numbers sorted as text",
                )


def sizes_sorted_as_text(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """The same of image sizes."""
    for table in _sorted_tables(entries, "Image Size"):
        for group in grouped(table, lambda one: one.model):
            sizes = sorted({one.said.get("Image Size", "") for one in group})
            areas = [math.prod(map(int, re.findall(r"\d+", size))) for size in sizes]
            if areas != sorted(areas):
                yield Difference(
                    document=group[0].document,
                    where=group[0].model,
                    printed=listed(sizes),
                    computed=listed([size for _, size in sorted(zip(areas, sizes, strict=True))]),
                    sentence=(
                        f"{group[0].model}: image sizes are sorted as text, so {listed(sizes)} follow each "
                        f"other."
                    ),
                    kind="numbers sorted as text",
                )


def tokens_called_inferences(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """A cost per 1M inferences or images that is one per 1M tokens."""
    counted = [
        one for one in entries if one.value("throughput_unit") == "tokens" and one.value("throughput_per_s")
    ]
    for group in grouped(counted, lambda one: one.document):
        heading = group[0].said.get(f"{PAGE}cost", "")
        costs = [one for one in group if one.cost]
        if costs and heading and "token" not in heading.lower():
            one = costs[0]
            cost = one.cost or math.nan
            tokens = (one.value("input_length") or 0) + (one.value("output_length") or 0)
            whole = f"; an inference of {tokens} tokens costs {tokens} times that" if tokens else ""
            yield Difference(
                document=one.document,
                where=listed([each.model for each in costs]),
                printed=heading,
                computed="cost per 1M tokens",
                sentence=(
                    f'The column "{heading}" is worked out from tokens per second: {one.model}\'s '
                    f"${cost:,.3f} are of 1M "
                    f"tokens ({one.basis}){whole}."
                ),
                kind="wrong unit",
            )


def means_without_spread(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Means of several runs that say nothing of how far these were apart."""
    means = [
        one
        for one in entries
        if one.said.get("mean_of_runs")
        and one.value("accuracy_lo") is None
        and one.value("latency_std_ms") is None
    ]
    for group in grouped(means, lambda one: (one.document, one.said["mean_of_runs"])):
        runs = group[0].said["mean_of_runs"]
        close = [
            abs(one.value("accuracy") - other.value("accuracy"))
            for one, other in permutations(group, 2)
            if one.value("dataset") == other.value("dataset")
        ]
        yield Difference(
            document=group[0].document,
            where=(
                f"{len(group)} accuracies on {listed(sorted({str(one.value('dataset')) for one in group}))}"
            ),
            printed=f"mean of {runs} runs",
            computed="n, spread and interval",
            sentence=(
                f"{len(group)} accuracies are means of {runs} runs without any spread, so differences of "
                f"{1000 * min(close, default=0):.0f} to {1000 * max(close, default=0):.0f} thousandths "
                f"can't be judged."
            ),
            kind="mean without spread",
        )


def _in_flight(one: PublishedRow) -> float | None:
    rate, batch = one.value("throughput_per_s"), one.value("batch_size")
    latency = one.value("latency_p50_ms")
    return rate * latency / 1000 / batch if rate and batch and latency else None


def _sort_keys(one: PublishedRow) -> list[str]:
    return [key.strip() for key in one.said.get(f"{PAGE}sort", "").split(";") if key.strip()]


def _sorted_tables(entries: Sequence[PublishedRow], key: str) -> list[list[PublishedRow]]:
    return [group for group in grouped(entries, lambda one: one.document) if key in _sort_keys(group[0])]


def _by(table: Sequence[PublishedRow], keys: Sequence[str]) -> list[list[PublishedRow]]:
    """Lines that only the last key tells apart."""
    return grouped(table, lambda one: tuple(one.said.get(key, "") for key in keys))


def _group_name(one: PublishedRow) -> str:
    return " ".join(one.said.get(key, "") for key in _sort_keys(one)[:-1])

"""Comparisons of published rows: a sentence for each error found, and which rows are compared."""

from __future__ import annotations

import math
import operator
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations, groupby, pairwise, permutations
from statistics import median
from typing import Final

from benchmark.cloud import instances
from benchmark.published import concurrency
from benchmark.published.documents import PAGE, PRINTED, RAW, REPEATED
from benchmark.published.printed_figures import bare, cut, decimals, fits, number, rounded
from benchmark.published.published_row import COST, PublishedRow

Rows = Sequence[PublishedRow]

_IN_A_ROW: Final = 3
"""Equal or misplaced figures in a row that aren't chance."""
LONG: Final = 7
"""Significant digits that two measurements don't share."""
_FALL: Final = 0.1
"""As in `lint`: processes of one cell differ by some percent."""
_STEPS: Final = (("length", "sequence_length", "batch_size"), ("batch", "batch_size", "sequence_length"))
"""What grows: its word and column, and the column that stays the same."""
_SIGNIFICANT: Final = 0.05
_FAR: Final = 5.0
"""Calls in flight this many times above or below a table's median: callers and workers explain less."""
_FEWEST: Final = 4
"""Figures of a table below which its median means little."""
_INSTANCE: Final = re.compile(
    r"(inf|trn|[a-z]\d[a-z]*)\d*[a-z0-9-]*\.(\d*x?large|\d+xlarge|medium|small|metal)"
)
_COST_AS_TEXT: Final = "cost as text"
_NUMBERS: Final = {_COST_AS_TEXT: "costs", "Image Size": "image sizes"}
"""Sort keys of pages that are numbers, and what they are called."""


# Keys: which rows are compared with each other.


def document_of(row: PublishedRow) -> Hashable:
    """Rows of one document."""
    return row.document


def column_of(row: PublishedRow) -> Hashable:
    """Rows of one machine's column of a document."""
    return row.document, row.machine


def series_of(row: PublishedRow) -> Hashable:
    """Rows of one model in one machine's column."""
    return row.document, row.model, row.machine


def model_of(row: PublishedRow) -> Hashable:
    """Rows of one model of a document."""
    return row.document, row.value("model")


# Selections: which rows a rule looks at.


def with_file(rows: Rows) -> Rows:
    """Rows with a printed latency and the figure of a file behind the page."""
    return [row for row in rows if row.latency and row.raw(row.latency) is not None]


def of_their_file(rows: Rows) -> Rows:
    """Rows of series most of whose figures can be those of the files behind the page."""
    return [row for group in grouped(with_file(rows), series_of) if _is_of_its_file(group) for row in group]


def truncated(rows: Rows) -> Rows:
    """Rows whose latency is truncated where rounding differs, except those of columns of means."""
    columns = grouped(of_their_file(rows), column_of)
    means = {column_of(group[0]) for group in columns if any(means_as_percentile(group))}
    return [
        row
        for row in with_file(rows)
        if column_of(row) not in means
        and bare(row.latency_text)
        == cut(row.value(row.latency), row.latency_text)
        != rounded(row.value(row.latency), row.latency_text)
    ]


# Comparisons: a sentence for each error among rows with the same key.


def unknown_types(rows: Rows) -> Iterator[str]:
    """Names of instance types that the catalogue lacks."""
    names = [(text, row) for row in rows for text in row.as_printed.values() if _advice(text)]
    known = {text: row.value("instance_type") for text, row in reversed(names)}
    for name, cells in Counter(text for text, _ in names).items():
        yield f"{cells} cells say {name}: {_advice(name)} Their rows have {known[name]}."


def _advice(name: str) -> str:
    """What the catalogue says of an unknown instance type; empty of a known one and of other texts."""
    if not _INSTANCE.fullmatch(name.lower()):
        return ""
    try:
        instances.find(name.lower())
    except ValueError as error:
        return str(error)
    return ""


def means_as_percentile(rows: Rows) -> Iterator[str]:
    """A column whose figures can be the mean of the files behind the page, and none the percentile alone."""
    column = rows[0].latency
    both = Counter((_fits_file(row, "latency_mean_ms"), _fits_file(row, column)) for row in rows)
    if both[True, False] >= _IN_A_ROW and not both[False, True]:
        heading = column.removeprefix("latency_").removesuffix("_ms")
        # A figure that equals the rounded percentile is no error of the page.
        wrong = [
            row.text(column)
            for row in rows
            if rounded(row.value(column), row.text(column)) != bare(row.text(column))
        ]
        yield (
            f"The column {rows[0].machine} is headed {heading}, but {both[True, False]} of its {len(rows)} "
            f"figures fit only the mean of the files behind it, none fits only {heading}, "
            f"{both[True, True]} fit both (rounded or truncated to the printed digits). {len(wrong)} differ "
            f"from the rounded {heading}: {', '.join(wrong)}."
        )


def other_files(rows: Rows) -> Iterator[str]:
    """A series most of whose figures can't be those of the files behind the page."""
    if _is_of_its_file(rows):
        return
    column = rows[0].latency
    wrong = [f"{row.text(column)} for {row.raw(column):.2f}ms" for row in rows if not _fits_any_file(row)]
    older = sum(fits(row.earlier(column), row.text(column)) for row in rows)
    known = f"; {older} of {len(rows)} are those of an earlier version of the file" if older else ""
    yield (
        f"{rows[0].model} {rows[0].machine}: {len(wrong)} of {len(rows)} figures can't be those of the file "
        f"behind them, rounded or truncated to the printed digits ({', '.join(wrong)}){known}."
    )


def misprints(rows: Rows) -> Iterator[str]:
    """Figures that can't be those of the file that the rest of their series is from."""
    for row in rows:
        if not _fits_any_file(row):
            raw, text = row.raw(row.latency) or 0.0, row.latency_text
            yield (
                f"{row.label}: printed {text}, but the file has {raw:.5f} ms, which rounds to "
                f"{rounded(raw, text)}ms."
            )


def truncations(rows: Rows) -> Iterator[str]:
    """Figures that are truncated where rounding gives another."""
    texts, value = [row.latency_text for row in rows], rows[0].value(rows[0].latency)
    yield (
        f"{len(rows)} figures are truncated instead of rounded ({', '.join(texts)}), such as {texts[0]} of "
        f"{value:.4f} ms, which rounds to {rounded(value, texts[0])}ms."
    )


def mixed_decimals(rows: Rows) -> Iterator[str]:
    """CSV files drop zeros at the end, so only pages with files behind them are compared."""
    texts = [row.latency_text for row in rows]
    counts = sorted({decimals(text) for text in texts})
    if len(counts) > 1:
        words = " and ".join(map(str, counts))
        yield (
            f"{rows[0].model} {rows[0].machine}: figures of one column have {words} decimals "
            f"({_listed(texts)})."
        )


def same_series(rows: Rows) -> Iterator[str]:
    """Two models with the same figure in several cells in a row."""
    for ours, theirs in combinations(grouped(rows, lambda row: row.model), 2):
        others = {_cell(row): row for row in theirs}
        pairs = [(row, others[_cell(row)]) for row in ours if _cell(row) in others]
        runs = groupby(pairs, key=lambda pair: pair[0].latency_text == pair[1].latency_text)
        longest = max((list(run) for same, run in runs if same), key=len, default=[])
        if len(longest) < _IN_A_ROW:
            continue
        column = ours[0].latency
        raw = [(one.raw(column), other.raw(column)) for one, other in longest]
        unrounded = _listed([f"{one:.3f} and {other:.3f}" for one, other in raw if one and other])
        why = (
            f"unrounded they are {unrounded} ms: rounding made them equal"
            if unrounded
            else "copied, or rounded too far"
        )
        yield (
            f"{ours[0].model} and {theirs[0].model} {ours[0].machine} have the same figure in "
            f"{len(longest)} cells in a row ({_listed([one.latency_text for one, _ in longest])}); {why}."
        )


def shared_figures(rows: Rows) -> Iterator[str]:
    """Two models with one figure of many digits."""
    models = list(dict.fromkeys(row.model for row in rows))
    if len(models) > 1:
        name, text = rows[0].latency.removeprefix("latency_").removesuffix("_ms"), rows[0].latency_text
        rates = _listed([row.text("throughput_per_s") for row in rows])
        yield (
            f"{' and '.join(models)} have the same {name} to {significant(text)} digits, {text} ms, at "
            f"throughputs of {rates}/s: one is a copy."
        )


def falling(rows: Rows) -> Iterator[str]:
    """Latency that falls clearly while length or batch grows."""
    for word, column, other in _STEPS:
        known = [row for row in rows if row.value(column) is not None]
        for group in grouped(known, operator.methodcaller("value", other)):
            for before, after in pairwise(sorted(group, key=lambda row: int(row.values[column]))):
                yield from _fallen(before, after, word, column)


def _fallen(before: PublishedRow, after: PublishedRow, word: str, column: str) -> Iterator[str]:
    texts = before.latency_text, after.text(before.latency)
    was, now = map(number, texts)
    if not was or not now or after.value(column) == before.value(column) or now >= was * (1 - _FALL):
        return
    spread = before.value("latency_std_ms"), after.value("latency_std_ms")
    known = "standard deviations {:.3f} and {:.3f} ms".format(*spread) if spread[0] else "no spread is known"
    yield (
        f"{after.model} {after.machine}: from {word} {before.value(column)} to {after.value(column)} latency "
        f"falls from {texts[0]} to {texts[1]}, by {1 - now / was:.0%}, while the work grows ({known})."
    )


def blanks(rows: Rows) -> Iterator[str]:
    """Cells that are empty without a reason."""
    models = _listed([f"{len(group)} of {group[0].model}" for group in grouped(rows, lambda row: row.model)])
    known = sum(any(name.startswith(RAW) for name in row.as_printed) for row in rows)
    more = f"; the files behind the page have figures of {known} of them" if known else ""
    yield (
        f"{rows[0].machine}: no figure in {len(rows)} of its cells ({models}), and no reason is given{more}."
    )


def captions(rows: Rows) -> Iterator[str]:
    """Alternative texts of pictures that name another figure or axis than the name of their file."""
    mark = f"{PAGE}picture "
    pictures = {
        key.removeprefix(mark): text
        for row in rows
        for key, text in row.as_printed.items()
        if key.startswith(mark)
    }
    for file, text in pictures.items():
        figure = next((name for name in ("latency", "throughput") if name in file.lower()), "")
        axis = re.search(r"-([a-z]+)-(true|false)\.", file.lower())
        wrong = [f"another figure than {figure}"] if figure not in text.lower() else []
        wrong += [f"another axis than {axis[1]}"] if axis and axis[1] not in text.lower() else []
        if wrong:
            yield f'The alternative text of {file}, "{text}", names {" and ".join(wrong)}.'


def wrong_costs(rows: Rows, *, truncated: bool) -> Iterator[str]:
    """Printed costs against price / throughput."""
    for row in rows:
        text, cost, price = row.text(COST), row.cost, row.price
        if not text or cost is None or price is None or bare(text) == rounded(cost, text):
            continue
        if truncated == (bare(text) == cut(cost, text)):
            needed = price.usd_per_hour * 1e6 / 3600 / float(bare(text))
            why = "its last digits are truncated" if truncated else f"${bare(text)} needs {needed:.3f}/s"
            yield (
                f"{row.label}: printed {text} per 1M, but {price.usd_per_hour} $/h ({price.kind}, "
                f"{price.region}, {price.published}) x 1e6 / (3600 x {row.value('throughput_per_s'):g}/s) "
                f"is ${cost:.4f}, rounded to the printed digits ${rounded(cost, text)}; {why}."
            )


def missing_prices(rows: Rows) -> Iterator[str]:
    """Costs without the price of an hour that they are computed with."""
    if found := {row.value("instance_type"): price for row in rows if (price := row.price)}:
        named = _listed([f"${price.usd_per_hour} an hour of {name}" for name, price in sorted(found.items())])
        first = next(iter(found.values()))
        yield (
            f"{len(rows)} costs are printed without the price of an hour; {named} ({first.kind}, "
            f"{first.region}) give most of them."
        )


def printed_twice(rows: Rows) -> Iterator[str]:
    """A figure that is printed in two places, differently."""
    for row in rows:
        for name, again in row.as_printed.items():
            column = name.removeprefix(PRINTED).removesuffix(REPEATED)
            if name == f"{PRINTED}{column}{REPEATED}" and again != (first := row.text(column)):
                yield (
                    f"{row.label}: {column} is printed twice, as {first} and as {again}; the row has the "
                    "first."
                )


def percentages(rows: Rows) -> Iterator[str]:
    """`A is x % more expensive than B`: the base is B."""
    for row, ours, others in _rivals(rows):
        claim = number(row.claim("% more expensive"))
        if claim is None or not others:
            continue
        theirs, other = min(others)
        more, less = 100 * (ours / theirs - 1), 100 * (1 - theirs / ours)
        if round(more) != round(claim):
            yield (
                f"{row.model}: {row.value('instance_type')} at ${ours:.3f} per 1M is said to be {claim:.0f} "
                f"% more expensive; it is {more:.0f} % more expensive than {other} at ${theirs:.3f}, and "
                f"{other} is {less:.0f} % cheaper."
            )


def claimed_costs(rows: Rows) -> Iterator[str]:
    """A cost in a sentence against the row's own; a difference of two costs is no cost."""
    for row, cost, others in _rivals(rows):
        text = row.claim(COST)
        if text and not fits(cost, text):
            why = f"it costs ${cost:.3f}"
            for theirs, other in others:
                if fits(abs(theirs - cost), text):
                    side = "less" if theirs > cost else "more"
                    why = f"it costs that much {side} than {other}: ${cost:.3f} against ${theirs:.3f}"
            yield f"{row.label} is said to cost {text} per 1M; {why}."


def _rivals(rows: Rows) -> Iterator[tuple[PublishedRow, float, list[tuple[float, str]]]]:
    """Rows of a model with their cost; with each the printed costs of the model on other machines."""
    for row in rows:
        others = [one for one in rows if one.text(COST) and one.value("hardware") != row.value("hardware")]
        if row.cost is not None:
            yield row, row.cost, [(one.cost, str(one.value("instance_type"))) for one in others if one.cost]


def within_noise(rows: Rows) -> Iterator[str]:
    """An accuracy called better that chance explains: two-proportion z test, answers taken as independent."""
    for row, other in permutations(rows, 2):
        if not (claim := row.claim("better accuracy")):
            continue
        n, m = row.value("accuracy_n"), other.value("accuracy_n")
        x, y = row.value("accuracy"), other.value("accuracy")
        pooled = (x * n + y * m) / (n + m)
        z = (x - y) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        p = math.erfc(abs(z) / math.sqrt(2))
        if p > _SIGNIFICANT:
            yield (
                f"{row.model} {row.machine}: {x:.2%} is called {claim} than {y:.2%}, {100 * (x - y):+.2f} "
                f"points; at n = {n:,} that is no measurable difference (z = {z:.2f}, p = {p:.2f}, "
                "two-proportion z test)."
            )


def calls_in_flight(rows: Rows) -> Iterator[str]:
    """Throughput x latency / batch is the number of calls in flight; rows of a table have about as many."""
    counts = [(row, count) for row in rows if (count := concurrency.calls_in_flight(row.value))]
    usual = median(count for _, count in counts) if len(counts) >= _FEWEST else math.nan
    for row, count in counts:
        if count * _FAR < usual or count > usual * _FAR:
            rate = row.text("throughput_per_s")
            same = [one.model for one in rows if one is not row and one.text("throughput_per_s") == rate]
            copied = f"; {_listed(same)} has the same throughput: it is a copy" if same else ""
            yield (
                f"{row.label}: {rate}/s at {row.text('latency_p50_ms')} ms and batch "
                f"{row.value('batch_size')} are {count:.3g} calls in flight, the median of the table is "
                f"{usual:.2g}{copied}."
            )


def sorted_as_text(rows: Rows) -> Iterator[str]:
    """Numbers in the order of their texts, where the page sorts by them."""
    keys = [key.strip() for key in rows[0].page("sort").split(";")]
    for key in [key for key in keys if key in _NUMBERS]:
        for name, group in _by_text(rows, keys[: keys.index(key)]).items():
            found = sorted({one for row in group if (one := _sort_value(row, key))})
            if wrong := [f"{a} before {b}" for (a, x), (b, y) in pairwise(found) if x > y]:
                basis = f" ({_basis(group[0])})" if key == _COST_AS_TEXT else ""
                yield f"{name}: {_NUMBERS[key]} are sorted as text, {_listed(wrong)}{basis}."


def _sort_value(row: PublishedRow, key: str) -> tuple[str, float] | None:
    """The text that a page sorts by, and its number."""
    if key == _COST_AS_TEXT:
        return None if row.cost is None else (f"${row.cost:,.3f}", row.cost)
    text = row.as_printed.get(key, "")
    return text, math.prod(map(int, re.findall(r"\d+", text)))


def wrong_units(rows: Rows) -> Iterator[str]:
    """A cost per 1M inferences or images that is one per 1M tokens."""
    heading, costs = rows[0].page("cost"), [row for row in rows if row.cost]
    if costs and heading and "token" not in heading.lower():
        row = costs[0]
        tokens = (row.value("input_length") or 0) + (row.value("output_length") or 0)
        whole = f"; an inference of {tokens} tokens costs {tokens} times that" if tokens else ""
        yield (
            f'The column "{heading}" is computed from tokens per second: '
            f"{row.model}'s ${row.cost:,.3f} are of 1M tokens ({_basis(row)}){whole}."
        )


def without_spread(rows: Rows) -> Iterator[str]:
    """Means of several runs whose spread isn't printed."""
    same_data = [
        (one, other) for one, other in combinations(rows, 2) if one.value("dataset") == other.value("dataset")
    ]
    apart = [1000 * abs(one.value("accuracy") - other.value("accuracy")) for one, other in same_data]
    yield (
        f"{len(rows)} accuracies are means of {rows[0].as_printed['mean_of_runs']} runs without any spread, "
        f"so differences of {min(apart, default=0):.0f} to {max(apart, default=0):.0f} thousandths can't be "
        "judged."
    )


# Parts of these comparisons.


def grouped(rows: Rows, key: Callable[[PublishedRow], Hashable]) -> list[list[PublishedRow]]:
    """Rows with the same key, in their order."""
    groups: dict[Hashable, list[PublishedRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def _by_text(rows: Rows, names: Sequence[str]) -> dict[str, list[PublishedRow]]:
    """Rows by their printed texts under these headers."""
    groups: dict[str, list[PublishedRow]] = defaultdict(list)
    for row in rows:
        groups[" ".join(row.as_printed.get(name, "") for name in names)].append(row)
    return groups


def _listed(words: Sequence[str], most: int = 8) -> str:
    """Words with commas; the first of many."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _cell(row: PublishedRow) -> Hashable:
    return row.value("sequence_length"), row.value("batch_size")


def significant(text: str) -> int:
    """Significant digits of a printed figure, zeros at its end included."""
    return len(bare(text).replace(".", "").replace("-", "").lstrip("0"))


def _fits_file(row: PublishedRow, column: str) -> bool:
    return fits(row.raw(column), row.latency_text)


def _fits_any_file(row: PublishedRow) -> bool:
    return _fits_file(row, row.latency) or _fits_file(row, "latency_mean_ms")


def _is_of_its_file(series: Rows) -> bool:
    return 2 * sum(map(_fits_any_file, series)) >= len(series)


def _basis(row: PublishedRow) -> str:
    price = row.price
    return (
        f"{price.usd_per_hour} $/h of {price.instance_type}, {price.kind}, {price.published}" if price else ""
    )

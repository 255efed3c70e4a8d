"""Rules of `errata` about the figures of tables: against the files behind them, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from benchmark.cloud import instances
from benchmark.published import printed_figures
from benchmark.published.checks.difference import Difference, PublishedRow, grouped, listed
from benchmark.published.documents import PAGE

_IN_A_ROW: Final = 3
_INSTANCE: Final = re.compile(
    r"(inf|trn|[a-z]\d[a-z]*)\d*[a-z0-9-]*\.(\d*x?large|\d+xlarge|medium|small|metal)"
)


def unknown_instances(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Names of instance types are those of the catalogue."""
    named = [
        PublishedRow(entry.row, {"type": text})
        for entry in entries
        for text in entry.said.values()
        if _INSTANCE.fullmatch(text.lower()) and _unknown(text)
    ]
    for group in grouped(named, lambda one: (one.document, one.said["type"])):
        name = group[0].said["type"]
        real = str(group[0].value("instance_type") or "")
        yield Difference(
            document=group[0].document,
            where=f"{len(group)} cells",
            printed=name,
            computed=real,
            sentence=f"{name}, as {len(group)} cells say: {_unknown(name)} Their rows have {real}.",
            kind="instance type not in the catalogue",
        )


def means_under_a_percentile(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """A machine's column whose figures can be the mean of the files behind it, and none its p95 alone."""
    for group in grouped(_backed(entries), lambda one: (one.document, one.machine)):
        both = [(_fits(one, "latency_mean_ms"), _fits(one, one.latency)) for one in group]
        means, percentiles = both.count((True, False)), both.count((False, True))
        if means >= _IN_A_ROW and not percentiles:
            column = group[0].latency
            name = column.removeprefix("latency_").removesuffix("_ms")
            # those that round to it all the same are no error of the page
            shown = [
                one
                for one in group
                if printed_figures.rounded(_behind(one), one.text(column))
                != printed_figures.bare(one.text(column))
            ]
            yield Difference(
                document=group[0].document,
                where=f"column {group[0].machine}: {listed([one.label for one in shown], 99)}",
                printed=listed([one.text(column) for one in shown], 99),
                computed=listed([f"{one.raw(column):.3f}ms" for one in shown], 99),
                sentence=(
                    f"The column {group[0].machine} is headed {name}, but {means} of its {len(group)} "
                    f"figures fit only "
                    f"the mean of the files behind it, none fits only {name}, {both.count((True, True))} "
                    f"fit both "
                    f"(rounded or cut to the printed digits)."
                ),
                kind="mean under a percentile's heading",
            )


def other_files(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """A series most of whose figures can't be those of the files behind it."""
    for group in grouped(_with_raw(entries), lambda one: (one.document, one.model, one.machine)):
        if _is_of_its_files(group):
            continue
        column = group[0].latency
        misfits = [one for one in group if not _fits(one, column) and not _fits(one, "latency_mean_ms")]
        older = [one for one in group if printed_figures.fits(one.earlier(column), one.text(column))]
        known = f"; {len(older)} of {len(group)} are those of an earlier version of the file" if older else ""
        yield Difference(
            document=group[0].document,
            where=f"{group[0].model} {group[0].machine}: {listed([one.size for one in misfits])}",
            printed=listed([one.text(column) for one in misfits]),
            computed=listed([f"{one.raw(column):.2f}ms" for one in misfits]),
            sentence=(
                f"{group[0].model} {group[0].machine}: {len(misfits)} of {len(group)} figures can't be "
                f"those of the "
                f"file behind them, rounded or cut to the printed digits{known}."
            ),
            kind="matches no file of its version",
        )


def misprints(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Single figures that can't be those of the file that the rest of their series is from."""
    for one in _backed(entries):
        column = one.latency
        if not _fits(one, column) and not _fits(one, "latency_mean_ms"):
            raw, text = one.raw(column) or 0.0, one.text(column)
            right = printed_figures.rounded(raw, text)
            yield Difference(
                document=one.document,
                where=one.label,
                printed=text,
                computed=f"{right}ms",
                sentence=(
                    f"{one.label}: printed {text}, but the file has {raw:.5f} ms, rounded to the printed "
                    f"digits {right}ms."
                ),
                kind="differs from its file",
            )


def cut_off(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Figures with their last digits cut off, where rounding gives another; means are told above."""
    told = {one.where.split(":")[0] for one in means_under_a_percentile(entries)}
    cut = [
        one
        for one in _with_raw(entries)
        if f"column {one.machine}" not in told and _is_cut(_behind(one), one.text(one.latency))
    ]
    for group in grouped(cut, lambda one: one.document):
        texts = [one.text(one.latency) for one in group]
        right = [
            f"{printed_figures.rounded(_behind(one), text)}ms" for one, text in zip(group, texts, strict=True)
        ]
        yield Difference(
            document=group[0].document,
            where=listed([one.label for one in group], 99),
            printed=listed(texts, 99),
            computed=listed(right, 99),
            sentence=(
                f"{len(group)} figures have their last digits cut off instead of rounded, such as "
                f"{texts[0]} of "
                f"{_behind(group[0]):.4f} ms, which rounds to {right[0]}."
            ),
            kind="cut, not rounded",
        )


def mixed_digits(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """A column of a table has one number of decimals; CSV files drop zeros, so only pages are looked at."""
    for group in grouped(_with_raw(entries), lambda one: (one.document, one.model, one.machine)):
        texts = [one.text(one.latency) for one in group]
        counts = sorted({printed_figures.decimals(text) for text in texts})
        if len(counts) > 1:
            name = f"{group[0].model} {group[0].machine}"
            said = " and ".join(map(str, counts))
            yield Difference(
                document=group[0].document,
                where=name,
                printed=listed(texts),
                computed=f"one number of decimals, not {said}",
                sentence=f"{name}: figures of one column have {said} decimals ({listed(texts)}).",
                kind="mixed number of digits",
            )


def blanks(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Cells that are left empty without a word why."""
    empty = [one for one in entries if one.value("status") == "unavailable"]
    for group in grouped(empty, lambda one: (one.document, one.machine, one.value("error"))):
        models = listed([f"{len(of)} of {of[0].model}" for of in grouped(group, lambda one: one.model)])
        known = sum(any(name.startswith("raw ") for name in one.said) for one in group)
        more = f"; the files behind the page have figures of {known} of them" if known else ""
        yield Difference(
            document=group[0].document,
            where=f"{group[0].machine}: {models}",
            printed=str(group[0].value("error"))
            if "blank" not in str(group[0].value("error"))
            else "(blank)",
            computed="a word for what became of the cell",
            sentence=(
                f"{group[0].machine}: no figure in {len(group)} of its cells ({models}), and no word "
                f"why{more}."
            ),
            kind="no figure and no word",
        )


def wrong_captions(entries: Sequence[PublishedRow]) -> Iterator[Difference]:
    """Alternative texts of pictures that name another figure than their file does, or another axis."""
    for group in grouped(entries, lambda one: one.document):
        mark = f"{PAGE}picture "
        pictures = {
            key[len(mark) :]: text for one in group for key, text in one.said.items() if key.startswith(mark)
        }
        for file, text in pictures.items():
            said, named = text.lower(), file.lower()
            figure = next((name for name in ("latency", "throughput") if name in named), "")
            axis = re.search(r"-([a-z]+)-(true|false)\.", named)
            wrong = [f"another figure than {figure}"] if figure and figure not in said else []
            wrong += [f"another axis than {axis[1]}"] if axis and axis[1] not in said else []
            if wrong:
                yield Difference(
                    document=group[0].document,
                    where=file,
                    printed=text,
                    computed=file.rpartition(".")[0],
                    sentence=f'The alternative text of {file}, "{text}", names {" and ".join(wrong)}.',
                    kind="caption contradicts its file",
                )


def _unknown(text: str) -> str:
    try:
        instances.find(text.lower())
    except ValueError as error:
        return str(error)
    return ""


def _with_raw(entries: Sequence[PublishedRow]) -> list[PublishedRow]:
    """Entries with a printed latency and one of the files behind the page."""
    return [one for one in entries if one.latency and one.raw(one.latency) is not None]


def _backed(entries: Sequence[PublishedRow]) -> list[PublishedRow]:
    """Those whose series is of these files."""
    series = grouped(_with_raw(entries), lambda one: (one.document, one.model, one.machine))
    return [one for group in series if _is_of_its_files(group) for one in group]


def _is_of_its_files(group: Sequence[PublishedRow]) -> bool:
    told = sum(_fits(one, one.latency) or _fits(one, "latency_mean_ms") for one in group)
    return 2 * told >= len(group)


def _fits(one: PublishedRow, column: str) -> bool:
    return printed_figures.fits(one.raw(column), one.text(one.latency))


def _behind(one: PublishedRow) -> float:
    """The unrounded figure that its row has."""
    return float(one.value(one.latency))


def _is_cut(value: float, text: str) -> bool:
    return (
        printed_figures.bare(text) == printed_figures.cut(value, text) != printed_figures.rounded(value, text)
    )

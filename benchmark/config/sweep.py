"""Turn the overrides of a command into the experiments of its grid: read, compose, exclude, type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import filter_overrides
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from benchmark.config.command_line import command_line
from benchmark.config.compose import ComposedCell, Composer
from benchmark.config.experiment import Experiment, Gate
from benchmark.config.first_look import looked_at_first
from benchmark.config.folder import CONF, search_path
from benchmark.config.grid import Excluded, Grid, Line, Texts, exclusions, refuse_unknown_keys
from benchmark.config.hydra_settings import (
    algebra,
    on_cluster,
    overrides_parser,
    refuse_choices,
    refuse_in_grid,
    refuse_in_verb,
    refuse_set_by_swept,
    settings_of_grid,
    sweeper_params,
)
from benchmark.errors import ConfigError

_FUNCTION = re.compile(r"(choice|range|glob|sort)\(.*\)$", re.DOTALL)
"""Sweeps that can't be mistaken for a plain text."""


class Job(NamedTuple):
    """One cell of a sweep, composed."""

    overrides: Texts
    composed: ComposedCell
    excluded: str | None
    """Why it is left out; null: it is kept."""


class TypedGrid(NamedTuple):
    """Cells of a grid, typed."""

    experiments: list[Experiment]
    excluded: tuple[Excluded, ...] = ()
    on_cluster: bool = False
    """Whether hydra/launcher=ray runs them."""


def grid(arguments: Sequence[str], verb: str | None = None) -> list[Experiment]:
    """Experiments of a run with these overrides, without the excluded ones."""
    return compose_grid(arguments, verb).experiments


def compose_grid(arguments: Sequence[str], verb: str | None = None) -> TypedGrid:
    """Compose and type the grid of these words of a command line, without creating Hydra's output folder.

    `verb` names a verb that uses no launcher and no callbacks, so that they are refused.

    Raises:
        ConfigError, HydraException: words that a run doesn't take either, or the first cell that fails.
    """
    words = command_line(arguments)
    GlobalHydra.instance().clear()
    place = str(words.config_path or CONF)
    with looked_at_first(), initialize_config_dir(place, version_base="1.3", job_name="benchmark"):
        loader = GlobalHydra.instance().config_loader()
        if words.config_dir is not None:
            loader = _with_folder(loader, words.config_dir)
        master = loader.load_configuration(words.config_name, words.overrides, run_mode=RunMode.MULTIRUN)
        if verb:
            refuse_in_verb(master, verb)
        master.get("campaign")  # resolves its ${now:} once, as Hydra's own runs do, so that cells share it
        return typed_grid(loader, master, list(master.hydra.overrides.task))


def _with_folder(loader: ConfigLoader, folder: Path) -> ConfigLoader:
    """A loader that looks into this folder too, as `--config-dir` of a run."""
    from hydra._internal.hydra import Hydra

    path = loader.get_search_path()
    path.prepend(provider="command-line", path=f"file://{folder}", anchor=SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    return Hydra.create_main_hydra2("benchmark", path).config_loader


def typed_grid(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> TypedGrid:
    """Type every cell of a sweep that isn't excluded.

    Raises:
        ConfigError, HydraException: settings that would be ignored, or the first cell that can't be composed
            or typed.
    """
    gate, kept, excluded = Gate(search_path(master.hydra)), [], []
    for job in jobs(loader, master, arguments):
        if job.excluded is None:
            cell = job.composed
            kept.append(gate.experiment(cell.plain, filter_overrides(job.overrides), cell.environment))
        else:
            excluded.append(Excluded(overrides=job.overrides, reason=job.excluded))
    return TypedGrid(kept, tuple(excluded), on_cluster(master.hydra))


def jobs(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> Iterator[Job]:
    """Compose every cell of a sweep, excluded ones too. Each of several experiments has its own grid.

    Raises:
        ConfigError, HydraException: settings that would be ignored, an algebra that can't be read, or a cell
            that can't be composed.
    """
    refuse_in_grid(master)
    refuse_choices(loader, master.hydra, arguments, RunMode.MULTIRUN)
    number = 0
    for own, words in _by_experiment(loader, master, arguments):
        for job in _jobs(loader, own, words, number):
            number += job.excluded is None
            yield job


def _explain_unknown_option(grid: Grid, overrides: Texts, message: str) -> None:
    """Refuse an option that only some of the swept plug-ins have; say how to give it to these only."""
    found = re.match(r"Could not override '((\w+)\.[^']+)'", message)
    texts = {**grid.axes, **grid.requested}.get(found[2], ()) if found else ()
    if found and len(texts) > 1:
        key, group = found[1], found[2]
        (name,) = [word.partition("=")[2] for word in overrides if word.startswith(f"{group}=")]
        rest = ",".join(text for text in texts if text != name)
        raise ConfigError(
            f"{key}: {group}={name} has no such key: run {group}={name} by itself in the same campaign, and "
            f"{group}={rest} with {key}; or, in an experiment, add it by include: [{{{group}: {name}}}]"
        )


def _by_experiment(
    loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]
) -> Iterator[tuple[DictConfig, Sequence[str]]]:
    """The configuration and the overrides of each experiment, where several are requested."""
    parsed = overrides_parser(loader, master).parse_overrides(list(arguments))
    swept = [one for one in parsed if one.key_or_group == "experiment" and one.is_sweep_override()]
    if not swept:
        yield master, arguments
        return
    others = [word for word, one in zip(arguments, parsed, strict=True) if one.key_or_group != "experiment"]
    for text in swept[-1].sweep_string_iterator():
        words = [*others, f"experiment={text}"]
        own = loader.load_configuration(
            master.hydra.job.config_name, [*master.hydra.overrides.hydra, *words], run_mode=RunMode.MULTIRUN
        )
        OmegaConf.copy_cache(from_config=master, to_config=own)
        refuse_set_by_swept(settings_of_grid(master), master, own, axes_too=False)
        yield own, words


def _jobs(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str], number: int) -> Iterator[Job]:
    written = algebra(master)
    exclude = exclusions(written["exclude"])
    grid = _grid(loader, master, arguments, written)
    constant = frozenset(f"{key}={texts[0]}" for key, texts in grid.requested.items() if len(texts) == 1)
    composer, composed, first = Composer(loader, master, constant), None, number
    seen: set[str] = set()
    conditional = {key for exclusion in exclude for key in exclusion.conditions}
    cells = chain(((cell, exclude) for cell in grid.swept()), ((cell, ()) for cell in grid.singles()))
    for overrides, conditions in cells:
        try:
            composed = composer.compose(overrides, number)
        except HydraException as error:
            _explain_unknown_option(grid, overrides, str(error))
            raise
        values = composed.values(conditional)
        seen.update(values)
        reasons = [exclusion.reason for exclusion in conditions if exclusion.matches(values)]
        number += not reasons
        yield Job(overrides, composed, reasons[0] if reasons else None)
    if composed is not None:
        refuse_unknown_keys(exclude, seen, [*composed.choices, *composed.plain])
    if number == first:
        removed_by = "; ".join(exclusion.reason for exclusion in exclude)
        cause = f"exclude removes all ({removed_by})" if removed_by else "include has no matching cell"
        raise ConfigError(f"the grid has no cell: {cause}")


def _grid(
    loader: ConfigLoader, master: DictConfig, arguments: Sequence[str], written: Mapping[str, Any]
) -> Grid:
    parser = overrides_parser(loader, master)
    params = [f"{key}={value}" for key, value in sweeper_params(master.hydra).items()]
    blocks = written["pair"] if isinstance(written["pair"], list) else [written["pair"]]
    return Grid(
        axes=_axes(parser.parse_overrides(params)),
        requested=_axes(_once_each(parser.parse_overrides(list(arguments)))),
        pairs=tuple(_rows(parser, f"pair[{number}]", block) for number, block in enumerate(blocks)),
        include=tuple(
            line
            for number, entry in enumerate(written["include"])
            for line in _lines(parser, f"include[{number}]", entry)
        ),
    )


def _once_each(overrides: Sequence[Override]) -> Sequence[Override]:
    """Refuse a key that is given twice and swept: values would be lost. Of plain values the last one wins."""
    first: dict[str, Override] = {}
    for one in overrides:
        before = first.setdefault(one.get_key_element(), one)
        if before is not one and (before.is_sweep_override() or one.is_sweep_override()):
            raise ConfigError(
                f"{before.input_line} and {one.input_line}: write the values of a key in one place"
            )
    return overrides


def _axes(overrides: Iterable[Override]) -> dict[str, Texts]:
    """Texts by key, as Hydra's own sweeper spells them. A later override of a key replaces an earlier one."""
    axes = {}
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(f"{override.input_line}: a grid needs single values, such as a,b or range(1,4)")
        swept = override.is_sweep_override()
        texts = override.sweep_string_iterator() if swept else [override.get_value_element_as_str()]
        if not (spelled := tuple(texts)):
            raise ConfigError(f"{override.input_line}: no name matches")
        axes[override.get_key_element()] = spelled
    return axes


def _rows(parser: OverridesParser, where: str, block: Any) -> tuple[Line, ...]:
    """Rows of zipped columns. A column is a list of values or a sweep such as `1,8` or `range(1,4)`."""
    if not isinstance(block, Mapping) or not block:
        raise ConfigError(
            f"{where}: should be columns such as {{batch: [1, 8], seq_len: [512, 128]}}, got {block!r}"
        )
    columns = {}
    for key, column in block.items():
        if isinstance(column, list):
            columns[str(key)] = [_text(parser, str(key), value) for value in column]
        else:
            columns |= {
                name: list(texts) for name, texts in _axes(_parsed(parser, where, f"{key}={column}")).items()
            }
    lengths = {key: len(texts) for key, texts in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        counts = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise ConfigError(f"{where}: zipped columns must have equally many values; they have: {counts}")
    return tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _lines(parser: OverridesParser, where: str, entry: Any) -> Iterator[Line]:
    """The cells of an entry: one, or the product of its values such as `choice(1,8)` or `range(4)`."""
    if not isinstance(entry, Mapping) or not entry:
        raise ConfigError(f"{where}: should be one cell such as {{model: bert, batch: 64}}, got {entry!r}")
    texts = [_texts(parser, where, str(key), value) for key, value in entry.items()]
    for choice in product(*texts):
        yield dict(zip(map(str, entry), choice, strict=True))


def _texts(parser: OverridesParser, where: str, key: str, value: Any) -> Texts:
    """What a function of Hydra's grammar lists, or the one value. A text with commas is one value."""
    if isinstance(value, str) and _FUNCTION.match(value):
        axes = _axes(_parsed(parser, where, f"{key}={value}"))
        return axes[key]
    return (_text(parser, key, value),)


def _text(parser: OverridesParser, key: str, value: Any) -> str:
    """A YAML value as an override spells it, quoted where the grammar would misread it."""
    plain = Override._get_value_element_as_str(value)  # noqa: SLF001 - Hydra's own spelling
    if not isinstance(value, str):
        return plain
    try:
        (read,) = parser.parse_overrides([f"{key}={plain}"])
        same = not read.is_sweep_override() and read.value() == value
    except HydraException:
        same = False
    return plain if same else QuotedString(text=value, quote=Quote.single).with_quotes()


def _parsed(parser: OverridesParser, where: str, text: str) -> list[Override]:
    try:
        return parser.parse_overrides([text])
    except HydraException as error:
        raise ConfigError(f"{where}: {text} can't be read: write a list, or values such as 1,8") from error

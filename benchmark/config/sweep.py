"""Turn the overrides of a command into the experiments of its grid: read, compose, exclude, type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import filter_overrides
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from benchmark.config.compose import ComposedCell, Composer
from benchmark.config.experiment import ALGEBRA, Experiment, Gate
from benchmark.config.folder import CONF
from benchmark.config.grid import Excluded, Grid, Line, Texts, exclusions, refuse_unknown_keys
from benchmark.errors import ConfigError

_SWEEPER = "hydra_plugins.benchmark_sweepers.grid.GridSweeper"


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


def grid(arguments: Sequence[str]) -> list[Experiment]:
    """Experiments of a run with these overrides, without the excluded ones."""
    return compose_grid(arguments).experiments


def compose_grid(arguments: Sequence[str]) -> TypedGrid:
    """Compose and type the grid of these overrides, without creating Hydra's output folder."""
    given = [argument for argument in arguments if argument not in {"-m", "--multirun"}]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="benchmark"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", given, run_mode=RunMode.MULTIRUN)
        master.get("campaign")  # resolves its ${now:} once, as Hydra's own runs do, so that cells share it
        return typed_grid(loader, master, list(master.hydra.overrides.task))


def typed_grid(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> TypedGrid:
    """Type every cell of a sweep that isn't excluded.

    Raises:
        ConfigError, HydraException: the first cell that can't be composed or typed.
    """
    gate, kept, excluded = Gate(), [], []
    for job in jobs(loader, master, arguments):
        if job.excluded is None:
            kept.append(gate.experiment(job.composed.plain, filter_overrides(job.overrides)))
        else:
            excluded.append(Excluded(overrides=job.overrides, reason=job.excluded))
    return TypedGrid(kept, tuple(excluded))


def jobs(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> Iterator[Job]:
    """Compose every cell of a sweep, excluded ones too.

    Raises:
        ConfigError, HydraException: the algebra can't be read, or a cell can't be composed.
    """
    algebra = _algebra(master)
    exclude = exclusions(algebra["exclude"])
    grid = _grid(loader, master, arguments, algebra)
    composer, number, composed = Composer(loader, master), 0, None
    seen: set[str] = set()
    conditional = {key for exclusion in exclude for key in exclusion.conditions}
    cells = chain(((cell, exclude) for cell in grid.swept()), ((cell, ()) for cell in grid.singles()))
    for overrides, conditions in cells:
        composed = composer.compose(overrides, number)
        values = composed.values(conditional)
        seen.update(values)
        reasons = [exclusion.reason for exclusion in conditions if exclusion.matches(values)]
        number += not reasons
        yield Job(overrides, composed, reasons[0] if reasons else None)
    if composed is not None:
        refuse_unknown_keys(exclude, seen, [*composed.choices, *composed.plain])
    if not number:
        removed_by = "; ".join(exclusion.reason for exclusion in exclude)
        cause = f"exclude removes all ({removed_by})" if removed_by else "include has no matching cell"
        raise ConfigError(f"the grid has no cell: {cause}")


def refuse_unread_algebra(cfg: DictConfig, sweeper: str | None) -> None:
    """Refuse `pair`, `include` and `exclude` in a single run or under another sweeper: they would be ignored.

    Raises:
        ConfigError: says what to change.
    """
    if sweeper == _SWEEPER:
        return
    for key, written in _algebra(cfg).items():
        if written:
            advice = (
                "leave out hydra/sweeper=" if sweeper else "add -m, or hydra.mode: MULTIRUN to the experiment"
            )
            raise ConfigError(f"{key}: works only in a grid with this project's sweeper: {advice}")


def _algebra(cfg: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [key for key in ALGEBRA if key in cfg]), resolve=True
    )
    return {key: plain.get(key) or [] for key in ALGEBRA}


def _grid(
    loader: ConfigLoader, master: DictConfig, arguments: Sequence[str], algebra: Mapping[str, Any]
) -> Grid:
    parser = OverridesParser.create(config_loader=loader)
    params = [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]
    blocks = algebra["pair"] if isinstance(algebra["pair"], list) else [algebra["pair"]]
    return Grid(
        axes=_axes(parser.parse_overrides(params)),
        requested=_axes(parser.parse_overrides(list(arguments))),
        pairs=tuple(_rows(parser, f"pair[{number}]", block) for number, block in enumerate(blocks)),
        include=tuple(_line(parser, f"include[{n}]", line) for n, line in enumerate(algebra["include"])),
    )


def _axes(overrides: Iterable[Override]) -> dict[str, Texts]:
    """Texts by key, as Hydra's own sweeper spells them. A later override of a key replaces an earlier one."""
    axes = {}
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(f"{override.input_line}: a grid needs single values, such as a,b or range(1,4)")
        swept = override.is_sweep_override()
        texts = override.sweep_string_iterator() if swept else [override.get_value_element_as_str()]
        axes[override.get_key_element()] = tuple(texts)
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


def _line(parser: OverridesParser, where: str, line: Any) -> Line:
    if not isinstance(line, Mapping) or not line:
        raise ConfigError(f"{where}: should be one cell such as {{model: bert, batch: 64}}, got {line!r}")
    return {str(key): _text(parser, str(key), value) for key, value in line.items()}


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

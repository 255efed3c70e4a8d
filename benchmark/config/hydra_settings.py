"""Hydra's own settings: a run honours them, or refuses them with the way to write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from benchmark.config.experiment import ALGEBRA
from benchmark.config.mistakes import list_for_one_value
from benchmark.errors import ConfigError
from benchmark.spelling import did_you_mean

SWEEPER: Final = "hydra_plugins.benchmark_sweepers.grid.GridSweeper"
_BASIC_SWEEPER: Final = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_LAUNCHER: Final = "hydra_plugins.benchmark_launchers.staged.StagedLauncher"
_ON_CLUSTER: Final = "hydra_plugins.benchmark_launchers.ray.RayLauncher"
_OURS: Final = {_LAUNCHER: "staged", _ON_CLUSTER: "ray"}
"""Launchers that take a grid whole, with their names."""
_ONE_NAME: Final = ("model", "task", "compiler", "hardware", "scenario", "sampling", "options", "experiment")
"""Config groups of which a cell has one name."""
_SINGLE_CELL_HOOKS: Final = ("on_job_start", "on_job_end")
_OF_THE_COMMAND: Final = frozenset(
    {"overrides", "runtime", "mode", "help", "hydra_help", "searchpath", "job"}
)
"""Keys of `hydra` that differ between cells in any case, or that Hydra reads from the command only."""


def algebra(cfg: DictConfig) -> dict[str, Any]:
    """`pair`, `include` and `exclude` of a configuration; an empty list for what is not written."""
    plain: Any = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [key for key in ALGEBRA if key in cfg]), resolve=True
    )
    return {key: plain.get(key) or [] for key in ALGEBRA}


def refuse_in_single_run(cfg: DictConfig, hydra: DictConfig) -> None:
    """Refuse what a run of one cell would ignore. `cfg` is the configuration without its key `hydra`.

    Raises:
        ConfigError: says what to change.
    """
    mistakes = [*_chdir(hydra), *_of_a_cluster(cfg, hydra)]
    launcher = "" if hydra.launcher._target_ == _LAUNCHER else hydra.runtime.choices.get("hydra/launcher", "")
    written = {"hydra.sweeper.params": sweeper_params(hydra), **algebra(cfg)}
    written |= {f"hydra/launcher={launcher}": launcher}
    add = "add -m, or hydra.mode: MULTIRUN to the experiment"
    mistakes += [f"{key}: works only in a grid: {add}" for key, value in written.items() if value]
    _refuse(mistakes)


def refuse_in_job(cfg: DictConfig, hydra: DictConfig) -> None:
    """Refuse what a cell that a stock launcher runs would ignore.

    Raises:
        ConfigError: says what to change.
    """
    mistakes = [*_chdir(hydra), *_unread_algebra(cfg, hydra), *_nested(hydra), *_of_a_cluster(cfg, hydra)]
    if hydra.sweeper._target_ != SWEEPER:
        swept = {word.partition("=")[0].lstrip("+") for word in hydra.overrides.task}
        mistakes += [
            f"hydra.sweeper.params.{key}: comes with a choice that is swept, too late to be an axis: "
            "run one command for each, or leave out hydra/sweeper="
            for key in sweeper_params(hydra)
            if key.lstrip("+") not in swept
        ]
    _refuse(mistakes)


def refuse_in_grid(master: DictConfig) -> None:
    """Refuse settings that the chosen launcher and sweeper would ignore.

    Raises:
        ConfigError: every one, with what to write instead.
    """
    hydra = master.hydra
    mistakes = [*_chdir(hydra), *_unread_algebra(master, hydra), *_foreign_sweeper(hydra), *_nested(hydra)]
    if name := _OURS.get(hydra.launcher._target_):
        mistakes += _unknown_to_ours(hydra, name)
    _refuse([*mistakes, *_of_a_cluster(master, hydra)])


def on_cluster(hydra: DictConfig) -> bool:
    """Whether the cells run on the nodes of a cluster."""
    return bool(hydra.launcher._target_ == _ON_CLUSTER)


def refuse_in_verb(master: DictConfig, verb: str) -> None:
    """Refuse a launcher and callbacks in a verb that measures or compiles by itself.

    Raises:
        ConfigError: says what to change.
    """
    launchers = {_LAUNCHER, _ON_CLUSTER} if verb == "tune" else {_LAUNCHER}
    written = {"hydra/launcher": master.hydra.launcher._target_ not in launchers}
    written["hydra.callbacks"] = bool(master.hydra.callbacks)
    advice = "`stage=compile` in a run" if verb == "compile" else "hydra/launcher=staged and ~hydra.callbacks"
    _refuse([f"{key}: {verb} doesn't use it: use {advice}" for key, value in written.items() if value])


def settings_of_grid(cfg: DictConfig) -> dict[str, Any]:
    """What Hydra, or the sweeper, reads once for a whole grid, by key."""
    hydra = {f"hydra.{key}": _plain(cfg.hydra, key) for key in cfg.hydra if key not in _OF_THE_COMMAND}
    sweeper = hydra["hydra.sweeper"]
    axes = {"hydra.sweeper.params": sweeper.pop("params", None) or {}} if sweeper else {}
    return hydra | axes | {key: _plain(cfg, key) or [] for key in ALGEBRA if key in cfg}


def refuse_set_by_swept(
    before: Mapping[str, Any], master: DictConfig, composed: DictConfig, *, axes_too: bool = True
) -> None:
    """Refuse a cell whose choices set what is read once, before the cells are made. `before`: of `master`.

    Raises:
        ConfigError: names the keys.
    """
    now = settings_of_grid(composed)
    axes = set() if axes_too else {"hydra.sweeper.params", *ALGEBRA}
    if changed := [key for key in now if now[key] != before.get(key) and key not in axes]:
        common = master.hydra.overrides.task
        words = " ".join(word for word in composed.hydra.overrides.task if word not in common)
        raise ConfigError(
            f"{', '.join(changed)}: set by a choice that is swept ({words}), but read once for a grid: "
            "run one command for each, or set it on the command line"
        )


def refuse_choices(
    loader: ConfigLoader, hydra: DictConfig, overrides: Sequence[str], mode: RunMode = RunMode.RUN
) -> None:
    """Refuse several names for a group, whose YAMLs Hydra merges, and options that no YAML has.

    Raises:
        ConfigError: how to sweep, or to pair, the names; or the nearest name.
    """
    _refuse_missing_options(loader, hydra, overrides)
    absent = [key for key in _ONE_NAME if key not in hydra.runtime.choices]
    if not absent:  # Hydra knows the choice of each group, except that of a list
        return
    name, own = hydra.job.config_name, list(hydra.overrides.hydra)
    chosen = [
        PurePosixPath(one.config_path)
        for one in loader.compute_defaults_list(name, [*own, *overrides], mode).defaults
        if one.config_path
    ]
    for group in absent:
        names = [path.name for path in chosen if str(path.parent) == group]
        if len(names) > 1 and (group != "experiment" or _several_sweep(loader, name, own, names)):
            raise ConfigError(list_for_one_value(group, names))


def _refuse_missing_options(loader: ConfigLoader, hydra: DictConfig, overrides: Sequence[str]) -> None:
    """Hydra may find none, as most compilers have none for most models; but not where they are named."""
    chosen = OmegaConf.to_container(hydra.runtime.choices).get("options")  # type: ignore[union-attr]
    is_named = any(word.startswith("options=") and "$" not in word for word in overrides)
    if not is_named or not isinstance(chosen, str) or "$" in chosen:
        return
    group, _, name = chosen.rpartition("/")
    folders = [f"{folder}/" for folder in loader.get_group_options("options", ObjectType.GROUP)]
    if name not in loader.get_group_options(f"options/{group}".rstrip("/"), ObjectType.CONFIG):
        known = [
            f"{folder}{one}"
            for folder in ("", *folders)
            for one in loader.get_group_options(f"options/{folder}".rstrip("/"), ObjectType.CONFIG)
        ]
        hint = did_you_mean(chosen, known) or f"known: {', '.join(known)}"
        raise ConfigError(f"options={chosen}: there are no such options in conf/options; {hint}")


def _several_sweep(loader: ConfigLoader, config_name: str, own: Sequence[str], names: Sequence[str]) -> bool:
    """Whether more than one of these experiments has axes or an algebra: merged, some would be lost."""
    alone = [
        loader.load_configuration(config_name, [*own, f"experiment={name}"], RunMode.MULTIRUN)
        for name in names
    ]
    return sum(bool(sweeper_params(one.hydra) or any(algebra(one).values())) for one in alone) > 1


def overrides_parser(loader: ConfigLoader, master: DictConfig) -> OverridesParser:
    """A parser whose `glob(*)` sees the YAMLs of `hydra.searchpath` too."""
    return OverridesParser.create(config_loader=cast("ConfigLoader", _Groups(loader, master)))


class _Groups:
    """Answers the only question of an `Override` to its config loader."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._name = loader, master.hydra.job.config_name
        self._overrides = list(master.hydra.overrides.hydra)

    def get_group_options(
        self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG
    ) -> list[str]:
        """Names of a group, of `hydra.searchpath` too."""
        return self._loader.get_group_options(group_name, results_filter, self._name, self._overrides)


def _plain(cfg: DictConfig, key: Any) -> Any:
    node = cfg._get_node(key)  # noqa: SLF001 - the only access to an unresolved node
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else str(node)


def sweeper_params(hydra: DictConfig) -> Mapping[str, Any]:
    """Axes of the experiment, by key.

    Raises:
        ConfigError: they are not keys with their values.
    """
    params: Any = OmegaConf.select(hydra, "sweeper.params") or {}
    if not isinstance(params, Mapping):
        raise ConfigError(f'hydra.sweeper.params={params}: should be a mapping such as {{batch: "1,2"}}')
    for key, value in params.items():
        if isinstance(value, Mapping):
            inner, values = next(iter(value.items()), ("KEY", "A,B"))
            raise ConfigError(
                f"hydra.sweeper.params.{key}: an axis is one key with its values: write "
                f'{key}.{inner}: "{values}"'
            )
    return params


def _chdir(hydra: DictConfig) -> Iterator[str]:
    if hydra.job.chdir:
        yield (
            "hydra.job.chdir=true: store.root, cache.root and your own paths start at the folder of the "
            "command: leave it out; output_folder= chooses the folder of logs and pictures"
        )


def _unread_algebra(cfg: DictConfig, hydra: DictConfig) -> Iterator[str]:
    if hydra.sweeper._target_ == SWEEPER:
        return
    for key, value in algebra(cfg).items():
        if value:
            yield f"{key}: works only in a grid with this project's sweeper: leave out hydra/sweeper="


def _nested(hydra: DictConfig) -> Iterator[str]:
    """An experiment among the axes of an experiment: one of both would be lost."""
    chosen = OmegaConf.select(hydra, "runtime.choices.experiment")
    swept = sweeper_params(hydra).get("experiment")
    if chosen and swept:
        yield (
            f"hydra.sweeper.params.experiment: experiment={chosen} can't sweep experiments: write "
            f"experiment={swept} after -m"
        )


def _foreign_sweeper(hydra: DictConfig) -> Iterator[str]:
    target = hydra.sweeper._target_
    if target not in {SWEEPER, _BASIC_SWEEPER}:
        yield (
            f"hydra/sweeper={hydra.runtime.choices['hydra/sweeper']}: chooses cells by a number that a task "
            "returns, and a run returns an exit code: leave it out, and write the values: batch=1,2,4"
        )
    extra = set(hydra.sweeper) - {"_target_", "params", "max_batch_size"}
    if target == SWEEPER and extra:
        yield (
            f"hydra.sweeper.{min(extra)}: unknown to the sweeper of this project, whose keys are params and "
            "max_batch_size"
        )


def _of_a_cluster(cfg: DictConfig, hydra: DictConfig) -> Iterator[str]:
    """Options of hydra/launcher=ray where another launcher runs the cells."""
    if not on_cluster(hydra):
        for key, default in (("address", None), ("wait_s", 0)):
            value = OmegaConf.select(cfg, f"launcher.{key}")
            if value != default:
                yield f"launcher.{key}={value}: needs hydra/launcher=ray: choose it, or leave this out"


def _unknown_to_ours(hydra: DictConfig, name: str) -> Iterator[str]:
    """Settings that mean something only where each cell is a job of Hydra's."""
    stock = "choose hydra/launcher=basic, which runs each cell as a job of its own"
    for key in sorted(set(hydra.launcher) - {"_target_"}):
        yield (
            f"hydra.launcher.{key}: the launcher `{name}` has no options: choose the launcher that has it by "
            "hydra/launcher=, or see the section launcher"
        )
    subdir = OmegaConf.to_container(hydra.sweep, resolve=False)["subdir"]  # type: ignore[call-overload,index]
    if subdir != ".":
        yield (
            f"hydra.sweep.subdir={subdir}: the cells of a grid share output_folder, where their logs are "
            f"named by run_id: leave it out, or {stock}"
        )
    if hydra.output_subdir not in {None, ".hydra"}:
        yield f"hydra.output_subdir={hydra.output_subdir}: rows hold it all: leave it out, or {stock}"
    if hydra.sweeper.get("max_batch_size"):
        yield f"hydra.sweeper.max_batch_size: `{name}` takes the whole grid: leave it out, or {stock}"
    for key, callback in (hydra.callbacks or {}).items():
        hooks = [hook for hook in _SINGLE_CELL_HOOKS if _overrides(callback, hook)]
        if hooks:
            yield (
                f"hydra.callbacks.{key}: the launcher `{name}` never calls {' and '.join(hooks)}: use "
                f"on_multirun_end, or {stock}"
            )


def _overrides(callback: DictConfig, hook: str) -> bool:
    try:
        own = getattr(get_class(callback._target_), hook, None)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"hydra.callbacks: {callback._target_} cannot be imported ({error})") from error
    return own is not None and own is not getattr(Callback, hook)


def _refuse(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise ConfigError("\n".join(mistakes))

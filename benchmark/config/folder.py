"""The folder conf/: where it is, which YAMLs its groups have, and what one of them says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmark.errors import ConfigError

T = TypeVar("T")
_NESTED: Final = "importer"
"""The only field of such an object that is a plug-in too."""

_PACKAGE: Final = Path(__file__).resolve().parents[1]
CONF: Final = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())
"""Inside the package where it is installed from a wheel, else beside it."""


def options(group: str) -> list[str]:
    """Names of the YAMLs of a config group."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def file_of(group: str, name: str) -> Path:
    """The YAML of this name in a config group; it need not exist."""
    return CONF / group / f"{name}.yaml"


def search_path(hydra: Any) -> tuple[Path, ...]:
    """Folders that Hydra searches for YAMLs, by its composed section `hydra`."""
    sources = hydra.runtime.config_sources
    return tuple(Path(source.path) for source in sources if source.schema == "file")


def read_from(folders: Iterable[Path], group: str, name: str) -> Path:
    """The YAML that Hydra reads: from the first folder that has it, else from conf/."""
    files = (Path(folder, group, f"{name}.yaml") for folder in folders)
    return next((file for file in files if file.is_file()), file_of(group, name))


def first_comment(group: str, name: str) -> str:
    """First line of a YAML, without its `#`: what the YAML is for."""
    return file_of(group, name).read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def read(file: Path) -> dict[str, Any]:
    """Keys and values of a YAML. `_target_` stays a text, interpolations are not resolved."""
    import yaml

    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def load_object(file: Path, kind: type[T]) -> T:
    """Make the object of a registered class that a YAML describes by `_target_`. It may be a stranger's file.

    Raises:
        ConfigError: the file can't be read, a key or value is wrong, it names what isn't registered, it holds
            an interpolation, or the object is not of this kind.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from benchmark.config.plugins import TARGET, stray

    try:
        raw: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from error
    refuse_interpolations(raw, str(file))
    if mistakes := list(stray(raw, but={TARGET, f"{_NESTED}.{TARGET}"})):
        raise ConfigError(f"{file}: {mistakes[0]}")
    if isinstance(raw, dict) and isinstance(raw.get(_NESTED), dict):
        raw[_NESTED] = _made(raw[_NESTED], file, f"{_NESTED}.")
    made = _made(raw, file)
    if not isinstance(made, kind):
        raise ConfigError(f"{file} is no {kind.__name__.lower()}: its {TARGET} must be one")
    return made


def refuse_interpolations(tree: Any, where: str) -> None:
    """Refuse `${...}` at any depth: in a stranger's file it could read environment variables.

    Raises:
        ConfigError: shows the first. `where` is the file.
    """
    if isinstance(tree, str) and "${" in tree:
        raise ConfigError(f"{where}: {tree[:80]}: interpolations are not read here: write the value")
    if isinstance(tree, dict):
        refuse_interpolations([*tree.keys(), *tree.values()], where)
    elif isinstance(tree, list):
        for node in tree:
            refuse_interpolations(node, where)


def _made(raw: Any, file: Path, prefix: str = "") -> Any:
    from pydantic import ValidationError

    from benchmark.config.plugins import TARGET, plugin_class

    key = f"{prefix}{TARGET}"
    if not isinstance(raw, dict) or not isinstance(raw.get(TARGET), str):
        raise ConfigError(f"{file}: {key}: is missing: it names the class of a plug-in")
    made_by = plugin_class(raw[TARGET], f"{file}: {key}")
    try:
        return made_by(**{str(field): value for field, value in raw.items() if field != TARGET})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{file}: {prefix}{place}: {first['msg']}") from error
    except TypeError as error:
        raise ConfigError(f"{file}: {error}") from error

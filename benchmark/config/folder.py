"""The folder conf/: where it is, which YAMLs its groups have, and what one of them says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmark.errors import ConfigError

T = TypeVar("T")

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
    """Make the object that a YAML describes by `_target_`.

    Raises:
        ConfigError: the file can't be read, a key or value is wrong, or the object is not of this kind.
    """
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from pydantic import ValidationError
    from yaml import YAMLError

    try:
        made = instantiate(OmegaConf.load(file), _convert_="all")
    except (HydraException, OmegaConfBaseException, YAMLError, OSError) as error:
        cause = error.__cause__
        if isinstance(cause, ValidationError):
            first = cause.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            reason = str(error).partition("\n")[0]
        raise ConfigError(f"{file}: {reason}") from error
    if not isinstance(made, kind):
        raise ConfigError(f"{file} is no {kind.__name__.lower()}: its _target_ must be one")
    return made

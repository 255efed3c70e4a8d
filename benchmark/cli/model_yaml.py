"""The text of a model's YAML, in the order and style of those in conf/model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_WIDTH = 100


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line, mappings and other lists indented below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - as its base's
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - as its base's
        return True


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    is_plain = not any(isinstance(value, (list, dict)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_plain)


_Dumper.add_representer(list, _list)


def text_of(  # noqa: PLR0913 - the keys of a model's YAML
    *,
    comment: str,
    task: str,
    name: str,
    hub_id: str | None,
    revision: str | None,
    image_size: int | None,
    parameters: Mapping[str, int],
    architecture: Mapping[str, Any],
) -> str:
    """Return the YAML; keys without a value are left out."""
    content: dict[str, Any] = {"defaults": [{"override /task@_global_.task": task}], "name": name}
    optional = {"hub_id": hub_id, "revision": revision, "image_size": image_size}
    content |= {key: value for key, value in optional.items() if value}
    content |= {"parameters": dict(parameters), "architecture": _plain(architecture)}
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)
    return f"# {comment}\n{text}"


def _plain(value: Any) -> Any:
    """Values as YAML has them: tuples are lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value

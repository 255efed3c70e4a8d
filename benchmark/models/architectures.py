"""What the installed transformers knows: its architectures, their default fields, their classes by task.

All of it is read from the library's source: importing the library takes seconds, and plans don't wait for it.
Without the library nothing is known, and nothing is refused.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.spelling import did_you_mean

_OWN = frozenset({"unet", "vgg"})
"""Architectures of this program: `models.convnets` registers them."""
OPTIONAL = frozenset({"attention_mask"})
"""Inputs that a task leaves out where the model has no such argument."""
_INPUTS = frozenset({
    "bbox", "decoder_input_ids", "encoder_hidden_states", "image_embeds", "input_boxes", "input_features",
    "input_ids", "input_points", "input_values", "pixel_attention_mask", "pixel_values",
    "pixel_values_videos", "query_embeds", "reference_pixel_values", "spatial_shapes", "task_inputs",
})  # fmt: skip
"""Arguments of `forward` that are inputs, where others are masks, states or switches."""
_FROM_PADDING = "create_position_ids_from_input_ids"
"""In the source of models, such as RoBERTa's, that number their tokens from `pad_token_id` + 1."""


def value(architecture: Mapping[str, Any], name: str) -> Any:
    """Value of a field: as stated, under the name or its alias, or else the library's default."""
    known = _fields(architecture.get("model_type"))
    alias = known.aliases.get(name, name)
    stated = next((architecture[key] for key in (name, alias) if key in architecture), None)
    return known.defaults.get(alias) if stated is None else stated


def nested(architecture: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A configuration inside another, such as `text_config`, with its `model_type`; empty: there is none."""
    known = _fields(architecture.get("model_type")).nested
    stated = architecture.get(name) or {}
    return stated if "model_type" in stated or name not in known else {**stated, "model_type": known[name]}


def most_tokens(architecture: Mapping[str, Any]) -> int | None:
    """Most tokens that the position embeddings have room for; None: the configuration states no limit."""
    limit = _limit(architecture)
    return limit[0] if limit else None


def explain_limit(architecture: Mapping[str, Any], most: int | None) -> str:
    """Name the field that this limit comes from: one of the configuration, or the YAML's own."""
    limit = _limit(architecture)
    return limit[1] if limit and limit[0] == most else f"max_sequence_length {most}"


def _limit(architecture: Mapping[str, Any]) -> tuple[int, str] | None:
    """Most tokens, and the field that says so."""
    for part, prefix in ((architecture, ""), (nested(architecture, "text_config"), "text_config.")):
        for name in ("max_position_embeddings", "max_target_positions"):
            most = value(part, name)
            if isinstance(most, int) and most > 0:
                padding = value(part, "pad_token_id")
                field = f"{prefix}{name} {most}"
                if isinstance(padding, int) and _counts_from_padding(part["model_type"]):
                    return most - padding - 1, f"{field}, less {padding + 1} for pad_token_id {padding}"
                return most, field
    return None


def image_edge(architecture: Mapping[str, Any]) -> int | None:
    """Pixels along an edge of the square images that the configuration is for; None: it doesn't say."""
    edge = edge_and_field(architecture)
    return edge[0] if edge else None


def edge_and_field(architecture: Mapping[str, Any]) -> tuple[int, str] | None:
    """Pixels along an edge, and the field that says so."""
    for part, prefix in ((architecture, ""), (nested(architecture, "vision_config"), "vision_config.")):
        for name in ("image_size", "input_size"):
            size = value(part, name)
            edges = set(size) if isinstance(size, (list, tuple)) else {size}
            if len(edges) == 1 and isinstance(edge := edges.pop(), int):
                return edge, f"{prefix}{name}"
    return None


def field_names(model_type: str) -> frozenset[str]:
    """Fields of the configuration, aliases included; empty: not known."""
    known = _fields(model_type)
    return frozenset({*known.defaults, *known.aliases, *known.nested})


def refuse(architecture: Mapping[str, Any], auto_class: str) -> str | None:
    """Return why transformers can't build this architecture with this class, or None."""
    if "model_type" not in architecture:
        return "model.architecture.model_type: is missing: it names the architecture, such as bert"
    for key, model_type in _types(architecture, "model.architecture"):
        known = {*_config_classes(), *_OWN}
        if known != _OWN and model_type not in known:
            hint = did_you_mean(str(model_type), known) or "is it newer than this version?"
            return f"{key}.model_type={model_type}: transformers has no such architecture; {hint}"
    model_type = architecture["model_type"]
    if not _auto_classes() or model_type in {*_classes(auto_class), *_OWN}:
        return None
    if auto_class not in _auto_classes() and _arguments(model_type, auto_class):
        return None
    others = auto_classes_of(model_type)
    only = f"it has only {', '.join(others)}" if others else "nor any other"
    return (
        f"model.architecture.model_type={model_type}: transformers has no {auto_class} for it; {only}: "
        "choose another task"
    )


def refuse_inputs(architecture: Mapping[str, Any], auto_class: str, feeds: Collection[str]) -> str | None:
    """Return why a model of this class can't be called with these inputs alone, or None.

    An `attention_mask` is left out where the class has none.
    """
    known = forward_arguments(architecture, auto_class)
    lacks = [name for name in feeds if name not in known and name not in OPTIONAL]
    needs = [name for name, has_default in known.items() if not has_default and name not in feeds]
    if not known or not (lacks or needs):
        return None
    (first, *_) = classes_of(architecture, auto_class)
    reads = f"it reads {_listed([*known][:3])}" if lacks else f"it needs {_listed(needs)} too"
    return (
        f"a {architecture['model_type']} ({first}) can't be called with {_listed(feeds)}, which this task "
        f"feeds: {reads}: choose another task"
    )


def unfed(architecture: Mapping[str, Any], auto_class: str, feeds: Collection[str]) -> str:
    """Name what a class reads beside the inputs that it gets, for the message of a call that failed."""
    known = forward_arguments(architecture, auto_class)
    others = [name for name in known if name in _INPUTS and name not in feeds]
    return f" alone (it also reads {_listed(others)})" if others else ""


def forward_arguments(architecture: Mapping[str, Any], auto_class: str) -> Mapping[str, bool]:
    """Arguments of `forward` in order, and whether each has a default; empty: not known."""
    model_type, classes = architecture.get("model_type"), classes_of(architecture, auto_class)
    return _arguments(str(model_type), classes[0]) if classes else {}


def classes_of(architecture: Mapping[str, Any], auto_class: str) -> tuple[str, ...]:
    """Classes that the Auto class has for the architecture; the one that `architectures` names first."""
    if auto_class not in _auto_classes():
        return (auto_class,)
    classes = _classes(auto_class).get(str(architecture.get("model_type")), ())
    named = architecture.get("architectures") or ()
    return tuple(sorted(classes, key=lambda name: name not in named))


def auto_classes_of(model_type: str) -> list[str]:
    """Every Auto class that has a class for this architecture."""
    return [name for name in _auto_classes() if model_type in _classes(name)]


def network_names(model_type: str) -> frozenset[str]:
    """Every network class in the source of an architecture; empty: not known."""
    if model_type not in _config_classes():
        return frozenset()
    sources = (file.read_text(encoding="utf-8") for file in _folder(model_type).glob("modeling_*.py"))
    return frozenset(name for text in sources for name in re.findall(r"^class (\w+)\(", text, re.MULTILINE))


@lru_cache(maxsize=1)
def read_from_gguf() -> frozenset[str]:
    """Architectures that transformers reads from GGUF files; empty: it isn't installed."""
    file = _library() and Path(str(_library())).with_name("integrations") / "ggml.py"
    text = file.read_text(encoding="utf-8") if file and file.is_file() else ""
    table = re.search(r"^GGUF_CONFIG_MAPPING = \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r'^    "(\w+)": \{', table[1], re.MULTILINE) if table else ()
    return frozenset(found) - {"general", "tokenizer"}


def names() -> frozenset[str]:
    """Every architecture that transformers has; empty: it isn't installed."""
    return frozenset(_config_classes())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _types(architecture: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Every stated `model_type`, those of nested configurations too, with its key."""
    for name, stated in architecture.items():
        if isinstance(stated, Mapping):
            yield from _types(stated, f"{key}.{name}")
    if "model_type" in architecture:
        yield key, architecture["model_type"]


class _Fields(NamedTuple):
    """Fields of one configuration class."""

    defaults: dict[str, Any]
    aliases: dict[str, str]
    """Common name of a field, as in `attribute_map`, to its name in this class."""
    nested: dict[str, str]
    """Field that is itself a configuration, to its `model_type`."""


@lru_cache(maxsize=512)
def _fields(model_type: str | None) -> _Fields:
    known = _Fields({}, {}, {})
    if (name := _config_classes().get(str(model_type))) is None:
        return known
    classes = {
        node.name: node
        for file in sorted(_folder(str(model_type)).glob("configuration_*.py"))
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    _read(name, classes, known)
    return known


def _read(name: str, classes: Mapping[str, ast.ClassDef], into: _Fields) -> None:
    """Read the fields of a class, those of its bases in the same folder first."""
    if name not in classes:
        return
    for base in classes[name].bases:
        if isinstance(base, ast.Name):
            _read(base.id, classes, into)
    for node in classes[name].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            _assign(node.target.id, node.value, classes, into)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            _assign(node.targets[0].id, node.value, classes, into)
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":  # transformers 4
            names = [argument.arg for argument in node.args.args]
            defaults = node.args.defaults
            for argument, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
                _assign(argument, default, classes, into)


def _assign(name: str, node: ast.expr, classes: Mapping[str, ast.ClassDef], into: _Fields) -> None:
    if name in {"sub_configs", "sub_configs_defaults"} and isinstance(node, ast.Dict):
        for key, kind in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(kind, ast.Name) and isinstance(key.value, str):
                inner = _Fields({}, {}, {})
                _read(kind.id, classes, inner)
                if "model_type" in inner.defaults:
                    into.nested[key.value] = inner.defaults["model_type"]
        return
    with suppress(ValueError):  # neither a literal nor a product of two, such as 4096 * 32
        product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
        factors = [
            ast.literal_eval(part)
            for part in ast.iter_child_nodes(node)
            if product and isinstance(part, ast.expr)
        ]
        default = math.prod(factors) if product else ast.literal_eval(node)
        if name == "attribute_map":
            into.aliases.update(default)
        else:
            into.defaults[name] = default


@lru_cache(maxsize=1)
def _library() -> Path | None:
    spec = find_spec("transformers")
    return (
        Path(spec.submodule_search_locations[0], "models")
        if spec and spec.submodule_search_locations
        else None
    )


@lru_cache(maxsize=8)
def _source(name: str) -> str:
    """A module of transformers' Auto classes; empty where the library isn't installed."""
    file = _library() and Path(str(_library()), "auto", name)
    return file.read_text(encoding="utf-8") if file and file.is_file() else ""


@lru_cache(maxsize=1)
def _config_classes() -> Mapping[str, str]:
    """Configuration class of each `model_type`."""
    text = _source("auto_mappings.py") + _source("configuration_auto.py")
    return dict(re.findall(r'"((?!CONFIG_)[\w.-]+)"[,:]\s*"(\w+Config)"', text))


def _folder(model_type: str) -> Path:
    text = _source("auto_mappings.py") + _source("configuration_auto.py")
    special = dict(
        re.findall(r'"([\w.-]+)"[,:]\s*"(\w+)"', _tables(text, "SPECIAL_MODEL_TYPE_TO_MODULE_NAME"))
    )
    return Path(str(_library()), special.get(model_type, model_type.replace("-", "_")))


@lru_cache(maxsize=512)
def _counts_from_padding(model_type: str) -> bool:
    if model_type not in _config_classes():
        return False
    sources = (file.read_text(encoding="utf-8") for file in _folder(model_type).glob("modeling_*.py"))
    return any(_FROM_PADDING in text and "Sinusoidal" not in text for text in sources)


@lru_cache(maxsize=1)
def _auto_classes() -> Mapping[str, str]:
    """Auto class to the name of its mapping."""
    found = re.findall(
        r"^class (Auto\w+)\(_BaseAutoModelClass\):\s+_model_mapping = (\w+)$",
        _source("modeling_auto.py"),
        re.MULTILINE,
    )
    return dict(found)


@lru_cache(maxsize=64)
def _classes(auto_class: str) -> Mapping[str, tuple[str, ...]]:
    """Classes of every `model_type` that has any for this Auto class; empty: it is no Auto class."""
    text = _source("modeling_auto.py")
    if (mapping := _auto_classes().get(auto_class)) is None:
        return {}
    names = re.search(rf"^{mapping} = _LazyAutoMapping\(\s*CONFIG_MAPPING_NAMES,\s*(\w+)", text, re.MULTILINE)
    entries = re.findall(r'\(\s*"([\w.-]+)",\s*("\w+"|\([^)]*\))', _tables(text, names[1])) if names else ()
    return {model_type: tuple(re.findall(r'"(\w+)"', classes)) for model_type, classes in entries}


@lru_cache(maxsize=512)
def _arguments(model_type: str, name: str) -> Mapping[str, bool]:
    """Arguments of a class's `forward`, inherited ones too; whether each has a default."""
    if model_type not in _config_classes():
        return {}
    shared = Path(str(_library())).with_name("modeling_layers.py")
    files = [*sorted(_folder(model_type).glob("modeling_*.py")), shared]
    sources = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
    waiting, seen = [name], set[str]()
    while waiting:
        name = waiting.pop(0)
        seen.add(name)
        for text in sources:
            found = re.search(rf"^class {name}\b.*?(?=^[A-Za-z@#]|\Z)", text, re.MULTILINE | re.DOTALL)
            if found is None:
                continue
            with suppress(SyntaxError):
                made = ast.parse(found[0]).body[0]
                assert isinstance(made, ast.ClassDef)  # noqa: S101 - the expression says so
                for node in made.body:
                    if isinstance(node, ast.FunctionDef) and node.name == "forward":
                        return _signature(node)
                waiting += [
                    base.id for base in made.bases if isinstance(base, ast.Name) and base.id not in seen
                ]
    return {}


def _signature(forward: ast.FunctionDef) -> dict[str, bool]:
    names = [argument.arg for argument in (*forward.args.posonlyargs, *forward.args.args)][1:]
    without = len(names) - len(forward.args.defaults)
    return {name: place >= without for place, name in enumerate(names)}


def _tables(text: str, name: str) -> str:
    """The statements that fill a table."""
    return "\n".join(re.findall(rf"^{name}\b[^\n]*\(\n.*?^\)", text, re.MULTILINE | re.DOTALL))

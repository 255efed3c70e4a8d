"""How documents spell figures, machines and models: for importers, which turn their texts into columns.

Nothing is guessed: a text that is no figure raises; an unknown model or instance type keeps its printed name.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from benchmark.cloud import instances
from benchmark.config.folder import file_of, options
from benchmark.errors import ConfigError
from benchmark.records import frozen
from benchmark.store.schema import SCHEMA

_NAMES: Final = Path(__file__).with_name("model_names.csv")
_NEURON: Final = {"inf1": "neuron", "inf2": "neuronx", "trn1": "neuronx", "trn2": "neuronx"}
_TRUTH: Final = {"true": True, "yes": True, "false": False, "no": False}
_INSTANCE: Final = re.compile(r"[a-z]+\d+[a-z0-9-]*\.[a-z0-9-]+", re.IGNORECASE)
DEVICES: Final = {"cpu": "cpu", "cuda": "cuda", "gpu": "cuda"}
"""Hardware by the name that other benchmarks give it."""
BLANK: Final = frozenset({"", "-", "none", "nan", "n/a", "na"})
"""Texts of a field without a figure."""


@frozen
class Line:
    """One line of a table: its number in the file, and its texts by header."""

    number: int
    texts: Mapping[str, str]


@frozen
class Rejected:
    """A line that became no row, with the reason."""

    file: str
    line: int
    reason: str


class Table(NamedTuple):
    """A CSV with a line of headers."""

    headers: list[str]
    lines: list[Line]
    rejected: list[Rejected]
    """Lines that are shorter or longer than the headers."""


def table(file: Path) -> Table:
    """Headers and lines of a CSV.

    Raises:
        ConfigError: the file can't be read, or has no header.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            headers = [" ".join(header.split()) for header in next(reader, [])]
            found = [(reader.line_num, texts) for texts in reader if any(text.strip() for text in texts)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file} can't be read as CSV: {error}") from error
    if not any(headers):
        raise ConfigError(f"{file} is empty: a table begins with a line of headers")
    lines, rejected = [], []
    for number, texts in found:
        if len(texts) == len(headers):
            by_header = {header: text.strip() for header, text in zip(headers, texts, strict=True)}
            lines.append(Line(number=number, texts=by_header))
        else:
            reason = f"{len(texts)} fields under {len(headers)} headers"
            rejected.append(Rejected(file=file.name, line=number, reason=reason))
    return Table(headers, lines, rejected)


def is_json(file: Path) -> bool:
    """Whether the content of a file begins as a JSON object or array does; its name doesn't matter.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}") from error
    return text.lstrip().startswith(("{", "["))


def read_json(file: Path) -> Any:
    """Content of a JSON file.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} can't be read as JSON: {error}") from error


def number(text: str, factor: float = 1.0) -> float | None:
    """Number of a printed figure without unit and thousands separators, times `factor`; None of a blank.

    Raises:
        ValueError: the text is no figure.
    """
    found = re.sub(r"\s*(ms|s|x|%|\$)$", "", text.strip().lstrip("$~%").replace(",", ""), flags=re.IGNORECASE)
    if found.lower() in BLANK:
        return None
    try:
        return float(Decimal(found) * Decimal(repr(factor)))  # exact: 76.87 % is 0.7687
    except InvalidOperation:
        raise ValueError(f"{text!r} is no figure") from None


def typed(column: str, text: str, factor: float = 1.0) -> Any:
    """A text as the column's type; `;` separates the parts of lists and maps, `=` key and value.

    Raises:
        ValueError: the text isn't of that type.
        ConfigError: there is no such column.
    """
    if column not in SCHEMA.names:
        raise ConfigError(f"there is no column {column}: benchmark/store/schema.md lists them")
    kind = SCHEMA.field(column).type
    if pa.types.is_string(kind):
        return text or None
    if pa.types.is_boolean(kind):
        if text.lower() not in {*_TRUTH, *BLANK}:
            raise ValueError(f"{column} is true or false, but the document has {text!r}")
        return _TRUTH.get(text.lower())
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        parts = [part.strip() for part in text.split(";") if part.strip()]
        if pa.types.is_map(kind):
            return [tuple(part.split("=", 1)) for part in parts] or None
        return parts or None
    found = number(text, factor)
    if found is None or not pa.types.is_integer(kind):
        return found
    if not found.is_integer():
        raise ValueError(f"{column} is a whole number, but the document has {text!r}")
    return int(found)


def machine(text: str) -> dict[str, Any]:
    """`instance_type` as the catalogue spells it, with `hardware` and `compiler` of its family.

    A type that the catalogue lacks keeps its printed name. A text with several types, such as
    `trn1.32xlarge/trn1n.32xlarge`, gives no `instance_type`.

    Raises:
        ValueError: the text has no instance type, or types of several kinds of hardware.
    """
    names = [found.lower() for found in _INSTANCE.findall(text)]
    if not names:
        raise ValueError(f"{text!r} is no instance type")
    families = {_hardware(name) for name in names}
    if len(families) > 1:
        raise ValueError(f"{text!r} names machines of several kinds")
    return {"instance_type": names[0] if len(names) == 1 else None, **device(families.pop())}


def device(hardware: str) -> dict[str, Any]:
    """`hardware` with its usual compiler: torch itself on CPUs and GPUs."""
    return {"hardware": hardware, "compiler": _NEURON.get(hardware, "eager")}


def is_neuron(hardware: str) -> bool:
    """Whether this is a family of Neuron instances."""
    return hardware in _NEURON


def _hardware(name: str) -> str:
    family = name.partition(".")[0]
    if (neuron := re.match(r"(inf|trn)\d", family)) and neuron[0] in _NEURON:
        return neuron[0]
    try:
        return "cuda" if instances.find(name).device else "cpu"
    except ValueError:
        return "cuda" if re.match(r"[gp]\d", family) else "cpu"


def model(printed: str) -> str:
    """Stem in conf/model of a printed model name; the printed name where conf/model has none."""
    names = known_models()
    printed = printed.rstrip(" *")  # the mark of a footnote
    inner = re.findall(r"\(([^()]+)\)", printed)
    for name in (printed, *inner):
        if found := names.get(name.strip().lower()):
            return found
    return printed


def task(model: str) -> str | None:
    """Default task of a model of conf/model, as Hugging Face spells it."""
    file = file_of("model", model)
    chosen = (
        re.search(r"_global_\.task: *(\w+)", file.read_text(encoding="utf-8")) if file.is_file() else None
    )
    return chosen[1].replace("_", "-") if chosen else None


@lru_cache(maxsize=1)
def known_models() -> Mapping[str, str]:
    """Lower-case name to stem: hub ids with and without owner, and the names of `model_names.csv`."""
    found: dict[str, str] = {}
    for name in options("model"):
        text = file_of("model", name).read_text(encoding="utf-8")
        if hub_id := re.search(r"^hub_id: *(\S+)", text, re.MULTILINE):
            found.setdefault(hub_id[1].rpartition("/")[2].lower(), name)
            found.setdefault(hub_id[1].lower(), name)
    with _NAMES.open(encoding="utf-8", newline="") as stream:
        return {**found, **{line["printed"].lower(): line["model"] for line in csv.DictReader(stream)}}


def missing(headers: Sequence[str], needed: Sequence[str]) -> list[str]:
    """Needed headers that a table lacks."""
    return [name for name in needed if name not in headers]


def rounded(value: float, text: str) -> str:
    """The value with as many decimals as the text has, rounded half up, as people round."""
    return _to_digits(value, text, ROUND_HALF_UP)


def cut(value: float, text: str) -> str:
    """The value with as many decimals as the text has, truncated."""
    return _to_digits(value, text, ROUND_DOWN)


def fits(value: float | None, text: str) -> bool:
    """Whether a printed figure can be this value, rounded or truncated."""
    return value is not None and bare(text) in {rounded(value, text), cut(value, text)}


def decimals(text: str) -> int:
    """Digits after the point of a printed figure."""
    return len(bare(text).partition(".")[2])


def bare(text: str) -> str:
    """A printed figure without its unit."""
    found = re.search(r"-?\d[\d,]*\.?\d*", text)
    return found[0].replace(",", "") if found else text


def _to_digits(value: float, text: str, rounding: str) -> str:
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals(text)), rounding=rounding))

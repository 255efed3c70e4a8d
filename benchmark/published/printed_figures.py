"""How documents spell figures, machines and models: what importers need to make columns of their words.

Nothing is guessed: a text that is no figure raises, an unknown model or instance keeps its printed name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

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
BLANK: Final = frozenset({"", "-", "none", "nan", "n/a", "na"})
"""What stands in a field without a figure."""


@frozen
class Line:
    """One line of a table: its place in the file, and its texts under their headers."""

    number: int
    texts: Mapping[str, str]


@frozen
class Rejected:
    """A line that no row could be made of."""

    file: str
    line: int
    reason: str


def table(file: Path) -> tuple[list[Line], list[Rejected]]:
    """Lines of a CSV with a header; those that are shorter or longer than it are rejected.

    Raises:
        ConfigError: it can't be read, or there is no header.
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
            said = {header: text.strip() for header, text in zip(headers, texts, strict=True)}
            lines.append(Line(number=number, texts=said))
        else:
            reason = f"{len(texts)} fields under {len(headers)} headers"
            rejected.append(Rejected(file=file.name, line=number, reason=reason))
    return lines, rejected


def number(text: str, factor: float = 1.0) -> float | None:
    """A figure without its unit or thousands separators, multiplied; None where the field has none.

    Raises:
        ValueError: it is no figure.
    """
    found = re.sub(r"\s*(ms|s|x|%|\$)$", "", text.strip().lstrip("$~%").replace(",", ""), flags=re.IGNORECASE)
    if found.lower() in BLANK:
        return None
    try:
        return float(Decimal(found) * Decimal(repr(factor)))  # 76.87 % is 0.7687, which floats would miss
    except InvalidOperation:
        raise ValueError(f"{text!r} is no figure") from None


def typed(column: str, text: str, factor: float = 1.0) -> Any:
    """A text as the column's type: lists part at ; and maps at ; and =.

    Raises:
        ValueError: it is none of that type.
        ConfigError: there is no such column.
    """
    if column not in SCHEMA.names:
        raise ConfigError(f"there is no column {column}: benchmark/store/schema.md lists them")
    kind = SCHEMA.field(column).type
    if pa.types.is_string(kind):
        return text or None
    if pa.types.is_boolean(kind):
        if text.lower() not in {*_TRUTH, *BLANK}:
            raise ValueError(f"{column} is true or false, but the document says {text!r}")
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
        raise ValueError(f"{column} is a whole number, but the document says {text!r}")
    return int(found)


def machine(text: str) -> dict[str, Any]:
    """`instance_type` as the catalogue spells it, with `hardware` and `compiler` by its family.

    A type that the catalogue lacks keeps its printed name. A text that names no one type, such as
    `trn1.32xlarge/trn1n.32xlarge`, gives no `instance_type`.

    Raises:
        ValueError: the text names no instance type at all.
    """
    names = [found.lower() for found in _INSTANCE.findall(text)]
    if not names:
        raise ValueError(f"{text!r} is no instance type")
    families = {_hardware(name) for name in names}
    if len(families) > 1:
        raise ValueError(f"{text!r} names machines of several kinds")
    return {"instance_type": names[0] if len(names) == 1 else None, **device(families.pop())}


def device(hardware: str) -> dict[str, Any]:
    """`hardware` with the compiler that is usual there: torch itself on CPUs and GPUs."""
    return {"hardware": hardware, "compiler": _NEURON.get(hardware, "eager")}


def is_neuron(hardware: str) -> bool:
    """Whether it is a family of Neuron instances."""
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
    """Stem in conf/model of a model by a document's name for it; the printed name where we have none."""
    names = known_models()
    printed = printed.rstrip(" *")  # the mark of a footnote
    inner = re.findall(r"\(([^()]+)\)", printed)
    for name in (printed, *inner):
        if found := names.get(name.strip().lower()):
            return found
    return printed


def task(model: str) -> str | None:
    """What a model of ours is for where nobody says otherwise, as Hugging Face names it."""
    file = file_of("model", model)
    chosen = (
        re.search(r"_global_\.task: *(\w+)", file.read_text(encoding="utf-8")) if file.is_file() else None
    )
    return chosen[1].replace("_", "-") if chosen else None


@lru_cache(maxsize=1)
def known_models() -> Mapping[str, str]:
    """Lower-case name to stem: hub ids with and without their owner, and what `model_names.csv` adds."""
    found: dict[str, str] = {}
    for name in options("model"):
        text = file_of("model", name).read_text(encoding="utf-8")
        if hub_id := re.search(r"^hub_id: *(\S+)", text, re.MULTILINE):
            found.setdefault(hub_id[1].rpartition("/")[2].lower(), name)
            found.setdefault(hub_id[1].lower(), name)
    with _NAMES.open(encoding="utf-8", newline="") as stream:
        return {**found, **{line["printed"].lower(): line["model"] for line in csv.DictReader(stream)}}


def missing(headers: Sequence[str], needed: Sequence[str]) -> list[str]:
    """Which of the headers a table lacks, as far as they are needed."""
    return [name for name in needed if name not in headers]


def rounded(value: float, text: str) -> str:
    """The value with as many decimals as the text has, rounded half up as people do it."""
    return _to_digits(value, text, ROUND_HALF_UP)


def cut(value: float, text: str) -> str:
    """The value with as many decimals as the text has, the rest cut off."""
    return _to_digits(value, text, ROUND_DOWN)


def fits(value: float | None, text: str) -> bool:
    """Whether a printed figure can be this value, rounded or cut."""
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

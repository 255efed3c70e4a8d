"""Texts of a report's YAML: fill values into sentences, names and headings.

A text may hold {name} and {name:.2f}, but no attribute of a value. Values are filled in after the text's own
markup is read, so a model's name can't become a link. {usd:$.3f} writes dollars, since `${` means
something else in YAML here; {p95:.3r} writes three significant digits and no exponent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import pandas as pd

from benchmark.errors import ConfigError
from benchmark.formatting import significant
from benchmark.report.document import Span

_MARKUP = re.compile(r"`(?P<code>[^`]+)`|\[(?P<text>[^\]]+)\]\((?P<link>[^)]+)\)")
_READABLE = re.compile(r"\.(\d)r")
NONE = "-"
"""Text of a missing value."""


class _Values(Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if args and field_name == "0":
            return args[0], field_name
        if field_name not in kwargs:
            raise ConfigError(f"{{{field_name}}}: no such value: use one of {', '.join(kwargs)}")
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> Any:
        if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
            return NONE
        if isinstance(value, float) and value.is_integer() and not format_spec:
            return str(int(value))
        if format_spec.startswith("$"):
            return f"${self.format_field(value, format_spec[1:])}"
        if readable := _READABLE.fullmatch(format_spec):
            return significant(float(value), int(readable[1]), separator=",")
        return super().format_field(value, format_spec)


_VALUES = _Values()


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with its values; a missing value is a dash.

    Raises:
        ConfigError: the text names an unknown value, or a format that doesn't fit the value.
    """
    try:
        return _VALUES.vformat(text, (), values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"text {text!r}: {error}") from error


def figure(value: float, form: str) -> str:
    """A figure as a column's format writes it, such as `{:.1f}ms`."""
    try:
        return _VALUES.vformat(form, (value,), {})
    except (ValueError, TypeError, IndexError) as error:
        raise ConfigError(f"format {form!r} can't write {value!r}: {error}") from error


def spans(text: str, values: Mapping[str, Any]) -> tuple[Span, ...]:
    """The pieces of a heading, which may hold `code` and [text](address)."""
    found, position = [], 0
    for match in _MARKUP.finditer(text):
        found.append(Span(text=text[position : match.start()]))
        if match["code"]:
            found.append(Span(text=match["code"], code=True))
        else:
            found.append(Span(text=match["text"], link=match["link"]))
        position = match.end()
    found.append(Span(text=text[position:]))
    return tuple(
        Span(text=filled(span.text.strip(), values), code=span.code, link=filled(span.link, values))
        for span in found
        if span.text.strip()
    )


def stem(text: str) -> str:
    """A name as a file's stem: only letters, digits, dots, underscores and dashes stay."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:120] or "unnamed"

"""Texts of a report's YAML: values put into sentences, names and headings.

Only {name} and {name:.2f} are understood, never an attribute of a value, and values are put in after the
text's own markup was read: a model's name can't become a link. {usd:$.3f} writes dollars, since `${` means
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
"""Written where there is no value."""


class _Values(Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if args and field_name == "0":
            return args[0], field_name
        if field_name not in kwargs:
            raise ConfigError(f"{{{field_name}}}: no such value: {', '.join(kwargs)}")
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
    """The text with values in it; a missing value is a dash.

    Raises:
        ConfigError: it names a value that there isn't, or formats one in a way that doesn't fit.
    """
    try:
        return _VALUES.vformat(text, (), values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{text!r} can't be written: {error}") from error


def figure(value: float, form: str) -> str:
    """A figure as a column's format writes it, such as `{:.1f}ms`."""
    try:
        return _VALUES.vformat(form, (value,), {})
    except (ValueError, TypeError, IndexError) as error:
        raise ConfigError(f"format {form!r} can't write {value!r}: {error}") from error


def spans(text: str, values: Mapping[str, Any]) -> tuple[Span, ...]:
    """A heading, its pieces without the spaces between them: `code` and [text](address) are understood."""
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
    """A file's stem: whatever a name is made of, letters, digits, dots and dashes are left."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:120] or "unnamed"

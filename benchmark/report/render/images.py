"""Charts as PNG and SVG, drawn by vl-convert without a browser."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from benchmark.errors import ConfigError, LibraryMissing
from benchmark.host import libraries
from benchmark.report.document import Chart

_SCALE = 2
"""Pixels of a PNG per pixel of the chart: sharp on dense screens and in print."""
_SIGNATURE_BYTES = 8


def png(chart: Chart) -> bytes:
    """Draw a chart as PNG, at double resolution.

    Raises:
        ConfigError: Vega can't draw it, or the picture is blank.
        LibraryMissing: vl-convert-python is not installed.
    """
    picture = bytes(_drawn(chart, "vegalite_to_png", scale=_SCALE))
    if _blank(picture):
        raise ConfigError(f"chart {chart.name}: the picture is blank: does its query give rows?")
    return picture


def svg(chart: Chart) -> bytes:
    """Draw a chart as SVG for screen readers too: with role, label, title and description.

    Raises:
        ConfigError: Vega can't draw it.
        LibraryMissing: vl-convert-python is not installed.
    """
    picture = str(_drawn(chart, "vegalite_to_svg"))
    opening, closing, rest = picture.partition(">")
    label = f' role="img" aria-label={quoteattr(chart.alt)}'
    words = f"<title>{escape(chart.title)}</title><desc>{escape(chart.alt)}</desc>"
    return f"{opening}{label}{closing}{words}{rest}".encode()


def inline_svg(chart: Chart) -> str:
    """Draw a chart as SVG for within a page, which has its title and its description already.

    Raises:
        ConfigError: Vega can't draw it.
        LibraryMissing: vl-convert-python is not installed.
    """
    picture = str(_drawn(chart, "vegalite_to_svg", {"title": None, "background": "transparent"}))
    opening, closing, rest = picture.partition(">")
    return f'{opening} aria-hidden="true"{closing}{rest}'


def _drawn(
    chart: Chart, function: str, changes: Mapping[str, Any] = MappingProxyType({}), **options: Any
) -> Any:
    try:
        import vl_convert
    except ImportError as error:
        install = libraries.command_for("report")
        raise LibraryMissing(f"pictures need vl-convert-python, which is not installed: {install}") from error
    try:
        return getattr(vl_convert, function)({**chart.spec, **changes}, **options)
    except ValueError as error:
        first = str(error).strip().partition("\n")[0]
        raise ConfigError(f"chart {chart.name}: Vega can't draw it: {first}") from error


def _blank(picture: bytes) -> bool:
    """Whether all lines of a PNG are equal; the first is skipped, since its filter differs."""
    width = int.from_bytes(picture[16:20], "big")
    at, packed = _SIGNATURE_BYTES, b""
    while at < len(picture):
        length = int.from_bytes(picture[at : at + 4], "big")
        if picture[at + 4 : at + 8] == b"IDAT":
            packed += picture[at + 8 : at + 8 + length]
        at += length + 12
    pixels = zlib.decompress(packed)
    stride = width * 4 + 1  # RGBA, and a byte that names the filter
    lines = {pixels[start : start + stride] for start in range(stride, len(pixels), stride)}
    return len(lines) <= 1

"""Texts from outside made harmless for a page: no terminal codes, no control characters, whole lines."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # window titles, links
    r"|\x1b[ -/]*[0-~]?"
)
"""Escape sequences as ECMA-48 (5th edition, 1991) forms them, in their 7-bit and 8-bit spelling."""
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""Control characters, and those that turn the direction of text or hide in it."""
_HALVES = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs: no encoding takes them."""


def clean(text: str) -> str:
    """Return a text without escape sequences and control characters; newlines stay, tabs become blanks."""
    if text.isprintable():  # nearly always, and fast; it knows no halves of pairs and no marks of direction
        return text
    lines = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text))
    return _HALVES.sub("\ufffd", _CONTROLS.sub("", lines.replace("\t", " ")))


def one_line(text: str) -> str:
    """Return the same without newlines and double blanks: for headings, fields of tables and labels."""
    return " ".join(clean(text).split())

"""Make texts from outside harmless: no terminal codes, no control characters, no markup.

GitHub looks for mentions, issue numbers and addresses after it undoes escapes, so an invisible character
(U+200B) splits those instead of a backslash.
"""

from __future__ import annotations

import re
from typing import IO

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # window titles, links
    r"|\x1b[ -/]*[0-~]?"
)
"""Escape sequences of ECMA-48 (5th edition, 1991), in their 7-bit and 8-bit spelling."""
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""Control characters, and invisible ones such as those that change the direction of text."""
_HALVES = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs, which no encoding accepts."""

_PARTED = "&#8203;"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MEANT = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)|\$(?!\d)")
"""Characters that are markup in Markdown or in GitHub's mathematics."""
_LINKED = re.compile(
    r"(?<=@)(?=\w)|(?<=#)(?=\w)|(?<=[a-z]:)(?=//)|(?<=www)(?=\.)|(?<=mailto)(?=:)|(?<=xmpp)(?=:)",
    re.IGNORECASE,
)
"""Places inside mentions, issue numbers and addresses."""


def clean(text: str) -> str:
    """A text without escape sequences and control characters; newlines stay, tabs become blanks."""
    if text.isprintable() or text.replace("\n", "").isprintable():  # nearly always, and fast
        return text
    lines = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text))
    return _HALVES.sub("\ufffd", _CONTROLS.sub("", lines.replace("\t", " ")))


def one_line(text: str) -> str:
    """The same on one line, without double blanks: for headings, fields of tables and labels."""
    return " ".join(clean(text).split())


def inert(text: str) -> str:
    """A text on one line that Markdown shows literally, anywhere within a line."""
    parted = _LINKED.sub("\u200b", one_line(text))
    escaped = _MEANT.sub(lambda found: f"\\{found[0]}", parted)
    for character, entity in _ENTITIES.items():
        escaped = escaped.replace(character, entity)
    return escaped.replace("\u200b", _PARTED)


def say(text: object = "", *, end: str = "\n", file: IO[str] | None = None, flush: bool = False) -> None:
    """Print a text that is clean, to `file` or the standard output: verbs print by nothing else."""
    print(clean(str(text)), end=end, file=file, flush=flush)

"""Texts from outside lose what terminals obey, and nothing else."""

from __future__ import annotations

import pytest

from benchmark.report.sanitize import clean, one_line


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain ü 中 ≥", "plain ü 中 ≥"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x1bPq#0\x1b\\picture", "picture"),
        ("\x1b(Bcharset", "charset"),
        ("\x1b", ""),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\tb\x00\x08c", "a bc"),
        ("abc\u202edcba", "abcdcba"),
        ("half \ud800 a pair", "half \ufffd a pair"),
    ],
)
def test_escape_sequences_and_controls_go_and_newlines_stay(text, left):
    assert clean(text) == left
    clean(text).encode()


def test_one_line_has_no_newlines_and_no_double_blanks():
    assert one_line(" a\n\n  b\x1b[0m\tc ") == "a b c"

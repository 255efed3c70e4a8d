"""A log keeps its head and its tail, and says how much is missing, while others write to it."""

from __future__ import annotations

import os
import re

import pytest

from benchmark.execution import child_log

PIECE = 1000


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(child_log, "MOST_BYTES", 4 * PIECE)
    monkeypatch.setattr(child_log, "_PIECE", PIECE)
    return tmp_path / "run.log"


def test_a_short_log_is_left_alone(file):
    file.write_bytes(b"x" * 4 * PIECE)
    child_log.shorten(file)
    assert file.read_bytes() == b"x" * 4 * PIECE


def test_a_long_log_keeps_head_and_tail_and_counts_what_is_missing_however_often_it_is_cut(file):
    written, writer = b"", os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for turn in range(5):
        piece = b"".join(b"%d:%d\n" % (turn, line) for line in range(1000))
        os.write(writer, piece)
        written += piece
        child_log.shorten(file)
    os.close(writer)
    left = file.read_bytes()
    (count,) = re.findall(rb"\n\[(\d+) bytes of output are missing here\]\n", left)
    line = b"\n[%s bytes of output are missing here]\n" % count
    assert left == written[:PIECE] + line + written[-PIECE:]
    assert int(count) == len(written) - 2 * PIECE


def test_last_words_are_those_of_the_latest_child_also_in_a_log_that_was_cut(file):
    file.write_bytes(b"Fatal Python error: of an earlier one\n")
    since = child_log.size(file)
    assert child_log.last_words(file, since) == ""
    with file.open("ab") as more:
        more.write(b"one\nlast\xff\n")
    assert child_log.last_words(file, since) == "last\N{REPLACEMENT CHARACTER}"
    file.write_bytes(b"y" * 6 * PIECE + b"\nend\n")
    child_log.shorten(file)
    assert child_log.last_words(file, 5 * PIECE) == "end"

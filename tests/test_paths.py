"""Names of files, and files that appear whole or not at all."""

from __future__ import annotations

import pytest

from benchmark.paths import write_whole


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_nothing_else(tmp_path):
    file = tmp_path / "page.md"
    write_whole(file, b"old")
    with pytest.raises(TypeError):
        write_whole(file, "no bytes")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]

"""Columns of wide frames."""

from __future__ import annotations

import pandas as pd

from benchmark.frames import with_columns


def test_a_frame_of_many_blocks_gets_and_keeps_columns_without_a_warning():
    """A warning is an error in this suite, and `assign` gives one here."""
    frame = pd.concat({str(n): pd.Series([n, None], dtype="Int64") for n in range(150)}, axis="columns")
    made = with_columns(frame, new=["a", "b"], **{"3": 7})
    assert [*made] == [*frame, "new"]
    assert made["3"].tolist() == [7, 7]
    assert made["new"].tolist() == ["a", "b"]
    assert with_columns(frame.iloc[::-1], new=frame["4"])["new"].tolist() == frame["4"].iloc[::-1].tolist()

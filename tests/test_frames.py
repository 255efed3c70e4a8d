"""Columns of wide frames."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pytest

from benchmark.frames import json_lines, with_columns


def test_a_frame_of_many_blocks_gets_and_keeps_columns_without_a_warning():
    """A warning is an error in this suite, and `assign` gives one here."""
    frame = pa.table({str(n): [n, n + 1] for n in range(150)}).to_pandas(split_blocks=True)
    with pytest.raises(pd.errors.PerformanceWarning):
        frame.assign(new=1)
    made = with_columns(frame, new=["a", "b"], **{"3": 7})
    assert [*made] == [*frame, "new"]
    assert made["3"].tolist() == [7, 7]
    assert made["new"].tolist() == ["a", "b"]
    assert with_columns(frame.iloc[::-1], new=frame["4"])["new"].tolist() == frame["4"].iloc[::-1].tolist()


def test_a_path_in_json_can_be_copied():
    frame = pd.DataFrame({"path": ["outputs/a", "back\\/slash"]})
    text = json_lines(frame)
    assert '"outputs/a"' in text
    assert [json.loads(line)["path"] for line in text.splitlines()] == [*frame["path"]]

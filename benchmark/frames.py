"""Data frames of rows: more than a hundred columns, each in a block of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def json_lines(frame: pd.DataFrame) -> str:
    r"""A JSON object a line for each row, times in ISO 8601.

    pandas writes `/` as `\/`, which JSON allows; a path is written as it can be copied.
    """
    lines = frame.to_json(
        orient="records", lines=True, date_format="iso", date_unit="us", double_precision=15
    )
    return str(lines).replace("\\/", "/")


def with_columns(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """A frame with columns added at its end, or replaced where they are.

    As `DataFrame.assign`, which warns of "poor performance" for each column that it adds to so many.
    """
    import pandas as pd

    added = pd.DataFrame(columns, index=frame.index)
    kept = frame.drop(columns=[name for name in columns if name in frame.columns])
    names = [*frame.columns, *(name for name in columns if name not in frame.columns)]
    return pd.concat([kept, added], axis="columns")[names]

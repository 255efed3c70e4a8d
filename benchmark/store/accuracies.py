"""Measured accuracies beside other figures: verdicts of a grid, and the accuracy of what was timed elsewhere.

A row with `scenario=accuracy` and one with `scenario=latency` are about the same compiled model if they share
their environment, artefact, arithmetic and shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmark.errors import ConfigError
from benchmark.frames import with_columns
from benchmark.stats import paired

if TYPE_CHECKING:
    import pandas as pd

FIGURES: Final = (
    *("accuracy", "accuracy_lo", "accuracy_hi", "accuracy_n"),
    *("metric", "metric_value", "metric_value_lo", "metric_value_hi"),
    *("accuracy_lost", "accuracy_won", "accuracy_p", "accuracy_verdict", "smallest_difference"),
    *("metric_difference", "metric_difference_lo", "metric_difference_hi", "floor_verdict"),
    *("dataset", "head", "items_hash"),
)
"""Columns that are lent."""
_SAME: Final = (
    *("environment_id", "hardware", "model", "task", "weights", "compiler", "fast_math", "quantization"),
    *("batch_size", "sequence_length", "image_size", "input_length", "output_length", "steps"),
    *("compiler_flags", "model_dtype", "matmul_dtype", "other_dtype", "autocast", "artifact_key"),
)
_REFERENCE: Final = ("model", "task", "weights", "dataset", "head", "items_hash")
"""Columns of rows that were compared with one reference: fp32, eager, on a CPU."""
NEEDED: Final = (*FIGURES, *_SAME, "scenario", "status")
"""Columns that these functions read; any of them may be absent."""
VERDICT: Final = "verdict"
"""Column that `judged` adds: `accuracy_verdict`, with p adjusted for all comparisons with one reference."""
ADJUSTED: Final = "accuracy_p_adjusted"
COMPARISONS: Final = "comparisons"
"""Column with the number of these comparisons."""


def is_measured(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether each row answered a data set with success."""
    import pandas as pd

    if not {"items_hash", "metric_value", "status"} <= {*rows}:
        return pd.Series(data=False, index=rows.index)
    return rows["items_hash"].notna() & rows["metric_value"].notna() & (rows["status"] == "ok")


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the verdicts of a grid: p is adjusted by Benjamini and Hochberg over the models of each reference.

    A row whose own arithmetic is the reference's counts as no comparison; several of one compiled model
    count as one, the newest.
    """
    import pandas as pd

    added = (VERDICT, ADJUSTED, COMPARISONS)
    new = pd.DataFrame(index=rows.index, columns=[*added], dtype=object)
    measured = is_measured(rows)
    if not measured.any():
        return with_columns(rows, **{name: new[name] for name in added})
    new.loc[measured, VERDICT] = rows.loc[measured, "accuracy_verdict"]
    tested = rows[measured & rows["accuracy_p"].notna() & ~_is_reference(rows)]
    keys = [tested[name].astype(object).fillna("") for name in _REFERENCE if name in tested]
    for _, group in tested.groupby(keys, sort=False):
        models: Any = _keys(group)
        newest = group[~models.duplicated(keep="last")]
        ps = paired.adjusted([float(p) for p in newest["accuracy_p"]])
        adjusted = dict(zip(models[newest.index], ps, strict=True))
        for index, model in models.items():
            row, p = rows.loc[index], adjusted[model]
            if row["metric"] in {"accuracy", "exact_match"}:
                lost, won = int(row["accuracy_lost"]), int(row["accuracy_won"])
                new.loc[index, VERDICT] = paired.verdict(lost, won, int(row["accuracy_n"]), p)
            new.loc[index, ADJUSTED], new.loc[index, COMPARISONS] = p, len(ps)
    return with_columns(rows, **{name: new[name] for name in added})


def _is_reference(rows: pd.DataFrame) -> pd.Series[bool]:
    import pandas as pd

    if not {"compiler", "fast_math"} <= {*rows}:
        return pd.Series(data=False, index=rows.index)
    whole = rows["quantization"].isna() if "quantization" in rows else True
    return (rows["compiler"] == "eager") & (rows["fast_math"] == "none") & whole


def lent(rows: pd.DataFrame) -> pd.DataFrame:
    """Give rows of other scenarios the accuracy of their compiled model; rows that only lend are left out.

    Nothing is lent where a compiled model answered several data sets.
    """
    measured = is_measured(rows)
    if not measured.any() or measured.all():
        return rows
    keys = _keys(rows)
    lenders = with_columns(rows[measured], key=keys[measured]).drop_duplicates(
        ["key", "items_hash", "head"], keep="last"
    )
    lenders = lenders[~lenders.duplicated("key", keep=False)].set_index("key")
    takes = ~measured & keys.isin(lenders.index)
    if "metric_value" in rows:
        takes &= rows["metric_value"].isna()
    given = rows.copy()
    for name in (name for name in (*FIGURES, VERDICT, ADJUSTED, COMPARISONS) if name in rows):
        values: Any = keys[takes].map(lenders[name])
        given[name] = given[name].astype(object)
        given.loc[takes, name] = values
        given[name] = given[name].astype(rows[name].dtype)
    return given[~(measured & keys.isin(keys[takes]))]


def contested(rows: pd.DataFrame) -> tuple[str, ...]:
    """Data sets that one compiled model answered beside others: none of these accuracies is lent."""
    measured = rows[is_measured(rows)]
    if not len(measured):
        return ()
    several = measured["dataset"].groupby(_keys(measured)).transform("nunique") > 1
    return tuple(sorted(measured.loc[several, "dataset"].unique()))


def only(rows: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Rows without the answers to other data sets.

    Raises:
        ConfigError: no row answered this one.
    """
    measured = is_measured(rows)
    known = sorted(rows.loc[measured, "dataset"].unique())
    if dataset not in known:
        raise ConfigError(f"--dataset {dataset}: rows have answers to {', '.join(known) or 'no data set'}")
    return rows[~measured | (rows["dataset"] == dataset)]


def _keys(rows: pd.DataFrame) -> pd.Series[Any]:
    import pandas as pd

    names = [name for name in _SAME if name in rows]
    return pd.util.hash_pandas_object(rows[names].astype(str), index=False)

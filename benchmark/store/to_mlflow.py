"""Rows as runs of MLflow, for those who keep their experiments there. A copy: MLflow is never read back.

What was measured becomes parameters, numbers become metrics, everything else tags. MLflow's page groups runs
by `cell_id` to compare the processes of a cell.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from benchmark.errors import ConfigError, LibraryMissing
from benchmark.host.libraries import command_for
from benchmark.redaction import without_secrets
from benchmark.store.schema import COLUMNS, Column

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PARAMETERS: Final = {"model", "axes", "arithmetic"}
"""Sections of the schema that say what was measured."""
_LABELS: Final = {"identity", "published", "provenance"}
"""Sections of which not even the numbers are results."""
_MARK: Final = "benchmark.run_id"
"""Tag by which a run is found again."""
_MOST: Final = 5_000
"""Characters of a value; MLflow refuses parameters of more than 6,000 and tags of more than 8,000."""
_AT_A_TIME: Final = 1_000


class Exported(NamedTuple):
    """Numbers of rows."""

    new: int
    replaced: int
    """Rows of runs that were measured again since the last export."""
    known: int


def export(rows: pa.Table, experiment: str, tracking_uri: str | None = None) -> Exported:
    """Make a run of MLflow of each row; rows that are there already are left alone.

    Args:
        rows: With every column of the schema.
        experiment: Name of MLflow's experiment; it is created if need be.
        tracking_uri: Of MLflow's server. None: MLFLOW_TRACKING_URI, as for every client of MLflow.

    Raises:
        LibraryMissing: MLflow isn't installed.
        ConfigError: MLflow can't be reached or refuses a run.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise LibraryMissing(f"MLflow is not installed: {command_for('mlflow')}") from error
    try:
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run
        client = MlflowClient(tracking_uri)
        found = client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else client.create_experiment(experiment)
        known = _known(client, place)
        new = replaced = 0
        for row in map(without_secrets, rows.to_pylist()):
            run, end = known.get(row["run_id"], (None, None))
            if end == _milliseconds(row["finished_at"]):
                continue
            _log(client, place, row)
            if run is None:
                new += 1
            else:
                client.delete_run(run)
                replaced += 1
    except MlflowException as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"MLflow refused: {reason}: name a server that runs with --tracking-uri or MLFLOW_TRACKING_URI; "
            "a database such as sqlite:///mlflow.db needs `pip install mlflow`"
        ) from error
    return Exported(new=new, replaced=replaced, known=len(rows) - new - replaced)


def _known(client: MlflowClient, experiment_id: str) -> dict[str, tuple[str, int]]:
    """Runs in MLflow by our run_id: its own id, and the end of the run in ms."""
    known: dict[str, tuple[str, int]] = {}
    token: str | None = ""
    while token is not None:
        page = client.search_runs([experiment_id], max_results=_AT_A_TIME, page_token=token or None)
        known |= {
            mark: (run.info.run_id, run.info.end_time) for run in page if (mark := run.data.tags.get(_MARK))
        }
        token = page.token
    return known


def _log(client: MlflowClient, experiment_id: str, row: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    start, end = _milliseconds(row["started_at"]), _milliseconds(row["finished_at"])
    run = client.create_run(experiment_id, start, {_MARK: row["run_id"]}, _name(row)).info.run_id
    ended = {"ok": "FINISHED", "interrupted": "KILLED"}.get(row["status"], "FAILED")
    client.log_batch(
        run,
        metrics=[Metric(name, value, end, 0) for name, value in _metrics(row)],
        params=[Param(name, text) for name, text in _texts(row, parameters=True)],
        tags=[RunTag(name, text) for name, text in _texts(row, parameters=False)],
    )
    client.set_terminated(run, ended, end)


def _name(row: Mapping[str, Any]) -> str:
    parts = [row["model"], row["hardware"], row["compiler"], row["fast_math"]]
    sizes = {"b": row["batch_size"], "s": row["sequence_length"]}
    return " ".join(
        [part for part in parts if part] + [f"{key}{size}" for key, size in sizes.items() if size]
    )


def _metrics(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for column in COLUMNS:
        value = row[column.name]
        if _is_metric(column) and value is not None and math.isfinite(value):
            yield column.name, float(value)


def _texts(row: Mapping[str, Any], *, parameters: bool) -> Iterator[tuple[str, str]]:
    """What was measured, or else everything that is neither that nor a number."""
    for column in COLUMNS:
        value = row[column.name]
        chosen = column.section in _PARAMETERS if parameters else _is_tag(column)
        if chosen and value is not None and value != []:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield column.name, text[:_MOST]


def _is_metric(column: Column) -> bool:
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return numeric and column.section not in _PARAMETERS | _LABELS


def _is_tag(column: Column) -> bool:
    """Labels, texts and truths; samples, maps and times have no place in MLflow."""
    kinds = {pa.string(), pa.bool_(), pa.int64(), pa.list_(pa.string())}
    return column.type in kinds and column.section not in _PARAMETERS and not _is_metric(column)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

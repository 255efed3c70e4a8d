"""`report tune campaign=NAME`: the page of a race, from the log in its campaign's folder and its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import pyarrow.compute as pc

from benchmark.errors import ConfigError
from benchmark.frames import with_columns
from benchmark.pipeline import race_log
from benchmark.report import race
from benchmark.report.document import Document
from benchmark.store.results import ResultsStore, to_frame

NAME: Final = "tune"
PURPOSE: Final = "the race of `tune`: every look, who left when and why; campaign=NAME says which"
_COLUMNS: Final = (
    *(
        "model",
        "task",
        "hardware",
        "compiler",
        "fast_math",
        "batch_size",
        "sequence_length",
        "repeat",
        "status",
    ),
    *("latency_p50_ms", "latency_p95_ms", "throughput_per_s", "cosine", "compile_s", "error", "run_id"),
    *("simulated", "config"),
)


def page(words: Sequence[str], store: ResultsStore, command: str) -> Document:
    """The page of the race in the campaign that the words name.

    Raises:
        ConfigError: no campaign is named, it has no rows, or no race ran in it.
    """
    named = [word.removeprefix("campaign=") for word in words if word.startswith("campaign=")]
    if len(named) != 1 or len(words) != 1:
        raise ConfigError("report tune: name one race by campaign=NAME, and nothing else")
    rows = store.table([*_COLUMNS], among=pc.field("campaign") == named[0]) if store.exists else None
    if rows is None or not len(rows):
        raise ConfigError(f"report tune: no rows of campaign={named[0]} at {store.name}: run `tune` first")
    config = json.loads(rows["config"][len(rows) - 1].as_py() or "{}")
    log = race_log.read(race_log.file_of(config["output_folder"]))
    frame = to_frame(rows.drop_columns(["config"]))
    origin = frame["simulated"].map({True: "simulated", False: "measured"})
    return race.page(log, named[0], with_columns(frame.drop(columns="simulated"), origin=origin), command)

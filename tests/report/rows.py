"""Stores of invented rows for the tests of reports."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pandas as pd

from benchmark.cloud.cost import PriceBasis
from benchmark.report.build import Making, document
from benchmark.report.query import Choice, cells
from benchmark.report.spec import Report
from benchmark.store.results import ResultsStore

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
ON_DEMAND = PriceBasis(kind="on-demand", region="us-east-1", as_of=None)
USUAL = {
    "campaign": "c",
    "environment_id": "e",
    "status": "ok",
    "simulated": False,
    "model": "vit",
    "task": "image-classification",
    "hardware": "cpu",
    "hostname": "here",
    "instance_type": "c6i.2xlarge",
    "compiler": "eager",
    "fast_math": "none",
    "batch_size": 1,
    "scenario": "latency",
    "latency_p50_ms": 10.0,
    "latency_p95_ms": 12.0,
    "throughput_per_s": 100.0,
    "throughput_unit": "images",
}


def store_of(folder, *changes):
    """A store with a row for each change of the usual one; each is a cell of its own unless it says so."""
    from benchmark.records import Row

    store = ResultsStore(folder)
    store.prepare()
    rows = []
    for number, change in enumerate(changes):
        times = {
            "started_at": START + timedelta(minutes=number),
            "finished_at": START + timedelta(hours=number),
        }
        rows.append(
            Row(values={"run_id": f"run{number:05}", "cell_id": f"cell{number}", **USUAL, **times, **change})
        )
    store.append(*rows)
    return store


def asked(store, report, sources=("measured",), *, simulated=False, conditions=None):
    """The relation that a report given as YAML has it would ask, priced on demand."""
    choice = Choice(origins=(*sources, *["simulated"] * simulated), conditions=conditions)
    return cells(store, spec(report), choice, ON_DEMAND)


def made(store, report, sources=("measured",)):
    """The document of a report given as YAML has it."""
    found = asked(store, report, sources)
    return document(spec(report), found, Making(command="make it again"))


def spec(report):
    import json

    from pydantic import TypeAdapter

    usual = {"name": "r", "title": "R", "sections": []}
    return TypeAdapter(Report).validate_json(json.dumps({**usual, **report}))


def frame(table):
    """A table's texts by its heads."""
    return pd.DataFrame(
        [[field.text for field in line] for line in table.lines], columns=[head.text for head in table.heads]
    )

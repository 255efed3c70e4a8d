from __future__ import annotations

import typing
from pathlib import Path

import pyarrow as pa

from benchmark.errors import Status
from benchmark.store import schema, schema_page

BOUNDED = ("mean", "p50", "p90", "p95", "p99")
PAGE = Path(schema.__file__).with_name("schema.md")


def test_schema_md_is_up_to_date():
    assert PAGE.read_text() == schema_page.markdown(), "its first line says how to write it anew"


def test_each_column_is_spelled_once():
    assert len(set(schema.SCHEMA.names)) == len(schema.COLUMNS) == len(schema.SCHEMA)


def test_each_column_is_nullable_and_carries_its_unit_and_meaning():
    for column, field in zip(schema.COLUMNS, schema.SCHEMA, strict=True):
        assert field.nullable
        assert field.metadata == {b"unit": column.unit.encode(), b"meaning": column.meaning.encode()}
        assert column.meaning


def test_the_schema_carries_its_version():
    assert schema.SCHEMA.metadata == {b"schema_version": b"15"}


def test_figures_name_their_unit():
    units = {"_ms": "ms", "_ns": "ns", "_s": "s", "_bytes": "bytes", "_gib": "GiB", "_percent": "%"}
    rates = {"_per_s"}
    for column in schema.COLUMNS:
        if any(column.name.endswith(rate) for rate in rates):
            assert column.unit.endswith("/s"), column.name
            continue
        suffix = next((ending for ending in units if column.name.endswith(ending)), None)
        if suffix and not column.name.startswith("throughput"):
            assert column.unit == units[suffix], column.name


def test_every_status_has_a_meaning():
    assert set(schema.STATUSES) == set(typing.get_args(Status))


def test_latency_has_statistics_bounds_and_samples():
    names = set(schema.SCHEMA.names)
    assert {
        f"latency_{statistic}_ms" for statistic in ("min", "mean", "std", "p50", "p90", "p95", "p99", "max")
    } <= names
    assert {f"latency_{which}_ms_{side}" for which in BOUNDED for side in ("lo", "hi")} <= names
    assert schema.SCHEMA.field("latency_ns").type == pa.list_(pa.int64())


def test_required_columns_exist():
    assert set(schema.REQUIRED) <= set(schema.SCHEMA.names)

"""Measured, published and simulated rows lie in folders of their own, and the store reads all of them."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark import paths
from benchmark.errors import StoreError
from benchmark.records import Row
from benchmark.store.compaction import separate
from benchmark.store.local_folder import LocalFolder
from benchmark.store.parquet import table_of
from benchmark.store.results import ResultsStore, load
from benchmark.store.schema import SCHEMA_VERSION
from benchmark.store.soundness import SoundFiles
from tests.store.test_results import PowerCut, attempts, cut_power, plain, row

ORIGINS = {"measured": {}, "published": {"source": "published"}, "simulated": {"simulated": True}}


@pytest.fixture
def store(tmp_path) -> ResultsStore:
    made = ResultsStore(tmp_path / "outputs" / "results")
    made.prepare()
    return made


def of_each_origin(first: int = 0) -> list[Row]:
    return [row(number, **values) for number, values in enumerate(ORIGINS.values(), first)]


@pytest.mark.parametrize("together", [False, True])
def test_plain_readers_find_measured_rows_alone(store, together):
    rows = [*of_each_origin(), *of_each_origin(3)]
    for some in [rows] if together else [[one] for one in rows]:
        store.append(*some)
    folder = store.paths.root
    for step in ("stored", "compacted"):
        assert sorted(pd.read_parquet(folder)["run_id"]) == ["r0", "r3"], step
        assert sorted(pl.read_parquet(folder)["run_id"]) == ["r0", "r3"], step
        found = duckdb.read_parquet(f"{folder}/**/*.parquet").project("run_id").fetchall()
        assert sorted(found) == [("r0",), ("r3",)], step
        assert sorted(pd.read_parquet(f"{folder}-published")["run_id"]) == ["r1", "r4"], step
        assert sorted(pd.read_parquet(f"{folder}-simulated")["run_id"]) == ["r2", "r5"], step
        assert sorted(attempts(store)) == ["r0", "r1", "r2", "r3", "r4", "r5"], step
        store.compact()


def test_a_folder_appears_with_its_first_row(store):
    store.append(row(1))
    assert [path.name for path in store.paths.root.parent.iterdir() if path.name[0] != "."] == ["results"]


def test_rows_of_each_origin_are_found_by_run_and_replaced(store):
    store.append(*of_each_origin())
    store.append(row(2, attempt=1, simulated=True))
    assert store.of_runs(["r1", "r2"], ["repeat"])["repeat"].to_pylist() == [0, 1]
    assert load(store.paths.root, simulated=True, published=True)["repeat"].tolist() == [0, 0, 1]


def mixed(folder: Path) -> ResultsStore:
    """A store as older versions left it: all rows in one folder, in a part and in files of runs."""
    made = ResultsStore(folder)
    made.prepare()
    tables = [table_of([{**one.values, "schema_version": SCHEMA_VERSION}]) for one in of_each_origin()]  # noqa: PD011
    older = {"schema_version": "8"}
    pq.write_table(
        pa.concat_tables(tables).replace_schema_metadata(older), made.paths.part("20260101T000000Z-0")
    )
    for number, one in enumerate(tables):
        renamed = one.set_column(one.column_names.index("run_id"), "run_id", [[f"s{number}"]])
        pq.write_table(renamed.replace_schema_metadata(older), made.paths.run(f"s{number}"))
    return made


EVERY = {f"{letter}{number}": 0 for letter in "rs" for number in range(3)}


def test_a_thorough_compaction_separates_the_rows_of_an_older_store(tmp_path):
    store = mixed(tmp_path / "results")
    assert attempts(store) == EVERY
    store.compact(thorough=False)
    assert attempts(store) == EVERY
    assert store.compact()
    assert plain(store) == ["r0", "s0"]
    assert plain(ResultsStore(tmp_path / "results-published")) == ["r1", "s1"]
    assert plain(ResultsStore(tmp_path / "results-simulated")) == ["r2", "s2"]
    assert attempts(store) == EVERY
    assert not store.compact()


def test_a_single_row_in_the_wrong_folder_moves_too(tmp_path):
    store = mixed(tmp_path / "results")
    for path in (*store.paths.root.glob("part-*"), store.paths.run("s0"), store.paths.run("s1")):
        path.unlink()
    store.compact()
    assert (plain(store), attempts(store)) == ([], {"s2": 0})


def move(store):
    """Move each row to the folder of its origin."""
    return separate(
        LocalFolder(store.paths), lambda origin: LocalFolder(store.paths.of(origin)), SoundFiles()
    )


def test_a_move_cut_off_at_any_step_neither_loses_nor_doubles_a_row(tmp_path, monkeypatch):
    mixed(tmp_path / "outputs" / "results").append(*of_each_origin(3)[1:])  # makes the folders
    for after in itertools.count():
        copy = ResultsStore(shutil.copytree(tmp_path / "outputs", tmp_path / str(after)) / "results")
        with monkeypatch.context() as patch:
            cut_power(patch, tmp_path / str(after), after)
            try:
                done = move(copy)
            except PowerCut:
                done = 0
        assert attempts(copy) == EVERY | {"r4": 0, "r5": 0}
        copy.prepare()
        move(copy)
        assert attempts(copy) == EVERY | {"r4": 0, "r5": 0}
        assert plain(copy) == ["r0", "s0"]
        if done:
            break
    copy.compact()  # removes what appeared twice
    assert plain(ResultsStore(f"{copy.paths.root}-simulated")) == ["r2", "r5", "s2"]
    assert after > 10


def test_the_folder_of_another_stores_published_rows_is_read_but_not_written(store):
    store.append(*of_each_origin())
    published = ResultsStore(f"{store.paths.root}-published")
    assert attempts(published) == {"r1": 0}
    with pytest.raises(StoreError, match=r"holds the published rows of a store: write to .*/results instead"):
        published.prepare()
    for name in ("aws-published", "results-measured"):  # names like any other
        ResultsStore(store.paths.root.with_name(name)).prepare()


def test_a_mount_point_holds_all_of_its_store_and_plain_readers_find_measured_rows(tmp_path, monkeypatch):
    """Nothing can be moved between it and its neighbours: they lie on another file system."""
    root = tmp_path / "mounted"
    root.mkdir()
    stat = Path.stat

    def of_another_device(path, **options):
        found = stat(path, **options)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:])) if path == root else found

    paths._stands_alone.cache_clear()
    monkeypatch.setattr(Path, "stat", of_another_device)
    store = ResultsStore(root)
    store.prepare()
    for _ in range(2):
        store.append(*of_each_origin())
        store.append(row(7))
        store.compact()
    assert [path.name for path in tmp_path.iterdir()] == ["mounted"]
    assert attempts(store) == {"r0": 0, "r1": 0, "r2": 0, "r7": 0}
    assert sorted(pd.read_parquet(root)["run_id"]) == ["r0", "r7"]
    found = duckdb.read_parquet(f"{root}/*.parquet").project("run_id").fetchall()
    assert sorted(found) == [("r0",), ("r7",)]
    assert store.flaws() == []
    paths._stands_alone.cache_clear()

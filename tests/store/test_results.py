from __future__ import annotations

import itertools
import os
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmark.errors import ConfigError, StoreError
from benchmark.records import Row
from benchmark.store import query
from benchmark.store.parquet import PART_FORMAT, PLAIN, serialised, table_of
from benchmark.store.results import ResultsStore, load
from benchmark.store.schema import SCHEMA, SCHEMA_VERSION

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def row(number: int, attempt: int = 0, **values) -> Row:
    finished = START + timedelta(minutes=number, hours=attempt)
    identity = {"run_id": f"r{number}", "campaign": f"c{number % 2}", "cell_id": "x", "environment_id": "e"}
    times = {"started_at": START, "finished_at": finished}
    return Row(
        values={**identity, **times, "status": "ok", "batch_size": number, "repeat": attempt, **values}
    )


@pytest.fixture
def store(tmp_path) -> ResultsStore:
    made = ResultsStore(tmp_path / "outputs" / "results")
    made.prepare()
    return made


def attempts(store: ResultsStore) -> dict[str, int]:
    rows = store.table(["run_id", "repeat"]).to_pylist()
    found = {row["run_id"]: row["repeat"] for row in rows}
    assert len(found) == len(rows), "a run was read twice"
    return found


def plain(store: ResultsStore) -> list[str]:
    return sorted(pq.read_table(store.paths.root, columns=["run_id"])["run_id"].to_pylist())


# Appending and reading


def test_a_row_comes_back_as_it_was_appended(store):
    values = {
        "latency_ns": (3, 1, 2),
        "framework_versions": {"torch": "2.9", "python": "3.11"},
        "stage_seconds": {"compile": 1.5},
        "overrides": ("model=vit", "batch=1"),
        "simulated": False,
        "config": "{}",
        "cosine": 1.0,
    }
    store.append(row(1, **values))
    (found,) = store.frame().to_dict("records")
    assert found["schema_version"] == SCHEMA_VERSION
    assert list(found["latency_ns"]) == [3, 1, 2]
    assert found["framework_versions"] == {"torch": "2.9", "python": "3.11"}
    assert found["stage_seconds"] == {"compile": 1.5}
    assert found["finished_at"] == START + timedelta(minutes=1)
    assert pd.isna(found["sequence_length"])


def test_whole_numbers_stay_whole_beside_missing_ones(store):
    store.append(row(1, sequence_length=128))
    store.append(row(2))
    assert store.frame()["sequence_length"].tolist() == [128, pd.NA]


def test_a_later_row_of_a_run_replaces_the_earlier(store):
    store.append(row(1, status="crashed"))
    store.append(row(1, attempt=1))
    assert store.statuses() == {"r1": "ok"}
    assert plain(store) == ["r1"]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("compacted", [False, True])
def test_the_row_that_is_written_later_counts_though_its_clock_is_behind(store, compacted, together):
    another_host = ResultsStore(store.paths.root)
    assert another_host.highest_sequence() == 0
    store.append(row(1, attempt=5))
    store.append(row(2))
    if compacted:
        store.compact()
    again = [row(1, attempt=0), *([row(3)] if together else [])]
    another_host.append(*again)
    assert attempts(store)["r1"] == 0
    store.append(row(1, attempt=-3))
    assert attempts(store)["r1"] == -3
    store.compact()
    assert attempts(store)["r1"] == -3
    assert store.table(["run_id"])["run_id"].to_pylist()[-1] == "r1"


@pytest.mark.parametrize("lost", ["missing", "empty", "behind", "no number"])
def test_rows_stay_in_order_if_the_counter_is_lost(store, lost):
    for attempt in range(3):
        store.append(row(1, attempt=attempt))
    counter = store.paths.sequence
    if lost == "missing":
        counter.unlink()
    else:
        counter.write_text({"empty": "", "behind": "1", "no number": "x"}[lost])
    after_a_crash = ResultsStore(store.paths.root)
    after_a_crash.append(row(1, attempt=3))
    assert after_a_crash.table()["sequence"].to_pylist() == [4]


def test_rows_of_older_versions_are_ordered_by_time_and_come_first(store):
    for name, attempt in (("a", 7), ("b", 3)):
        old = table_of([{**row(1, attempt=attempt).values, "schema_version": 8}])  # noqa: PD011 - a row's
        pq.write_table(old.replace_schema_metadata({"schema_version": "8"}), store.paths.part(name))
    assert attempts(store) == {"r1": 7}
    store.append(row(1, attempt=1))
    assert attempts(store) == {"r1": 1}
    store.compact()
    assert attempts(store) == {"r1": 1}


def test_a_filter_does_not_bring_back_what_a_run_was_before(store):
    store.append(row(1, status="crashed"))
    store.append(row(2))
    store.compact()
    store.append(row(1, attempt=1))
    assert len(store.table(filter=pc.field("status") == "crashed")) == 0


def test_statuses_can_be_asked_for_one_campaign(store):
    for number in range(4):
        store.append(row(number, status="ok" if number else "timeout"))
    assert store.statuses("c0") == {"r0": "timeout", "r2": "ok"}


def test_the_rows_of_some_runs_can_be_asked_for(store):
    for number in range(4):
        store.append(row(number))
    store.compact()
    store.append(row(1, attempt=1, config="{}"))
    store.append(row(4))
    found = store.of_runs({"r4", "r1", "r2", "r9"}, ["run_id", "repeat", "config"])
    assert found.to_pylist() == [
        {"run_id": "r2", "repeat": 0, "config": None},
        {"run_id": "r1", "repeat": 1, "config": "{}"},
        {"run_id": "r4", "repeat": 0, "config": None},
    ]
    assert store.of_runs(["r1", "r2"], campaign="c1")["run_id"].to_pylist() == ["r1"]
    assert store.of_runs([]).schema.names == SCHEMA.names


def test_rows_of_some_runs_are_found_in_files_of_any_name(store):
    store.append(row(1))
    store.paths.run("r1").rename(store.paths.root / "from-elsewhere.parquet")
    assert len(store.of_runs(["r1"])) == 1


def test_asked_for_some_runs_a_store_does_not_open_the_files_of_others(store, caplog):
    store.append(row(1))
    store.paths.run("r2").write_bytes(b"PAR1")
    assert len(store.of_runs(["r1"])) == 1
    assert not caplog.messages
    assert len(store.of_runs(["r2"])) == 0
    assert "run-r2.parquet is not read" in caplog.text


def test_recent_rows_are_taken_from_the_newest_files_until_they_are_enough(store):
    for first in (0, 2):
        store.append(row(first))
        store.append(row(first + 1))
        store.compact()
    store.append(row(4))
    chosen = pc.field("batch_size") != 2

    def recent(most):
        return store.recent(["run_id"], chosen, most)["run_id"].to_pylist()

    assert recent(1) == ["r4"]
    assert recent(2) == ["r3", "r4"]
    assert recent(9) == ["r0", "r1", "r3", "r4"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"latency": 1, "speed": 2}, "columns that the schema lacks: latency, speed"),
        ({"status": None}, "lacks status"),
        ({"batch_size": "many"}, "column batch_size is int64, but got 'many'"),
        ({"batch_size": 1.5}, "column batch_size is int64, but got 1.5"),
        ({"latency_ns": [1.5]}, "column latency_ns is list"),
        ({"config": {"a": 1}}, "column config is string"),
        ({"run_id": "../r"}, "run_id is also a file name"),
    ],
)
def test_a_row_that_does_not_fit_the_schema_is_refused(store, values, complaint):
    with pytest.raises(StoreError, match=complaint):
        store.append(row(1, **values))
    assert plain(store) == []


def test_pandas_duckdb_and_polars_read_the_folder_without_us(store):
    for number in range(3):
        store.append(row(number, latency_ns=[1, 2], framework_versions={"torch": "2"}))
    store.compact()
    store.append(row(3, cosine=0.5))
    folder = store.paths.root
    assert sorted(pd.read_parquet(folder)["run_id"]) == ["r0", "r1", "r2", "r3"]
    assert sorted(pl.read_parquet(folder)["run_id"]) == ["r0", "r1", "r2", "r3"]
    rows = duckdb.read_parquet(f"{folder}/*.parquet")
    assert rows.aggregate("count(*), sum(batch_size), max(cosine)").fetchall() == [(4, 6, 0.5)]
    assert list(pd.read_parquet(folder).columns) == SCHEMA.names


def test_nothing_but_parquet_lies_in_the_folder(store):
    store.append(row(1))
    store.append(row(2))
    store.compact()
    assert {path.suffix for path in store.paths.root.iterdir()} == {".parquet"}
    assert not list(store.paths.temporary.iterdir())


def test_load_reads_a_store_for_a_notebook(store):
    for number in range(6):
        store.append(row(number, model="vit"))
    assert load(store.paths.root, "model=vit batch<=1")["run_id"].tolist() == ["r0", "r1"]
    assert len(load(str(store.paths.root))) == 6


# Places


def test_readers_are_said_that_there_is_no_store(tmp_path):
    with pytest.raises(StoreError, match=rf"no results at {tmp_path}/none: run a benchmark first"):
        load(tmp_path / "none")


def test_an_empty_folder_is_an_empty_table(tmp_path):
    assert ResultsStore(tmp_path).table().schema.names == SCHEMA.names
    assert load(tmp_path).empty


@pytest.mark.parametrize("inside", ["", "results", "deep/results"])
def test_a_store_below_a_file_is_refused_with_its_path(tmp_path, inside):
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / inside
    with pytest.raises(StoreError, match=rf"can't write results at {root}: .*: .*choose another store.root="):
        ResultsStore(root).prepare()


def test_a_damaged_anchor_is_written_anew(store):
    store.paths.anchor.write_bytes(b"")
    store.prepare()
    assert pq.read_schema(store.paths.anchor).names == SCHEMA.names


def test_a_store_of_a_newer_schema_is_refused(store):
    newer = SCHEMA.with_metadata({"schema_version": str(SCHEMA_VERSION + 1)})
    store.paths.anchor.write_bytes(serialised(newer.empty_table(), PART_FORMAT))
    versions = rf"written by schema {SCHEMA_VERSION + 1}, this program knows {SCHEMA_VERSION}"
    complaint = rf"store {store.name} was {versions}: upgrade the program, or"
    for act in (store.prepare, store.compact):
        with pytest.raises(StoreError, match=complaint):
            act()


def test_a_store_of_an_older_schema_reads_with_nulls_and_is_brought_up_to_date(store):
    kept = [name for name in SCHEMA.names if name not in {"cosine", "cpu_share"}]
    older = pa.schema(
        [SCHEMA.field(name).remove_metadata() for name in kept], metadata={"schema_version": "0"}
    )
    pq.write_table(older.empty_table(), store.paths.anchor)
    rows = [{"run_id": "r1", "finished_at": START, "schema_version": 0}]
    pq.write_table(pa.Table.from_pylist(rows, older), store.paths.part("old"))
    assert store.frame()["cosine"].isna().all()
    store.prepare()
    anchor = pq.read_schema(store.paths.anchor)
    assert anchor.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
    assert anchor.field("cosine").metadata[b"meaning"].startswith(b"similarity to the fp32 reference")
    assert store.compact() == 1
    assert pl.read_parquet(store.paths.root)["cosine"].to_list() == [None]
    assert store.table(["schema_version"]).to_pylist() == [{"schema_version": 0}]


def test_a_store_of_schema_1_goes_on_working(store):
    kept = [field for field in PLAIN if field.name not in {"family_id", "compile_workers"}]
    first = pa.schema(kept, metadata={"schema_version": "1"})
    for path, numbers in ((store.paths.part("1"), (1, 2)), (store.paths.run("r3"), (3,))):
        rows = [{**row(number).values, "schema_version": 1} for number in numbers]  # noqa: PD011 - a row's
        pq.write_table(pa.Table.from_pylist(rows, first), path)
    pq.write_table(first.empty_table(), store.paths.anchor)
    store.prepare()
    store.append(row(2, attempt=1, family_id="f", compile_workers=2))
    assert store.statuses("c0") == {"r2": "ok"}
    families = store.of_runs(["r1", "r2", "r3"], ["run_id", "family_id"]).to_pylist()
    assert {found["run_id"]: found["family_id"] for found in families} == {"r1": None, "r3": None, "r2": "f"}
    assert store.compact() == 3
    assert pl.read_parquet(store.paths.root).sort("run_id")["compile_workers"].to_list() == [None, 2, None]
    assert plain(store) == ["r1", "r2", "r3"]


def test_a_file_url_is_a_local_folder(tmp_path):
    store = ResultsStore((tmp_path / "results").as_uri())
    store.prepare()
    store.append(row(1))
    store.append(row(2))
    assert store.compact() == 2
    assert attempts(ResultsStore(tmp_path / "results")) == {"r1": 0, "r2": 0}


def test_a_url_of_an_unknown_kind_is_refused():
    with pytest.raises(StoreError, match=r"store ftp://x/y can't be opened: .*: give a folder, or s3://"):
        ResultsStore("ftp://x/y")


# Compaction


def test_compaction_leaves_one_file_and_every_row(store):
    for number in range(5):
        store.append(row(number))
    assert store.compact() == 5
    assert len(list(store.paths.root.iterdir())) == 2
    assert plain(store) == [f"r{number}" for number in range(5)]
    assert store.compact() == 0


def test_compaction_replaces_rows_of_runs_that_were_run_again(store):
    for number in range(3):
        store.append(row(number))
    store.compact()
    store.append(row(1, attempt=1))
    assert store.compact() == 2
    assert plain(store) == ["r0", "r1", "r2"]
    assert attempts(store) == {"r0": 0, "r1": 1, "r2": 0}


def test_a_part_whose_every_run_was_run_again_is_removed(store):
    for attempt in range(2):
        store.append(row(1, attempt=attempt))
        store.append(row(2, attempt=attempt))
        store.compact()
    assert len(list(store.paths.root.glob("part-*"))) == 1
    assert attempts(store) == {"r1": 1, "r2": 1}


def test_in_the_middle_of_a_grid_older_parts_are_left_alone(store):
    for number in range(3):
        store.append(row(number))
    store.compact()
    store.append(row(1, attempt=1))
    store.append(row(3))
    assert store.compact(thorough=False) == 2
    assert plain(store) == ["r0", "r1", "r1", "r2", "r3"]
    assert attempts(store) == {"r0": 0, "r1": 1, "r2": 0, "r3": 0}
    assert store.compact() == 1
    assert plain(store) == ["r0", "r1", "r2", "r3"]
    assert attempts(store) == {"r0": 0, "r1": 1, "r2": 0, "r3": 0}


def test_in_the_middle_of_a_grid_older_parts_are_not_even_opened(store, caplog):
    store.append(row(1))
    store.paths.part("damaged").write_bytes(b"PAR1")
    assert store.compact(thorough=False) == 1
    assert not caplog.messages
    store.compact()
    assert "part-damaged.parquet is not read" in caplog.text


def test_a_row_still_in_memory_does_not_win_over_a_file_that_another_process_wrote(store):
    store.append(row(1))
    store.append(row(2))
    ResultsStore(store.paths.root).append(row(1, attempt=1))
    store.compact()
    assert attempts(store) == {"r1": 1, "r2": 0}


def test_a_row_that_a_compaction_left_in_memory_is_not_stored_twice(store):
    store.append(row(1))
    ResultsStore(store.paths.root).append(row(2))
    ResultsStore(store.paths.root).compact()
    store.append(row(3))
    store.compact()
    assert plain(store) == ["r1", "r2", "r3"]


def test_many_small_parts_become_one(store):
    for number in range(32):
        store.append(row(number))
        if number % 2:
            store.compact()
    parts = len(list(store.paths.root.glob("part-*")))
    store.compact()
    assert parts <= 16
    assert plain(store) == sorted(f"r{number}" for number in range(32))


def test_compaction_keeps_a_row_that_is_appended_while_it_removes_the_older(store, monkeypatch):
    store.append(row(1))
    store.append(row(2))
    rename = Path.rename

    def rename_after_a_rerun(path, target):
        if path == store.paths.run("r1"):
            store.append(row(1, attempt=1))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_after_a_rerun)
    store.compact()
    assert attempts(store) == {"r1": 1, "r2": 0}
    assert not list(store.paths.temporary.iterdir())


class PowerCut(BaseException):
    pass


def cut_power(monkeypatch, root: Path, after: int) -> None:
    """From some step on, nothing below `root` can be changed."""
    steps = itertools.count()

    def guarded(act):
        def step(path, *arguments, **options):
            if root in path.parents and next(steps) >= after:
                raise PowerCut
            return act(path, *arguments, **options)

        return step

    for name in ("unlink", "rename", "replace"):
        monkeypatch.setattr(Path, name, guarded(getattr(Path, name)))


def test_a_compaction_cut_off_at_any_step_neither_loses_nor_doubles_a_row(store, tmp_path, monkeypatch):
    for number in range(3):
        store.append(row(number))
    store.compact()
    store.append(row(3))
    store.compact()
    for number in (1, 3):
        store.append(row(number, attempt=1))
    expected = {"r0": 0, "r1": 1, "r2": 0, "r3": 1}
    for after in itertools.count():
        copy = ResultsStore(shutil.copytree(tmp_path / "outputs", tmp_path / str(after)) / "results")
        copy.prepare()
        with monkeypatch.context() as patch:
            cut_power(patch, tmp_path / str(after), after)
            try:
                done = copy.compact()
            except PowerCut:
                done = 0
        assert attempts(copy) == expected
        copy.prepare()
        assert not list(copy.paths.journal.glob("*.json"))
        assert attempts(copy) == expected
        copy.compact()
        assert plain(copy) == list(expected)
        if done:
            break
    assert after > 10


def test_what_a_killed_writer_left_is_swept_after_a_day(store):
    old, new = store.paths.temporary / "old", store.paths.temporary / "new"
    for path in (old, new):
        path.write_bytes(b"half a row")
    os.utime(old, (0, 0))
    store.prepare()
    assert list(store.paths.temporary.iterdir()) == [new]


# Conditions


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> ResultsStore:
    made = ResultsStore(tmp_path_factory.mktemp("shelf") / "results")
    made.prepare()
    made.append(row(1, model="vit", sequence_length=128, error=None, simulated=False))
    made.append(row(2, model="bert", cosine=0.5, error="out of memory\nmore", device_name="AMD EPYC"))
    made.append(row(3, error="no device", simulated=True))
    made.compact()
    return made


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("", "r1 r2 r3"),
        ("model=vit", "r1"),
        ("model==vit,bert", "r1 r2"),
        ("model!=vit", "r2 r3"),
        ("model=null", "r3"),
        ("error!=null", "r2 r3"),
        ("model=vit,null", "r1 r3"),
        ("batch<=2 batch>1", "r2"),
        ("batch >= 2", "r2 r3"),
        ("seq_len=128", "r1"),
        ("error~mem.ry$|device", "r3"),
        ("error~memory", "r2"),
        ("cosine<0.6", "r2"),
        ("simulated=true", "r3"),
        ("simulated!=yes", "r1 r2"),
        ("device_name='AMD EPYC' batch=2", "r2"),
        ("finished_at>=2026-01-01T00:02:00Z finished_at<2026-01-02", "r2 r3"),
    ],
)
def test_conditions_choose_rows(shelf, text, runs):
    assert load(shelf.paths.root, text, simulated=True)["run_id"].tolist() == runs.split()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("modle=vit", "there is no column modle: did you mean 'model'\\?"),
        ("zzzz=1", "there is no column zzzz: benchmark/store/schema.md lists them"),
        ("model=vit batch", "batch is not a condition: write column=value"),
        ("batch=one", "batch_size is a whole number, but got one"),
        ("cosine<high", "cosine is a number, but got high"),
        ("simulated=maybe", "simulated is true or false, but got maybe"),
        ("started_at<soon", "started_at is a time such as 2026-11-22.*, but got soon"),
        ("batch~1", "batch_size is not text"),
        ("error~(", "is not a regular expression"),
        ("latency_ns=1", "latency_ns holds list<.*>, which conditions can't compare: use results --sql"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        query.expression(query.parse(text))


def test_several_rows_are_stored_as_one_file_and_each_counts(store):
    store.append(row(1, status="crashed"))
    store.append(row(1, attempt=1), row(2), row(3))
    assert len(list(store.paths.root.glob("part-*.parquet"))) == 1
    assert sorted(store.statuses().values()) == ["ok", "ok", "ok"]

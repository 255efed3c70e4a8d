"""Damaged, foreign and stray files of a store: never read as rows, reported, set aside."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.store.compaction import new_part
from benchmark.store.parquet import PART_FORMAT, serialised, table_of
from benchmark.store.results import ResultsStore
from benchmark.store.schema import SCHEMA_VERSION
from tests.chaos.bit_flips import LONG, flip
from tests.store.test_results import START, attempts, row


@pytest.fixture
def store(tmp_path) -> ResultsStore:
    made = ResultsStore(tmp_path / "outputs" / "results")
    made.prepare()
    return made


def fresh(store) -> ResultsStore:
    return ResultsStore(store.paths.root)


@pytest.fixture
def kinds(store):
    """A store with a part, files of runs, a journal and a counter."""
    store.append(*(row(number, **LONG) for number in range(4)))
    for number in range(4, 6):
        store.append(row(number, **LONG))
    return store


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text"])
@pytest.mark.parametrize("kind", ["run", "part"])
def test_a_damaged_file_is_left_out_reported_and_set_aside(kinds, damage, kind, caplog):
    (file,) = sorted(kinds.paths.root.glob("run-r5*" if kind == "run" else "part-*"))
    whole = file.read_bytes()
    changed = {"cut": whole[:-100], "empty": b"", "text": b"no Parquet"}
    flip(file, 4000) if damage == "flipped" else file.write_bytes(changed[damage])
    gone = {"r5"} if kind == "run" else {"r0", "r1", "r2", "r3"}
    left = {f"r{number}" for number in range(6)} - gone
    assert set(attempts(fresh(kinds))) == left
    assert caplog.text.count(f"{file} is not read") == 1
    (flaw,) = fresh(kinds).flaws()
    assert flaw.file == file
    mended = fresh(kinds)
    mended.compact()  # leaves it alone
    (done,) = mended.repair()
    assert set(done.lost) == (gone if kind == "run" or damage == "flipped" else set())
    assert done.flaw.unnamed == (0 if done.lost else None)
    assert done.aside.is_file()
    assert not file.exists()
    assert not fresh(kinds).flaws()
    caplog.clear()
    assert set(attempts(fresh(kinds))) == left
    assert not caplog.messages


def test_a_run_that_has_an_earlier_row_is_no_lost_one(kinds):
    kinds.compact()
    kinds.append(row(1, attempt=1, **LONG))
    flip(kinds.paths.run("r1"), 3000)
    (done,) = fresh(kinds).repair()
    assert (done.lost, done.older) == ((), ("r1",))
    assert attempts(fresh(kinds))["r1"] == 0


def test_groups_of_rows_whose_pages_are_intact_are_kept(store):
    tables = [
        table_of([{**row(number, **LONG).values, "schema_version": SCHEMA_VERSION, "sequence": number + 1}])
        for number in range(4)
    ]
    data = serialised(pa.concat_tables(tables), {**PART_FORMAT, "row_group_size": 2, "use_dictionary": False})
    part = new_part(store.paths, 4)
    part.write_bytes(data)
    column = pq.ParquetFile(part).metadata.row_group(1).column(0)
    flip(part, 8 * (column.data_page_offset + column.total_compressed_size - 1))
    assert attempts(fresh(store)) == {}
    (done,) = fresh(store).repair()
    assert set(attempts(fresh(store))) == {"r0", "r1"}
    assert set(done.lost) == {"r2", "r3"}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"a": [1]}), "it lacks run_id and finished_at"),
        (pa.table({"run_id": ["x"], "finished_at": [[1]]}), "its column finished_at is list"),
        (
            pa.table({"run_id": ["x"], "finished_at": [START], "batch_size": ["many"]}),
            "its column batch_size is string",
        ),
    ],
)
def test_a_foreign_file_is_left_out(kinds, table, reason, caplog):
    pq.write_table(table, kinds.paths.root / "foreign.parquet")
    assert len(attempts(fresh(kinds))) == 6
    assert reason in caplog.text
    kinds.append(row(9))
    kinds.compact()
    (done,) = fresh(kinds).repair()
    assert done.aside.name.startswith("foreign.parquet")
    assert (done.lost, done.flaw.unnamed) == ((), 0)
    assert len(attempts(fresh(kinds))) == 7


def test_a_stray_file_is_reported_and_moved(kinds):
    (kinds.paths.root / "notes.txt").write_text("mine")
    assert len(attempts(fresh(kinds))) == 6
    assert [done.flaw.reason for done in fresh(kinds).repair()] == ["it is no file of rows"]
    assert not (kinds.paths.root / "notes.txt").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"part": "part-x.parquet", "inputs": []}'])
def test_a_damaged_journal_is_set_aside_and_work_goes_on(kinds, content, caplog):
    (kinds.paths.journal / "part-x.json").write_bytes(content)
    kinds.prepare()
    assert "a journal of the store was damaged" in caplog.text
    assert not list(kinds.paths.journal.iterdir())
    kinds.append(row(9))
    kinds.compact()
    assert len(attempts(fresh(kinds))) == 7


def test_a_damaged_anchor_is_no_loss(kinds):
    flip(kinds.paths.anchor, 8000)
    (flaw,) = fresh(kinds).flaws()
    assert flaw.run_ids == ()
    kinds.prepare()
    assert not fresh(kinds).flaws()


def test_rows_survive_where_every_file_was_copied_back(kinds, tmp_path):
    copy = shutil.copytree(kinds.paths.root, tmp_path / "copy")
    assert attempts(ResultsStore(copy)) == attempts(kinds)
    later = ResultsStore(copy)
    later.prepare()
    later.append(row(1, attempt=-1))
    assert attempts(later)["r1"] == -1

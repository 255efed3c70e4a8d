"""A store in a bucket keeps every promise of one in a folder."""

from __future__ import annotations

import logging
import threading

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from benchmark.analysis import nights
from benchmark.bucket import objects
from benchmark.bucket.lease import Lease
from benchmark.bucket.objects import Bucket
from benchmark.errors import BucketError, StoreError
from benchmark.store.history import RowsSince
from benchmark.store.parquet import PART_FORMAT, PLAIN, serialised
from benchmark.store.results import ResultsStore
from benchmark.store.scrub import scrub
from tests.buckets import answering, use, without_conditions
from tests.store.test_results import attempts, row


@pytest.fixture
def address(bucket) -> str:
    return f"{bucket}/team/results"


@pytest.fixture
def store(address) -> ResultsStore:
    made = ResultsStore(address)
    made.prepare()
    return made


def keys(address: str, folder: str = "team/results") -> list[str]:
    return [one.key.removeprefix(f"{folder}/") for one in Bucket(address).listed(folder)]


def test_rows_come_back_and_a_later_one_replaces_the_earlier(address):
    store = ResultsStore(address)
    with pytest.raises(StoreError, match="no results at s3://"):
        store.table()
    store.prepare()
    store.append(row(1, status="crashed"))
    store.append(row(2, latency_ns=(3, 1, 2)), row(3, simulated=True))
    store.append(row(1, attempt=1))
    other = ResultsStore(address)
    assert other.statuses() == {"r1": "ok", "r2": "ok", "r3": "ok"}
    assert attempts(other) == {"r1": 1, "r2": 0, "r3": 0}
    assert other.of_runs(["r2"], ["latency_ns"]).to_pylist() == [{"latency_ns": [3, 1, 2]}]
    assert other.statuses("c1") == {"r1": "ok", "r3": "ok"}
    assert [key for key in keys(address, "team/results-simulated") if key.startswith("run-r3.")]


def test_a_row_that_is_sent_twice_is_one_object(store, address):
    for _ in range(2):
        store.append(row(1))
        ResultsStore(address).append(row(1))
    assert len(keys(address)) == 2
    assert attempts(store) == {"r1": 0}


def test_compaction_leaves_one_part_and_every_row_once(store, address):
    for number in range(6):
        store.append(row(number))
    store.append(row(1, attempt=1))
    assert store.compact() == 7
    assert len(keys(address)) == 2
    assert attempts(ResultsStore(address)) == {"r0": 0, "r1": 1, "r2": 0, "r3": 0, "r4": 0, "r5": 0}
    store.append(row(2, attempt=1))
    assert attempts(store)["r2"] == 1
    assert ResultsStore(address).compact() == 2
    assert len(keys(address)) == 3
    assert attempts(store) == {"r0": 0, "r1": 1, "r2": 1, "r3": 0, "r4": 0, "r5": 0}
    assert store.compact() == 0


def test_anything_that_reads_parquet_reads_the_bucket(store, address, bucket_server):
    store.append(row(1))
    store.append(row(2))
    store.compact()
    plain = fs.S3FileSystem(endpoint_override=bucket_server.endpoint.removeprefix("http://"), scheme="http")
    found = ds.dataset(address.removeprefix("s3://"), filesystem=plain, format="parquet").to_table(["run_id"])
    assert sorted(found["run_id"].to_pylist()) == ["r1", "r2"]


def test_a_compaction_that_stops_between_its_steps_doubles_nothing(store, address, monkeypatch):
    for number in range(3):
        store.append(row(number))
    with monkeypatch.context() as broken:
        broken.setattr(Bucket, "delete", lambda *_: (_ for _ in ()).throw(BucketError("gone")))
        with pytest.raises(BucketError):
            store.compact()
    assert attempts(ResultsStore(address)) == {"r0": 0, "r1": 0, "r2": 0}
    Bucket(address).delete(["team/.results/compact.lock"])  # as after its time
    ResultsStore(address).compact()
    assert attempts(ResultsStore(address)) == {"r0": 0, "r1": 0, "r2": 0}


def test_one_host_at_a_time_compacts(store, address):
    store.append(row(1))
    store.append(row(2))
    with Lease(Bucket(address), "team/.results/compact.lock"):
        assert ResultsStore(address).compact() == 0
        with pytest.raises(StoreError, match="is being compacted"):
            scrub(ResultsStore(address))
    assert ResultsStore(address).compact() == 2


def test_a_reader_during_compactions_sees_every_row_once(store, address):
    def write():
        for number in range(30):
            store.append(row(number))
            if number % 10 == 9:
                store.compact()

    writer = threading.Thread(target=write)
    reader, seen = ResultsStore(address), 0
    writer.start()
    while writer.is_alive():
        found = len(attempts(reader))
        assert found >= seen
        seen = found
    writer.join()
    reader._place.again()
    assert attempts(reader) == {f"r{number}": 0 for number in range(30)}


def test_rows_that_cant_be_sent_are_kept_said_and_sent_later(store, address, monkeypatch, tmp_path, caplog):
    store.append(row(1))
    monkeypatch.setattr(objects, "_RETRIES", {"max_retries": 0})
    lost = ResultsStore(address)
    with answering(403, "AccessDenied") as endpoint, monkeypatch.context() as elsewhere:
        broken = Bucket(address)
        elsewhere.setenv("AWS_ENDPOINT_URL", endpoint)
        lost._place.bucket = broken
        lost._numbers._known = 1
        for number, simulated in ((2, False), (3, False), (4, True)):
            lost.append(row(number, simulated=simulated))
    assert len(caplog.messages) == 1
    assert "the credentials don't allow it" in caplog.text
    assert "is kept in" in caplog.text
    kept = [*(tmp_path / "host" / "outputs" / "unsent").rglob("*.parquet")]
    assert len(kept) == 3
    assert attempts(store).keys() == {"r1", "r2", "r3", "r4"}  # this host reads them
    again = ResultsStore(address)
    again.prepare()
    assert "3 objects of earlier commands" in caplog.text
    assert not [*(tmp_path / "host" / "outputs" / "unsent").rglob("*.parquet")]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another host"))
    assert attempts(ResultsStore(address)).keys() == {"r1", "r2", "r3", "r4"}


def test_a_bucket_without_conditional_writes_is_refused_before_anything_is_stored(
    bucket_server, bucket, monkeypatch, tmp_path
):
    with without_conditions(bucket_server.endpoint) as endpoint:
        use(monkeypatch, endpoint, tmp_path)
        with pytest.raises(BucketError, match="ignores If-None-Match"):
            ResultsStore(f"{bucket}/r").prepare()
        assert Bucket(f"{bucket}/r").listed("r") == []


def test_a_store_of_a_newer_schema_is_refused(store, address):
    newer = PLAIN.with_metadata({"schema_version": "999"})
    Bucket(address).put("team/results/0-schema.parquet", serialised(newer.empty_table(), PART_FORMAT))
    with pytest.raises(StoreError, match="was written by schema 999"):
        ResultsStore(address).prepare()


def test_a_damaged_object_is_named_left_out_and_set_aside(store, address, caplog):
    store.append(row(1))
    store.append(row(2))
    (damaged,) = [key for key in keys(address) if key.startswith("run-r1.")]
    objects_ = Bucket(address)
    data = bytearray(objects_.get(f"team/results/{damaged}").data)
    data[100] ^= 1
    objects_.put(f"team/results/{damaged}", bytes(data))
    for copy in store.paths.root.glob("run-r1*"):
        copy.unlink()
    with caplog.at_level(logging.WARNING):
        assert attempts(ResultsStore(address)) == {"r2": 0}
    assert "is not read: its content has changed" in caplog.text
    (flaw,) = ResultsStore(address).flaws()
    assert flaw.name == f"{address}/{damaged}"
    (repaired,) = ResultsStore(address).repair()
    assert repaired.lost == ("r1",)
    assert str(repaired.aside).startswith(f"{address.removesuffix('results')}.results/damaged/run-r1.")
    assert ResultsStore(address).flaws() == []


def test_a_damaged_copy_is_made_again_and_its_object_stays(store, address, caplog):
    store.append(row(1))
    store.append(row(2))
    for copy in store.paths.root.glob("run-r1*"):
        data = bytearray(copy.read_bytes())
        data[100] ^= 1
        copy.write_bytes(data)
    assert attempts(ResultsStore(address)) == {"r1": 0, "r2": 0}
    assert ResultsStore(address).repair() == []
    assert not caplog.messages


def test_answers_and_findings_lie_beside_the_rows(store, address):
    store.keep_answers("r1", pa.table({"id": [1, 2]}))
    nights.keep(store, "night", [])
    other = ResultsStore(address)
    assert other.answers("r1")["id"].to_pylist() == [1, 2]
    with pytest.raises(StoreError, match=r"run r2 at s3://.* has no answers"):
        other.answers("r2")
    assert other.findings("night").startswith(b"{")
    assert nights.kept(other, "night") == nights.kept(other, "another") == ()


def test_secrets_of_old_rows_are_hidden(store, address):
    store.append(row(1, command="x --token hf_abcdefghijklmnopqrstuvwx"))
    store.append(row(2, command="fine"))
    store.compact()
    assert scrub(ResultsStore(address)).values == 1
    assert ResultsStore(address).table(["command"]).to_pylist() == [
        {"command": "x --token [hidden]"},
        {"command": "fine"},
    ]


def test_another_commands_row_of_a_cell_is_noticed(store, address):
    store.append(row(1))
    since = RowsSince(ResultsStore(address))
    other = ResultsStore(address)
    assert not since.has("r2", "c0")
    other.append(row(2))
    assert since.has("r2", "c0")
    assert not since.has("r1", "c1")
    other.append(row(4))
    other.compact()
    assert since.has("r4", "c0")


def test_two_commands_that_count_alike_agree_on_the_newest(store, address):
    first, second = ResultsStore(address), ResultsStore(address)
    first.prepare()
    second.prepare()
    assert first.highest_sequence() == second.highest_sequence()
    second.append(row(1, attempt=1))
    first.append(row(1))  # finished earlier
    assert attempts(ResultsStore(address)) == {"r1": 1}


def test_only_new_objects_are_read(store, address, bucket_server, monkeypatch):
    for number in range(5):
        store.append(row(number))
    reader = ResultsStore(address)
    assert len(reader.table()) == 5
    monkeypatch.setattr(Bucket, "get", lambda *_: pytest.fail("it was copied"))
    assert len(ResultsStore(address).table()) == 5


def test_few_listings_are_needed(store, address, bucket_server, bucket):
    store.append(row(1))
    before = bucket_server.listings(bucket)
    reader = ResultsStore(address)
    reader.table()
    reader.of_runs(["r1"])
    assert bucket_server.listings(bucket) - before <= 6


def test_the_anchor_has_the_schema(store, address):
    data = Bucket(address).get("team/results/0-schema.parquet").data
    assert pq.read_schema(pa.BufferReader(data)).names == PLAIN.names

"""Two stores have the same rows after a synchronisation, in a folder or in a bucket."""

from __future__ import annotations

import pyarrow as pa
import pytest

from benchmark.errors import StoreError
from benchmark.store.results import ResultsStore
from benchmark.store.sync import Synced, sync
from tests.store.test_results import attempts, row


@pytest.fixture
def stores(tmp_path, bucket):
    return ResultsStore(tmp_path / "here" / "results"), ResultsStore(f"{bucket}/team/results")


def test_rows_go_both_ways_and_the_attempt_that_finished_later_counts(stores):
    here, there = stores
    here.prepare()
    here.append(row(1, attempt=1, status="ok"), row(2), row(3, simulated=True))
    assert sync(here, there) == Synced(to_first=0, to_second=3)
    there.append(row(1), row(2, attempt=1), row(4, environment_variables={"OMP": "1"}))
    assert sync(here, there) == Synced(to_first=2, to_second=1)
    for store in (here, ResultsStore(there.name)):
        assert attempts(store) == {"r1": 1, "r2": 1, "r3": 0, "r4": 0}
        variables = store.of_runs(["r4"], ["environment_variables"]).to_pylist()
        assert variables == [{"environment_variables": [("OMP", "1")]}]
    assert sync(here, there) == sync(there, here) == Synced(0, 0)


def test_answers_loads_and_findings_go_with_their_rows(stores):
    here, there = stores
    here.prepare()
    here.append(row(2, items_hash="x"), row(4, scenario="server"))
    here.keep_loads("r4", pa.table({"rate": [9]}))
    here.keep_answers("r2", pa.table({"id": [7]}))
    here.keep_findings("c0", b"found")
    sync(there, here)
    assert there.answers("r2")["id"].to_pylist() == [7]
    assert there.loads("r4")["rate"].to_pylist() == [9]
    assert there.findings("c0") == b"found"


def test_two_stores_that_are_not_there_are_refused(stores):
    with pytest.raises(StoreError, match=r"no results at .* nor at s3://"):
        sync(*stores)

"""Objects of a bucket: conditional writes, leases, and what a storage that refuses is said to lack."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta, timezone

import pytest

from benchmark.bucket import check, lease
from benchmark.bucket import objects as bucket_objects
from benchmark.bucket.lease import Lease
from benchmark.bucket.objects import Bucket
from benchmark.errors import BucketError
from tests.buckets import SECRET, answering, use, without_conditions


@pytest.fixture
def objects(bucket) -> Bucket:
    return Bucket(f"{bucket}/team/results")


def test_an_object_is_written_once_and_replaced_only_by_who_knows_it(objects):
    assert objects.put_new("a/b", b"1")
    assert not objects.put_new("a/b", b"2")
    first = objects.get("a/b")
    assert first.data == b"1"
    assert objects.replace("a/b", b"3", first.tag)
    assert not objects.replace("a/b", b"4", first.tag)
    assert not objects.replace("a/nothing", b"4", first.tag)
    assert objects.get("a/b").data == b"".join(objects.chunks("a/b")) == b"3"
    assert objects.get("a/nothing") is None
    objects.put("a/b", b"5")
    objects.put("a/c/d", b"deeper")
    assert [(one.key, one.bytes) for one in objects.listed("a")] == [("a/b", 1)]
    objects.delete(["a/b", "a/gone"])
    assert objects.listed("a") == []


def test_names_that_begin_alike_are_found_by_one_request(objects, bucket_server, bucket):
    for name in ("run-a.1", "run-ab.1", "run-ab.2", "run-abc.1", "run-b.1"):
        objects.put(f"rows/{name}", b"")
    before = bucket_server.listings(bucket)
    assert objects.starting_with("rows", "run-ab.") == ["rows/run-ab.1", "rows/run-ab.2"]
    assert bucket_server.listings(bucket) == before + 1
    assert objects.starting_with("rows", "run-c.") == objects.starting_with("none", "run-") == []


def test_a_lease_is_one_hosts_and_is_taken_over_when_it_is_old(objects, monkeypatch):
    with Lease(objects, "lease") as mine, Lease(objects, "lease") as other:
        assert (mine.held, other.held) == (True, False)
    assert objects.get("lease") is None
    objects.put("lease", b"of a host that ended")
    monkeypatch.setattr(lease, "LEASE_S", -1.0)
    with Lease(objects, "lease") as taken:
        assert taken.held
        objects.put("lease", b"of another host, whose clock is ahead")
    assert objects.get("lease").data.startswith(b"of another")


def test_a_lease_is_renewed_while_it_is_held(objects, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_S", 1.0)
    with Lease(objects, "lease"):
        first = objects.get("lease").tag
        time.sleep(0.9)
        assert objects.get("lease").tag != first
        assert not Lease(objects, "lease").__enter__().held


def test_a_lease_whose_holder_was_killed_is_free_at_once_on_its_host(objects):
    """And stays another host's as long as it may live."""
    held = Lease(objects, "lease").__enter__()
    body = json.loads(objects.get("lease").data)
    held._sign_of_life.close()  # as a kill does
    objects.put("lease", json.dumps({**body, "scope": "another host"}).encode())
    with Lease(objects, "lease") as other:
        assert not other.held
    objects.put("lease", json.dumps(body).encode())
    with Lease(objects, "lease") as other:
        assert other.held
    held._ended.set()


def test_a_bucket_that_does_what_is_needed_passes_the_check_and_keeps_nothing_of_it(objects):
    assert abs(check.check(objects, "a")) < 5
    assert objects.listed("a") == []


def test_a_storage_that_ignores_conditions_is_found_out(bucket_server, bucket, monkeypatch, tmp_path):
    with without_conditions(bucket_server.endpoint) as endpoint:
        use(monkeypatch, endpoint, tmp_path)
        with pytest.raises(BucketError, match="ignores If-None-Match"):
            check.check(Bucket(f"{bucket}/r"), "a")


@pytest.mark.parametrize(("ahead", "said"), [(5, ""), (-300, "300 s behind"), (3600, "3600 s ahead of")])
def test_a_wrong_clock_is_said(ahead, said):
    assert said in check.skewed(ahead)
    assert bool(check.skewed(ahead)) == bool(said)


REFUSALS = {
    "InvalidAccessKeyId": (403, "the credentials are wrong: correct AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, "the credentials are wrong"),
    "ExpiredToken": (400, "the session has expired"),
    "AccessDenied": (403, "the credentials don't allow it: they need to list my-bucket"),
    "RequestTimeTooSkewed": (403, "the clock of this host is wrong by minutes: set it"),
    "NoSuchBucket": (404, "there is no bucket my-bucket: create it"),
    "NotImplemented": (501, "it has no conditional writes"),
    "AuthorizationHeaderMalformed": (400, "another region: set AWS_DEFAULT_REGION"),
    "SlowDown": (503, "too busy"),
}


@pytest.fixture
def impatient(monkeypatch):
    """Don't try again."""
    monkeypatch.setattr(bucket_objects, "_RETRIES", {"max_retries": 0})


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_one_line_with_its_mend_and_no_secret(code, monkeypatch, tmp_path):
    status, said = REFUSALS[code]
    with answering(status, code) as endpoint:
        use(monkeypatch, endpoint, tmp_path)
        for asked in (lambda b: b.put_new("k", b""), lambda b: b.listed("p"), lambda b: b.get("k")):
            with pytest.raises(BucketError, match="s3://my-bucket/p: ") as error:
                asked(Bucket("s3://my-bucket/p"))
            text = str(error.value)
            assert said in text
            assert "\n" not in text
            assert SECRET not in text


@pytest.mark.usefixtures("impatient")
def test_a_storage_that_cant_be_reached_is_said(monkeypatch, tmp_path):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(BucketError, match="it can't be reached: see whether this host has a network"):
        Bucket("s3://my-bucket/p").get("k")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://bucket", "a prefix keeps it apart"),
        ("s3:///prefix", "write BUCKET and PREFIX"),
        ("s3://bucket/a/../b", "write BUCKET and PREFIX"),
        ("ftp://bucket/prefix", "write BUCKET and PREFIX"),
        ("s3://ID:hush@bucket/p", "an address holds no credentials"),
        ("s3://bucket/p?region=x", "no options"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secret(address, said):
    with pytest.raises(BucketError, match=said) as error:
        Bucket(address)
    assert "hush" not in str(error.value)


def test_a_process_that_was_forked_is_refused_instead_of_hanging(objects):
    objects.put("a", b"")
    objects._process = os.getppid()  # as in a fork of the process that has opened it
    with pytest.raises(RuntimeError, match="after a fork"):
        objects.get("a")


def test_the_time_of_an_object_is_that_of_the_storage(objects):
    objects.put("a", b"")
    age = datetime.now(timezone.utc) - objects.get("a").changed_at
    assert abs(age) < timedelta(minutes=1)

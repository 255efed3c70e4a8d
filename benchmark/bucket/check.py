"""Whether a bucket does what this program relies on; a few requests on an object of its own."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import datetime, timezone
from typing import Final

from benchmark.bucket.objects import Bucket
from benchmark.errors import BucketError

_MOST_SKEW_S: Final = 60.0
_OTHER: Final = "choose another storage, or a newer version of it: nothing was stored"


def check(bucket: Bucket, folder: str) -> float:
    """Write, replace, list, read and delete an object; return how far this host's clock is ahead, in s.

    Raises:
        BucketError: the bucket can't be used, and what to do.
    """
    key = f"{folder}/probe-{uuid.uuid4().hex}"
    try:
        return _checked(bucket, folder, key)
    finally:
        with suppress(BucketError):  # what failed before says more
            bucket.delete([key])


def _checked(bucket: Bucket, folder: str, key: str) -> float:
    before = datetime.now(timezone.utc)
    if not bucket.put_new(key, b"1"):
        raise BucketError(f"{bucket.address}: a new object counts as one that is there: {_OTHER}")
    if bucket.put_new(key, b"2"):
        raise BucketError(f"{bucket.address}: it ignores If-None-Match (put if absent): {_OTHER}")
    first = bucket.get(key)
    if first is None or first.data != b"1":
        raise BucketError(f"{bucket.address}: an object can't be read as it was written: {_OTHER}")
    if not bucket.replace(key, b"3", first.tag):
        raise BucketError(f"{bucket.address}: it refuses If-Match with the right tag: {_OTHER}")
    if bucket.replace(key, b"4", first.tag):
        raise BucketError(f"{bucket.address}: it ignores If-Match (compare and swap): {_OTHER}")
    if key not in [one.key for one in bucket.listed(folder)]:
        raise BucketError(f"{bucket.address}: a new object is not in its listing: {_OTHER}")
    bucket.delete([key])
    if bucket.get(key) is not None:
        raise BucketError(f"{bucket.address}: a deleted object can still be read: {_OTHER}")
    ahead_s = (before - first.changed_at).total_seconds()
    return 0.0 if abs(ahead_s) < 1 else ahead_s


def skewed(ahead_s: float) -> str:
    """What to say of a clock; empty where it is right."""
    if abs(ahead_s) < _MOST_SKEW_S:
        return ""
    way = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"the clock of this host is {abs(ahead_s):.0f} s {way} the storage's: set it, for example by "
        "`timedatectl set-ntp true`"
    )

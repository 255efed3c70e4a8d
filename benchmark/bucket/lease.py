"""A lease in a bucket: one host at a time does work that would be wasted if two did it.

Its holder renews it. One that was killed is known at once on its own host, by a lock that ended with it, and
on others when the renewals stop. Clocks of hosts differ and a holder may sleep, so two hosts may have it at
once: what must be right doesn't rest on it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from types import TracebackType
from typing import Final

from typing_extensions import Self

from benchmark.bucket.objects import Bucket, Found
from benchmark.errors import BucketError
from benchmark.host.mutex import Mutex, scope

LEASE_S: Final = 30.0
"""Renewed twice in that time."""
_SLACK: Final = 2
"""A lease is taken over after so many times its length."""


class Lease:
    """Taken by `with`; `held` says whether this host got it."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.held = False
        self._bucket, self._key, self._id = bucket, key, uuid.uuid4().hex
        self._sign_of_life = Mutex(f"lease-{self._id}")
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        """Take the lease if it is free, or if its holder must have ended.

        Raises:
            BucketError: the bucket can't be written.
        """
        self._sign_of_life.acquire(0)
        try:
            self.held = self._bucket.put_new(self._key, self._body(0)) or self._taken_over()
        finally:
            if not self.held:
                self._sign_of_life.close()
        if self.held:
            self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back, if it is still this host's."""
        if not self.held:
            return
        self._ended.set()
        self._renewing.join()
        self._sign_of_life.close()
        if self._mine():
            self._bucket.delete([self._key])

    def _body(self, renewals: int) -> bytes:
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "id": self._id, "scope": scope()}
        return json.dumps({**owner, "renewals": renewals}).encode()

    def _mine(self) -> Found | None:
        """The lease, if it is this one's."""
        found = self._bucket.get(self._key)
        return found if found and _owner(found).get("id") == self._id else None

    def _renew(self) -> None:
        renewals = 0
        while not self._ended.wait(max(0.1, LEASE_S / 2)):
            with suppress(BucketError):  # the next time, or another host takes it
                renewals += 1
                if not (found := self._mine()):
                    return
                self._bucket.replace(self._key, self._body(renewals), found.tag)

    def _taken_over(self) -> bool:
        found = self._bucket.get(self._key)
        if found is None:  # given back just now: the next one gets it
            return False
        age_s = (datetime.now(timezone.utc) - found.changed_at).total_seconds()
        has_ended = age_s > _SLACK * LEASE_S or _ended_here(found)
        return has_ended and self._bucket.replace(self._key, self._body(0), found.tag)


def _owner(found: Found) -> dict[str, object]:
    with suppress(ValueError):
        owner = json.loads(found.data)
        if isinstance(owner, dict):
            return owner
    return {}


def _ended_here(found: Found) -> bool:
    """Whether the holder was a process of this host, and is gone."""
    owner = _owner(found)
    if owner.get("scope") != scope():
        return False
    sign_of_life = Mutex(f"lease-{owner.get('id')}")
    try:
        return sign_of_life.acquire(0)
    finally:
        sign_of_life.close()

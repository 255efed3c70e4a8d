"""A lease in a bucket: one host at a time does work that would be wasted if two did it.

Clocks of hosts differ and a holder may sleep, so two hosts may have it at once: what must be right doesn't
rest on it.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from datetime import datetime, timezone
from types import TracebackType
from typing import Final

from typing_extensions import Self

from benchmark.bucket.objects import Bucket

LEASE_S: Final = 300.0
_SLACK: Final = 2
"""A lease is taken over after so many times its length."""


class Lease:
    """Taken by `with`; `held` says whether this host got it."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.held = False
        self._bucket, self._key = bucket, key
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}
        self._body = json.dumps(owner).encode()

    def __enter__(self) -> Self:
        """Take the lease if it is free, or so old that its holder must have ended.

        Raises:
            BucketError: the bucket can't be written.
        """
        self.held = self._bucket.put_new(self._key, self._body) or self._taken_over()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back, if it is still this host's."""
        if self.held and (found := self._bucket.get(self._key)) and found.data == self._body:
            self._bucket.delete([self._key])

    def _taken_over(self) -> bool:
        found = self._bucket.get(self._key)
        if found is None:  # given back just now: the next one gets it
            return False
        age_s = (datetime.now(timezone.utc) - found.changed_at).total_seconds()
        return age_s > _SLACK * LEASE_S and self._bucket.replace(self._key, self._body, found.tag)

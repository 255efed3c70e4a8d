"""Objects of one bucket: conditional writes, listings and reads, through obstore (extra `bucket`).

A key is a name in the whole bucket, such as `results/run-1.parquet`. Credentials, region and endpoint come
from the environment, by the variables that the tools of AWS, Google and Azure read; none is in an address.

obstore's threads don't survive a fork: a process that has used it must not be forked, and then use it. Ours
is not: children come from a server that was started by exec.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from benchmark.bucket.failures import in_words
from benchmark.errors import BucketError
from benchmark.redaction import without_secrets

SCHEMES: Final = ("s3", "gs", "az")
_RETRIES: Final = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}
_CONNECT_S: Final = 5
_CONFLICTS: Final = 5
"""How often a conditional write is tried while another one of the same key is under way."""


class Stored(NamedTuple):
    """An object, as a listing has it."""

    key: str
    bytes: int
    tag: str | None
    """Changes with its content."""
    changed_at: datetime
    """By the clock of the storage."""


class Found(NamedTuple):
    """The content of an object."""

    data: bytes
    tag: str | None
    changed_at: datetime


def is_address(place: str | Path) -> bool:
    """Whether a place is the address of a bucket, not a folder."""
    return isinstance(place, str) and place.partition("://")[0] in SCHEMES


class Bucket:
    """A bucket, and a prefix in it. Every method raises BucketError where the storage refuses."""

    def __init__(self, address: str, timeout_s: float = 60) -> None:
        """Connect to nothing yet. `timeout_s` is the longest time of one request.

        Raises:
            BucketError: the address is none of a bucket with a prefix.
        """
        self.address = without_secrets(address)
        parts = urlsplit(address)
        self.name, self.prefix = parts.netloc, parts.path.strip("/")
        self._root = f"{parts.scheme}://{parts.netloc}"
        self._timeout_s, self._process = timeout_s, os.getpid()
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise BucketError(
                f"{self.address}: an address holds no credentials and no options: write s3://BUCKET/PREFIX, "
                "and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and the like"
            )
        if parts.scheme not in SCHEMES or not self.name or not self.prefix or ".." in self.prefix.split("/"):
            raise BucketError(
                f"{self.address}: write BUCKET and PREFIX, as in s3://BUCKET/PREFIX, gs: or az: a prefix "
                "keeps it apart from what else is in the bucket"
            )

    @cached_property
    def _store(self) -> Any:
        try:
            from obstore.store import from_url
        except ImportError as error:
            advice = "pip install 'benchmark-orchestrator[bucket]'"
            raise BucketError(f"{self.address}: needs obstore: {advice}") from error
        options: dict[str, Any] = {}
        if endpoint := endpoint_of(self._root):
            options["endpoint"] = endpoint
        client = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "timeout": timedelta(seconds=self._timeout_s),
        }
        with self._asking():
            return from_url(self._root, client_options=client, retry_config=_RETRIES, **options)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one of that key; return whether it was written."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._asking():
            for left in reversed(range(_CONFLICTS)):
                try:
                    obstore.put(self._store, key, data, mode="create")
                except AlreadyExistsError as error:
                    if (
                        "ConditionalRequestConflict" in str(error) and left
                    ):  # another write of it is under way
                        continue
                    return False
                return True
        return False

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object, or replace it. A file of any size is written; it appears whole or not at all."""
        import obstore

        with self._asking():
            obstore.put(self._store, key, data, mode="overwrite")

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Replace an object if it still has this tag; return whether it had."""
        import obstore
        from obstore.exceptions import PreconditionError

        with self._asking():
            try:
                obstore.put(self._store, key, data, mode={"e_tag": tag})
            except (PreconditionError, FileNotFoundError) as error:
                if "NoSuchBucket" in str(error):
                    raise
                return False
        return True

    def get(self, key: str) -> Found | None:
        """Read an object; None if there is none."""
        import obstore

        with self._asking():
            try:
                found = obstore.get(self._store, key)
                data = bytes(found.bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
        return Found(data, found.meta["e_tag"], found.meta["last_modified"])

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read an object in pieces of some MB; none if there is no such object."""
        import obstore

        with self._asking():
            try:
                for chunk in obstore.get(self._store, key).stream(min_chunk_size=4 << 20):
                    yield bytes(chunk)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise

    def listed(self, folder: str) -> list[Stored]:
        """Objects below a folder, without those in its folders, in the order of their keys."""
        import obstore

        with self._asking():
            found = chain.from_iterable(obstore.list(self._store, f"{folder}/"))
            every = [_stored(one) for one in found]
        return sorted(one for one in every if "/" not in one.key.removeprefix(f"{folder}/"))

    def starting_with(self, folder: str, start: str) -> list[str]:
        """Keys in a folder whose names begin so: the first thousand at most, in one request."""
        import obstore

        first = f"{folder}/{start}"
        with self._asking():
            # A text without its last character sorts before it: the storage lists what comes after.
            pages = obstore.list(self._store, f"{folder}/", offset=first[:-1], chunk_size=1000)
            page: Sequence[Any] = next(iter(pages), ())
            return [one["path"] for one in page if one["path"].startswith(first)]

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; those that are gone already count as deleted."""
        import obstore

        if keys:
            with self._asking():
                obstore.delete(self._store, [*keys])

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn an error of the storage into a line.

        Raises:
            BucketError: what it said, and what to do.
        """
        if os.getpid() != self._process:
            raise RuntimeError("a bucket was used after a fork: open it in the new process")
        try:
            yield
        except (BucketError, GeneratorExit):
            raise
        except Exception as error:
            if not (type(error).__module__.startswith("obstore") or isinstance(error, (OSError, ValueError))):
                raise
            raise BucketError(f"{self.address}: {in_words(str(error), self.name)}") from error


def endpoint_of(address: str) -> str:
    """The endpoint that the environment names for S3-compatible storage; empty: the provider's own."""
    if not address.startswith("s3://"):
        return ""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _stored(one: Any) -> Stored:
    return Stored(one["path"], one["size"], one["e_tag"], one["last_modified"])

"""What a storage refused, in one line: the cause and what to do about it.

Codes are those of Amazon S3's and Azure's error responses, and the texts of the object_store library.
"""

from __future__ import annotations

import re
from typing import Final

from benchmark.redaction import without_secrets

_CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_SESSION_TOKEN, a role, or their like)"
)
_PROFILE: Final = 'a profile of ~/.aws by `eval "$(aws configure export-credentials --format env)"`'
_CAUSES: Final = (
    (
        "RequestTimeTooSkewed|RequestExpired",
        "the clock of this host is wrong by minutes: set it, for example by `timedatectl set-ntp true`",
    ),
    (
        "NoSuchBucket|ContainerNotFound|specified bucket does not exist",
        "there is no bucket {bucket}: create it, or correct the address",
    ),
    (
        r"169\.254\.|metadata\.google|credentials? (?:provider|not)|Account must be specified|MissingAccount",
        f"there are no credentials: set {_CREDENTIALS}; {_PROFILE}",
    ),
    (
        "without LOCATION|PermanentRedirect|AuthorizationHeaderMalformed",
        "the bucket is in another region: set AWS_DEFAULT_REGION to its region",
    ),
    (
        "501 Not Implemented|NotImplemented|not supported",
        "it has no conditional writes (If-None-Match, If-Match): choose another storage, or a newer version",
    ),
    ("ExpiredToken|TokenRefreshRequired", "the session has expired: get new credentials"),
    (
        "InvalidAccessKeyId|SignatureDoesNotMatch|401 Unauthorized",
        f"the credentials are wrong: correct {_CREDENTIALS}",
    ),
    (
        "AccessDenied|403 Forbidden",
        "the credentials don't allow it: they need to list {bucket}, and to get, put and delete its objects",
    ),
    ("503 |SlowDown|429 |500 Internal", "the storage is too busy or has a fault: try again later"),
    (
        "error sending request|dns error|timed out|timeout|connection",
        "it can't be reached: see whether this host has a network, and whether AWS_ENDPOINT_URL is right",
    ),
)
_LONGEST: Final = 160


def in_words(text: str, bucket: str) -> str:
    """Cause and mend of an error's text; an unknown one keeps its first line."""
    for pattern, words in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return words.format(bucket=bucket)
    return f"{without_secrets(text).partition(chr(10))[0][:_LONGEST]}: see `doctor --store`"

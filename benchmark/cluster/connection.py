"""Connect to a Ray cluster; what goes wrong is one line."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from benchmark.errors import ConfigError, LibraryMissing
from benchmark.host import libraries
from benchmark.redaction import without_secrets

logger = logging.getLogger(__name__)

TOKEN_FILE: Final = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 - the name of a variable
AUTH_MODE: Final = "RAY_AUTH_MODE"
_SAME_TOKEN: Final = (
    f"give this command the token of the cluster: set {AUTH_MODE}=token and {TOKEN_FILE}= to a file with it "
    "(without a path Ray reads ~/.ray/auth_token); every node needs the same file"
)
_AUTHENTICATION: Final = re.compile(r"authenticat|auth token|unauthorized|RAY_AUTH", re.IGNORECASE)
_REACH_S: Final = 5.0
_TRIES: Final = "5"
"""Of Ray, a second each, with a head that doesn't take the token; its own 20 show nothing more."""
_VERSIONS: Final = re.compile(r"Version mismatch.*", re.DOTALL)


def library() -> Any:
    """The library.

    Raises:
        LibraryMissing: it isn't installed here.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns on each host
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", _TRIES)
    try:
        import ray
    except ImportError:
        raise LibraryMissing(
            f"hydra/launcher=ray needs ray, which isn't installed here: {libraries.command_for('ray')}"
        ) from None
    return ray


@contextmanager
def connected(address: str | None, variables: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Connect to the cluster while the block runs; yield the library.

    `address` null is RAY_ADDRESS, else the cluster that has a node on this host. `variables` are set in the
    processes on its nodes.

    Raises:
        LibraryMissing: Ray isn't installed.
        ConfigError: there is no such cluster, or it refuses this command.
    """
    ray = library()
    already = ray.is_initialized()
    if not already:
        place = address or os.environ.get("RAY_ADDRESS") or "auto"
        _refuse_unreachable(place)
        try:
            ray.init(
                address=place,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": dict(variables)} if variables else None,
            )
        except Exception as error:
            raise ConfigError(_reason(place, error)) from error
    _messages_to_the_log(ray)
    try:
        yield ray
    finally:
        if not already:
            ray.shutdown()


def _refuse_unreachable(place: str) -> None:
    """Ray would try for a minute.

    Raises:
        ConfigError: nothing listens there, or it is no address of a head.
    """
    host, colon, port = place.rpartition(":")
    if "://" in place or (place != "auto" and not (colon and port.isdigit())):
        raise ConfigError(
            f"launcher.address={place}: should be HOST:PORT of the head, such as 10.0.0.1:6379, and this "
            "host a node of its cluster"
        )
    if place == "auto":
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"launcher.address={place}: no head of a Ray cluster answers there ({error}): `benchmark "
            "cluster` shows the line that starts one"
        ) from None


def _messages_to_the_log(ray: Any) -> None:
    """Ray prints sixty lines about a lost node amid the progress: the log keeps them."""

    def logged(data: Mapping[str, Any], ignore_prefix: bool) -> None:  # noqa: ARG001 - Ray's signature
        logger.info("%s", "\n".join(data["lines"]))

    if hasattr(ray._private.worker, "print_to_stdstream"):  # noqa: SLF001 - Ray has no setting for it
        ray._private.worker.print_to_stdstream = logged  # noqa: SLF001


def _reason(place: str, error: Exception) -> str:
    """Why this command can't join, and the mend."""
    text = without_secrets(" ".join(str(error).split()))
    where = f"launcher.address={place}"
    if _AUTHENTICATION.search(text):
        return f"{where}: the cluster refuses the token of this command: {_SAME_TOKEN}"
    if isinstance(
        error, ConnectionError
    ):  # the port has answered; Ray prints the reason and doesn't raise it
        return f"{where}: the head refuses this command, most likely for its token: {_SAME_TOKEN}"
    if differ := _VERSIONS.search(text):
        return f"{where}: {differ[0][:200]}: install the same versions of Ray and Python on every node"
    if place == "auto" and "Could not find any running Ray instance" in text:
        return (
            "launcher.address: no Ray cluster runs on this host: `benchmark cluster` shows the lines that "
            "start one, or set launcher.address=HOST:6379"
        )
    return (
        f"{where}: {type(error).__name__}: {text[:200]}: check that the head runs there and that this "
        "host is a node of the cluster"
    )

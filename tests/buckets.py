"""Storage for tests: an S3-compatible server on loopback, and one that answers as a broken storage would."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACCESS_KEY, SECRET = "AKIAQ3EGTESTTESTTEST", "q8Yh2Rk5Vn1Zc7Lm4Bx9Wd3Ft6Gj0Ps+Ka/Ue2Oi"
"""Credentials as AWS has them; the server takes any."""


class BucketServer:
    """moto's S3 in a process of its own; its log tells the requests."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = Path(tempfile.mkdtemp(prefix="moto-")) / "log"
        with self.log.open("w") as log:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=1):
                return
            assert self._process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text())

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which any tool finds the server."""
        return environment(self.endpoint)

    def new_bucket(self) -> str:
        """Address of an empty bucket."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        return f"s3://{name}"

    def listings(self, address: str) -> int:
        """Number of LIST requests of a bucket so far."""
        name = address.removeprefix("s3://").partition("/")[0]
        return len(re.findall(rf'"GET /{name}\?[^"]*list-type=2', self.log.read_text()))

    def stop(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()


def environment(endpoint: str) -> dict[str, str]:
    """Variables of a host that uses an S3-compatible storage."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def answering(code: int, name: str):
    """A storage that answers every request with this status and code; yields its endpoint."""
    body = f"<Error><Code>{name}</Code><Message>no</Message></Error>".encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with _serving(Handler) as endpoint:
        yield endpoint


@contextmanager
def without_conditions(endpoint: str):
    """A storage that passes requests on, but ignores their conditions; yields its endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {
                name: value for name, value in self.headers.items() if not name.lower().startswith("if-")
            }
            request = urllib.request.Request(
                f"{endpoint}{self.path}", data=body or None, headers=headers, method=self.command
            )
            try:
                answer = urllib.request.urlopen(request, timeout=10)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                data = answer.read()
                self.send_response(answer.status)
                for header, value in answer.headers.items():
                    if header.lower() not in {"content-length", "connection", "transfer-encoding"}:
                        self.send_header(header, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with _serving(Handler) as own:
        yield own


@contextmanager
def _serving(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(monkeypatch, endpoint: str, home: Path) -> None:
    """Make this process a host that uses a storage: its variables, its copies, what it could not send."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BENCHMARK_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))

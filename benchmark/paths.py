"""Names of all files and folders that this program writes; no other module joins such paths."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from benchmark.records import frozen

_SIDE: Final = ".side"


def at_home(path: str) -> str:
    """A relative path, under BENCHMARK_HOME where that is set. conf/config.yaml does the same for runs."""
    return os.path.normpath(os.path.join(os.environ.get("BENCHMARK_HOME", ""), path))  # noqa: PTH118 - a text


def block_name(number: int | None, of: int | None) -> str:
    """File of a block of answers, of so many; None stands for any."""
    first, count = ("*" if one is None else f"{one:06d}" for one in (number, of))
    return f"block-{first}-of-{count}.npz"


@frozen
class CampaignPaths:
    """The folder of one campaign: Hydra's snapshots, logs, compiler work folders."""

    folder: Path

    def progress(self, hostname: str, pid: int) -> Path:
        """State of the grid that one command runs, for `status` in a second terminal."""
        return self.folder / f"progress-{hostname}-{pid}.json"

    @property
    def all_progress(self) -> tuple[Path, ...]:
        """States of all commands of the campaign; the file that changed last is at the end."""
        files = {}
        for file in self.folder.glob("progress-*.json"):
            with suppress(OSError):  # its command has just removed it
                files[file] = file.stat().st_mtime_ns
        return tuple(sorted(files, key=files.__getitem__))

    @property
    def race(self) -> Path:
        """Log of the race that `tune` ran in this campaign."""
        return self.folder / "race.json"

    def log(self, run_id: str) -> Path:
        """Output of the child processes of one run."""
        return self.folder / "logs" / f"{run_id}.log"

    def picture(self, run_id: str) -> Path:
        """Image that a model made in its run."""
        return self.folder / "pictures" / f"{run_id}.png"

    def checkpoint(self, run_id: str) -> Path:
        """Folder of the model that was trained in its run."""
        return self.folder / "checkpoints" / run_id

    def answers(self, name: str) -> Path:
        """Folder of answers to a data set that aren't complete yet."""
        return self.folder / "answers" / name

    @property
    def answered(self) -> float | None:
        """Share of a data set that is answered, where a run is at that; of the folder that changed last."""
        folders = {}
        for folder in (self.folder / "answers").glob("*"):
            with suppress(OSError):  # its run has just removed it
                folders[folder] = folder.stat().st_mtime_ns
        if not folders:
            return None
        blocks = [*max(folders, key=folders.__getitem__).glob(block_name(None, None))]
        return len(blocks) / int(blocks[0].stem.rpartition("-")[2]) if blocks else None

    def loads(self, run_id: str) -> Path:
        """Folder of the loads of a run that isn't complete yet."""
        return self.folder / "loads" / run_id


@frozen
class StorePaths:
    """A folder of the results store; nothing but *.parquet may lie in `root`.

    What belongs to it lies beside it, since plain readers walk into subfolders; inside, under a name with a
    dot, where `root` is a mount point or its parent can't be written.
    """

    root: Path

    def of(self, origin: str) -> StorePaths:
        """Folder of the rows of that origin."""
        if origin == "measured":
            return self
        alone = _stands_alone(self.root)
        return StorePaths(
            root=self.root / f".{origin}" if alone else self.root.parent / f"{self.root.name}-{origin}"
        )

    @property
    def anchor(self) -> Path:
        """Zero rows, sorts first: plain readers take their column types from it."""
        return self.root / "0-schema.parquet"

    @property
    def side(self) -> Path:
        """Work files of the store, on the same file system, hidden from readers."""
        alone = _stands_alone(self.root)
        return self.root / _SIDE if alone else self.root.parent / f".{self.root.name}"

    @property
    def temporary(self) -> Path:
        """Files being written."""
        return self.side / "tmp"

    @property
    def journal(self) -> Path:
        """Compactions under way."""
        return self.side / "journal"

    @property
    def compact_lock(self) -> Path:
        """One compaction at a time."""
        return self.side / "compact.lock"

    @property
    def sequence(self) -> Path:
        """Number of the row that was written last."""
        return self.side / "sequence"

    @property
    def sequence_lock(self) -> Path:
        """One command at a time counts on."""
        return self.side / "sequence.lock"

    @property
    def damaged(self) -> Path:
        """Files that a repair has set aside."""
        return self.side / "damaged"

    def nightly(self, campaign: str) -> Path:
        """Findings of a nightly check of that campaign."""
        return self.side / "nightly" / f"{as_name(campaign)}.json"

    def run(self, run_id: str) -> Path:
        """The file of one run."""
        return self.root / f"run-{run_id}.parquet"

    def answers(self, run_id: str) -> Path:
        """Answers of one run to the items of a data set."""
        return self.of("answers").root / f"{run_id}.parquet"

    def object(self, run_id: str, digest: str) -> Path:
        """The object of one row in a bucket: its name says its content, so that it never changes."""
        return self.root / f"run-{run_id}.{digest}.parquet"

    @staticmethod
    def run_id(file: Path) -> str | None:
        """The run of a file or an object of one row; None for other files."""
        kind, _, name = file.name.partition("-")
        return name.partition(".")[0] if kind == "run" else None

    def loads(self, run_id: str) -> Path:
        """Requests of all loads of one run."""
        return self.of("loads").root / f"{run_id}.parquet"

    def part(self, name: str) -> Path:
        """A file of several rows; names sort by the order of writing."""
        return self.root / f"part-{name}.parquet"


@frozen
class CachePaths:
    """The compile cache: one folder per key, with a manifest."""

    root: Path

    def entry(self, key: str) -> Path:
        """A finished entry."""
        return self.root / key

    def manifest(self, entry: Path) -> Path:
        """Description of an entry: its content key, files and checksums."""
        return entry / "manifest.json"

    @property
    def temporary(self) -> Path:
        """Entries being built."""
        return self.root / ".tmp"

    @property
    def damaged(self) -> Path:
        """Entries set aside because their files do not match their manifest."""
        return self.root / ".damaged"


@lru_cache(maxsize=256)
def _stands_alone(root: Path) -> bool:
    """Whether nothing can be moved between a folder and its neighbours, or written beside it."""
    beside, parent = root.parent / f".{root.name}", root.parent
    if not root.is_dir():
        return False
    unwritable = not beside.is_dir() and not os.access(parent, os.W_OK) and os.access(root, os.W_OK)
    return (root / _SIDE).is_dir() or unwritable or root.stat().st_dev != parent.stat().st_dev


def host_peaks() -> Path:
    """Peaks of this host and refusals to measure them, for every command of this user."""
    return _user_cache() / f"peaks-{socket.gethostname()}"


def bucket_copies(address: str) -> Path:
    """Copies of a bucket's objects, so that none is read twice; safe to delete."""
    return _user_cache() / "buckets" / _as_folder(address)


def unsent(address: str) -> Path:
    """Objects that could not be sent to a bucket yet."""
    return Path(at_home("outputs/unsent")).absolute() / _as_folder(address)


def _as_folder(address: str) -> str:
    """A name for what belongs to an address: readable, and another one for each."""
    name = quote(address.partition("://")[2].partition("/")[0], safe="")
    return f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"


def _user_cache() -> Path:
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:  # a user without a home, as in some containers
        cache = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return cache / "benchmark"


def trusted_caches() -> Path:
    """Compile caches that this user trusts though others can write them, a line each."""
    try:
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    except RuntimeError:  # a user without a home, as in some containers
        settings = Path(tempfile.gettempdir()) / f"config-{os.getuid()}"
    return settings / "benchmark" / "trusted_caches"


def as_name(text: str) -> str:
    """A text from a row as the name of one file or folder: separators and dots alone lead nowhere."""
    return quote(text, safe=" ,:+=@") if text.strip(".") else quote(text).replace(".", "%2E")


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)

"""The compile cache: what is in it is whole, whatever happens to those who build it."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmark.cache import compile_cache
from benchmark.cache.compile_cache import CompileCache
from benchmark.cache.manifest import content_key, entry_key
from benchmark.errors import CacheError
from benchmark.host.mutex import Mutex
from benchmark.sealed import sealed

MADE_OF = {"model": "tiny", "batch": 1, "versions": {"compiler": "1.0"}}

SLOW_BUILDER = """
import sys, time
from benchmark.cache.compile_cache import CompileCache

def build(folder):
    print("building", flush=True)
    time.sleep(0.4)
    (folder / "model.bin").write_bytes(b"theirs")
    return {}

CompileCache(sys.argv[1]).get_or_build("artifact", {"model": "tiny"}, build)
"""

NURSERY = """
import os, sys
from benchmark.cache.compile_cache import CompileCache

def build(folder):
    for name in ("a.bin", "b.bin", "deep/c.bin"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            for _ in range(16):
                file.write(os.urandom(1 << 14))
                file.flush()
    return {"label": "from the nursery"}

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        cache = CompileCache(sys.argv[1])
        cache.prepare()
        for turn in range(10**6):
            cache.get_or_build("artifact", {"pid": os.getpid(), "line": line, "turn": turn}, build)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("buried", flush=True)
"""


@pytest.fixture
def cache(tmp_path):
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    return opened


def write_model(folder):
    (folder / "model.bin").write_bytes(b"0123456789" * 100)
    (folder / "parts").mkdir()
    (folder / "parts" / "weights.bin").write_bytes(b"w" * 50)
    return {"label": "tiny b1", "flags": ("-O1",)}


def must_not_build(_folder):
    raise AssertionError("built although it was there")


def damage(path, content):
    """Overwrite as a failing disk would: the clock of the file does not move."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def used_ago(entry, seconds):
    then = time.time() - seconds
    os.utime(entry.folder / "manifest.json", (then, then))


def start(script, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options
    )


# Keys


def test_a_key_is_32_hex_digits_whatever_the_order_of_its_parts():
    key = content_key({"a": 1, "b": {"x": None, "y": [1.5, "s"]}})
    assert key == content_key({"b": {"y": (1.5, "s"), "x": None}, "a": 1})
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


def test_a_path_counts_as_its_spelling():
    assert content_key({"file": Path("a") / "b"}) == content_key({"file": "a/b"})


@pytest.mark.parametrize("other", [{"n": 2}, {"n": "1"}, {"n": True}, {"n": 1.0}, {"m": 1}, {"n": [1]}, {}])
def test_a_key_changes_with_every_part(other):
    assert content_key({"n": 1}) != content_key(other)


@pytest.mark.parametrize("part", [{1, 2}, b"bytes", object(), {1: "number as a name"}])
def test_a_part_without_one_spelling_is_refused_and_named(part):
    with pytest.raises(TypeError, match=r"parts\.outer\[0\]"):
        content_key({"outer": [part]})


@pytest.mark.parametrize("part", [float("nan"), float("inf")])
def test_a_part_that_is_no_finite_number_is_refused(part):
    with pytest.raises(ValueError, match=r"parts\.loss"):
        content_key({"loss": part})


def test_the_kind_is_part_of_the_key():
    assert entry_key("weights", MADE_OF) != entry_key("artifact", MADE_OF)


# Hits and misses


def test_a_miss_builds_and_the_next_call_hits(cache):
    built = cache.get_or_build("artifact", MADE_OF, write_model)
    found = cache.get_or_build("artifact", MADE_OF, must_not_build)
    assert (built.hit, found.hit) == (False, True)
    assert built.manifest == found.manifest
    assert built.folder == found.folder == cache.root / entry_key("artifact", MADE_OF)
    assert (found.folder / "parts" / "weights.bin").read_bytes() == b"w" * 50


def test_a_manifest_remembers_what_the_entry_is_made_of(cache):
    manifest = cache.get_or_build("artifact", {**MADE_OF, "path": Path("x/y")}, write_model).manifest
    assert manifest.made_of == {**MADE_OF, "path": "x/y"}
    assert manifest.facts == {"label": "tiny b1", "flags": ["-O1"]}
    assert {name: file.bytes for name, file in manifest.files.items()} == {
        "model.bin": 1000,
        "parts/weights.bin": 50,
    }
    assert manifest.hostname == socket.gethostname()
    assert manifest.created_at.endswith("+00:00")
    assert 0 <= manifest.made_s < 5


def test_an_entry_knows_the_size_of_its_files(cache):
    assert cache.get_or_build("weights", MADE_OF, write_model).bytes == 1050


def test_find_answers_none_for_what_is_not_there(cache):
    assert cache.find(entry_key("artifact", MADE_OF)) is None


def test_looking_into_a_cache_that_does_not_exist_makes_no_folder(tmp_path):
    cache = CompileCache(tmp_path / "nowhere")
    assert cache.entries() == []
    assert cache.verify() == []
    assert cache.gc(0) == []
    assert cache.find(entry_key("artifact", MADE_OF)) is None
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("key", ["", "..", ".tmp", "README.md", "A" * 32, "0" * 31])
def test_what_cannot_be_a_key_is_refused(cache, key):
    with pytest.raises(CacheError, match="cache ls"):
        cache.find(key)
    with pytest.raises(CacheError, match="cache ls"):
        cache.remove(key)


def test_other_files_in_the_root_are_ignored(cache):
    (cache.root / "README.md").write_text("Safe to delete.")
    built = cache.get_or_build("artifact", MADE_OF, write_model)
    assert [entry.folder for entry in cache.entries()] == [built.folder]
    assert cache.verify() == []
    cache.gc(0, min_age_s=0)
    assert (cache.root / "README.md").exists()


def test_a_hit_moves_the_clock_of_last_use(cache):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    used_ago(entry, 3600)
    cache.find(entry.manifest.key)
    assert time.time() - cache.entries()[0].used_at < 60


# One build


def test_two_threads_build_once(cache):
    builds, entries, together = [], [], threading.Barrier(2)

    def build(folder):
        builds.append(folder)
        time.sleep(0.1)
        return write_model(folder)

    def ask():
        together.wait()
        entries.append(cache.get_or_build("artifact", MADE_OF, build))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert sorted(entry.hit for entry in entries) == [False, True]


def test_another_process_that_builds_is_waited_for(cache, caplog):
    caplog.set_level(logging.INFO)
    with start(SLOW_BUILDER, cache.root) as other:
        assert other.stdout.readline() == "building\n"
        assert cache.find(entry_key("artifact", {"model": "tiny"})) is None
        entry = cache.get_or_build("artifact", {"model": "tiny"}, must_not_build)
    assert entry.hit
    assert (entry.folder / "model.bin").read_bytes() == b"theirs"
    assert "waiting" in caplog.text


def test_an_entry_published_meanwhile_by_another_host_is_taken(cache, monkeypatch):
    def build(folder):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(compile_cache, "Mutex", lambda name: Mutex(f"elsewhere-{name}"))
            CompileCache(cache.root).get_or_build("artifact", MADE_OF, write_model)
        (folder / "model.bin").write_bytes(b"ours, too late")
        return {}

    entry = cache.get_or_build("artifact", MADE_OF, build)
    assert entry.hit
    assert entry.bytes == 1050
    assert list((cache.root / ".tmp").iterdir()) == []


# Damage


def test_a_truncated_file_is_noticed_by_its_size_and_built_again(cache, caplog):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    damage(entry.folder / "model.bin", b"0123")
    again = cache.get_or_build("artifact", MADE_OF, write_model)
    assert not again.hit
    assert (again.folder / "model.bin").stat().st_size == 1000
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "model.bin has 4 bytes instead of 1000" in caplog.text


def test_a_flipped_bit_is_noticed_on_the_first_use_by_a_fresh_instance(cache, caplog):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    damage(entry.folder / "model.bin", b"1123456789" + b"0123456789" * 99)
    assert cache.find(entry.manifest.key) is not None  # hashed when it was built, and stat sees no change
    assert CompileCache(cache.root).find(entry.manifest.key) is None
    assert "model.bin" in caplog.text


def test_a_file_rewritten_since_its_last_use_is_hashed_again(cache):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    path = entry.folder / "model.bin"
    path.write_bytes(b"9" * 1000)
    os.utime(path, (1, 1))
    assert cache.find(entry.manifest.key) is None


@pytest.mark.parametrize("manifest", ["", "{}", '{"kind": "artifact"', "[1]", None])
def test_an_entry_without_a_readable_manifest_is_built_again(cache, manifest):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    path = entry.folder / "manifest.json"
    path.unlink() if manifest is None else path.write_text(manifest)
    assert cache.entries() == []
    assert [key for key, _ in cache.verify()] == [entry.manifest.key]
    assert not cache.get_or_build("artifact", MADE_OF, write_model).hit
    assert cache.verify() == []


def test_no_flipped_bit_of_an_entry_goes_unnoticed(cache):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    chance = random.Random(1)  # noqa: S311 - no secret
    for file in (path for path in entry.folder.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        for bit in chance.sample(range(8 * len(whole)), 60):
            damage(file, bytes(byte ^ (bit // 8 == at) << bit % 8 for at, byte in enumerate(whole)))
            try:
                (found,) = CompileCache(cache.root).entries()
            except ValueError:
                found = None
            assert CompileCache(cache.root).verify() or found == cache.entries()[0], (file, bit)
            damage(file, whole)


@pytest.mark.parametrize(
    ("change", "is_sealed"),
    [({"facts": {}}, False), ({"made_s": 8.0}, False), ({"files": {}}, True), ({"kind": "weights"}, True)],
)
def test_a_manifest_that_was_changed_is_damage(cache, change, is_sealed):
    """What is sealed anew must still fit the key and the files."""
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    path = entry.folder / "manifest.json"
    content = json.loads(path.read_bytes()) | change
    content = {name: value for name, value in content.items() if name != "digest"} if is_sealed else content
    path.write_bytes(sealed(content) if is_sealed else json.dumps(content).encode())
    assert len(cache.verify()) == 1
    assert not CompileCache(cache.root).get_or_build("artifact", MADE_OF, write_model).hit
    assert cache.verify() == []


@pytest.mark.parametrize("what", ["file", "link", "fifo", "folder of a file", "file in its place", "gone"])
def test_what_does_not_belong_into_an_entry_is_damage(cache, what, caplog):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    model = entry.folder / "model.bin"
    if what == "file":
        (entry.folder / "parts" / "more.pkl").write_bytes(b"x")
    elif what == "link":
        (entry.folder / "more").symlink_to(model)
    elif what == "fifo":
        model.unlink()
        os.mkfifo(model)
    elif what == "folder of a file":
        model.unlink()
        model.mkdir()
    elif what == "file in its place":
        entry.folder.rename(cache.root / "elsewhere")
        entry.folder.write_text("in the way")
    else:
        entry.folder.rename(cache.root / "elsewhere")
        entry.folder.symlink_to(cache.root / "elsewhere")
    assert [key for key, _ in cache.verify()] == [entry.manifest.key]
    assert not CompileCache(cache.root).get_or_build("artifact", MADE_OF, write_model).hit
    assert caplog.text.count("damaged cache entry") == 1
    assert cache.verify() == []


def test_gc_deletes_what_an_older_version_left(cache):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    (entry.folder / "manifest.json").write_text("{}")
    cache.gc(10**9)
    assert not entry.folder.exists()


def test_a_folder_renamed_to_another_key_is_damage(cache):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    entry.folder.rename(cache.root / ("0" * 32))
    assert cache.find("0" * 32) is None


def test_a_damaged_entry_is_set_aside_for_inspection_until_gc(cache):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    (entry.folder / "parts" / "weights.bin").unlink()
    assert cache.find(entry.manifest.key) is None
    (aside,) = (cache.root / ".damaged").iterdir()
    assert (aside / "model.bin").exists()
    cache.gc(10**9)
    assert not aside.exists()


def test_verify_names_every_damaged_entry_and_leaves_it(cache):
    entries = [cache.get_or_build("artifact", {"n": n}, write_model) for n in range(3)]
    damage(entries[0].folder / "model.bin", b"short")
    damage(entries[1].folder / "parts" / "weights.bin", b"v" * 50)
    problems = dict(cache.verify())
    assert problems.keys() == {entry.manifest.key for entry in entries[:2]}
    assert "5 bytes instead of 1000" in problems[entries[0].manifest.key]
    assert "parts/weights.bin" in problems[entries[1].manifest.key]
    assert all(entry.folder.exists() for entry in entries)


# Failing builders


@pytest.mark.parametrize(
    "error", [RuntimeError("no such operator"), KeyboardInterrupt(), OSError(5, "theirs")]
)
def test_what_a_builder_raises_passes_through_and_nothing_stays(cache, error):
    def build(folder):
        write_model(folder)
        raise error

    with pytest.raises(type(error)) as caught:
        cache.get_or_build("artifact", MADE_OF, build)
    assert caught.value is error
    assert cache.entries() == []
    assert list((cache.root / ".tmp").iterdir()) == []
    assert not cache.get_or_build("artifact", MADE_OF, write_model).hit


def test_a_fact_that_json_cannot_hold_leaves_nothing(cache):
    with pytest.raises(TypeError, match=r"facts\.flags"):
        cache.get_or_build("artifact", MADE_OF, lambda _folder: {"flags": {"-O1"}})
    assert list((cache.root / ".tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["manifest.json", "link"])
def test_an_entry_must_stand_alone(cache, name, tmp_path):
    def build(folder):
        (folder / "link").symlink_to(tmp_path) if name == "link" else (folder / name).write_text("mine")
        return {}

    with pytest.raises(CacheError, match=name):
        cache.get_or_build("artifact", MADE_OF, build)
    assert cache.entries() == []


@pytest.mark.chaos
def test_a_builder_killed_at_any_moment_leaves_no_half_written_entry(cache):
    moments = random.Random(20261122)  # noqa: S311 - nothing secret about it
    interrupted = 0
    with start(NURSERY, cache.root, stdin=subprocess.PIPE) as nursery:
        for _ in range(12):
            print("next", file=nursery.stdin, flush=True)
            child = int(nursery.stdout.readline())
            time.sleep(moments.uniform(0.01, 0.12))
            os.kill(child, signal.SIGKILL)
            assert nursery.stdout.readline() == "buried\n"
            fresh = CompileCache(cache.root)
            assert fresh.verify() == []
            assert all(len(entry.manifest.files) == 3 for entry in fresh.entries())
            interrupted += any((cache.root / ".tmp").iterdir())
            fresh.prepare()
            assert list((cache.root / ".tmp").iterdir()) == []
    assert interrupted
    assert cache.entries()


# Leftovers


def test_prepare_leaves_a_build_under_way_alone(cache):
    def build(folder):
        CompileCache(cache.root).prepare()
        return write_model(folder)

    assert cache.get_or_build("artifact", MADE_OF, build).bytes == 1050


def test_prepare_sweeps_a_folder_older_than_the_process_of_that_number(cache):
    names = []
    cache.get_or_build("artifact", MADE_OF, lambda folder: names.append(folder.name) or {})
    leftover = cache.root / ".tmp" / names[0]
    leftover.mkdir()
    cache.prepare()
    assert leftover.exists()
    os.utime(leftover, (1, 1))
    cache.prepare()
    assert not leftover.exists()


def test_prepare_gives_other_hosts_a_day(cache):
    fresh, old = (cache.root / ".tmp" / f"some-host.1-{os.getpid()}-{name}" for name in "ab")
    for folder in (fresh, old):
        folder.mkdir()
    os.utime(old, (time.time() - 90000,) * 2)
    cache.prepare()
    assert fresh.exists()
    assert not old.exists()


# Limits


def test_gc_removes_the_least_recently_used_first_until_the_rest_fits(cache):
    entries = [cache.get_or_build("artifact", {"n": n}, write_model) for n in range(4)]
    for entry, ago in zip(entries, (300, 500, 400, 200), strict=True):
        used_ago(entry, ago)
    removed = cache.gc(2200)
    assert [entry.folder for entry in removed] == [entries[1].folder, entries[2].folder]
    assert {entry.folder for entry in cache.entries()} == {entries[0].folder, entries[3].folder}
    assert list((cache.root / ".tmp").iterdir()) == []


def test_gc_keeps_what_it_is_said_to_and_what_was_just_used(cache):
    kept, fresh, old = (cache.get_or_build("artifact", {"n": n}, write_model) for n in range(3))
    used_ago(kept, 500)
    used_ago(old, 400)
    removed = cache.gc(0, keep=frozenset({kept.manifest.key}))
    assert [entry.folder for entry in removed] == [old.folder]
    assert {entry.folder for entry in cache.entries()} == {kept.folder, fresh.folder}


def test_gc_within_the_limit_removes_nothing(cache):
    used_ago(cache.get_or_build("artifact", MADE_OF, write_model), 500)
    assert cache.gc(1050) == []


def test_a_dry_run_of_gc_removes_nothing(cache):
    entry = cache.get_or_build("artifact", MADE_OF, write_model)
    used_ago(entry, 500)
    assert [surplus.folder for surplus in cache.gc(0, dry_run=True)] == [entry.folder]
    assert entry.folder.exists()


def test_a_removed_entry_is_gone_and_can_be_removed_again(cache):
    key = cache.get_or_build("artifact", MADE_OF, write_model).manifest.key
    cache.remove(key)
    cache.remove(key)
    assert cache.find(key) is None
    assert list((cache.root / ".tmp").iterdir()) == []


# Places that cannot be written


@pytest.mark.parametrize("below", ["file", "file/cache"])
def test_a_root_that_is_or_lies_in_a_file_is_refused_with_advice(tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    cache = CompileCache(tmp_path / below)
    with pytest.raises(CacheError, match=rf"{tmp_path / below} .*cache\.root="):
        cache.prepare()
    with pytest.raises(CacheError, match=r"cache\.root="):
        cache.get_or_build("artifact", MADE_OF, must_not_build)


def test_a_cache_that_cannot_be_written_serves_what_it_has(cache, monkeypatch, caplog):
    """As root may write everywhere, the system call refuses, as a mount that is read-only does."""
    cache.get_or_build("artifact", MADE_OF, write_model)
    refuse = OSError(errno.EROFS, "Read-only file system")
    for name in ("mkdir", "utime", "rename"):
        monkeypatch.setattr(os, name, Mock(side_effect=refuse))
    monkeypatch.setattr(tempfile, "TemporaryFile", Mock(side_effect=refuse))
    later = CompileCache(cache.root)
    later.prepare()
    assert "only what is in it can be used" in caplog.text
    assert later.get_or_build("artifact", MADE_OF, must_not_build).hit
    with pytest.raises(CacheError, match=r"cannot be written .*Read-only.*cache\.root="):
        later.get_or_build("artifact", {"other": 1}, must_not_build)


def test_a_url_is_refused_as_a_root():
    with pytest.raises(CacheError, match=r"cache\.root=s3://bucket"):
        CompileCache("s3://bucket/cache")


# Guests


def test_the_cache_needs_no_heavy_library():
    script = "import benchmark.cache.compile_cache, sys, json; print(json.dumps(sorted(sys.modules)))"
    with start(script) as fresh:
        loaded = set(json.loads(fresh.stdout.read()))
    assert not loaded & {"torch", "transformers", "pandas", "pyarrow", "hydra"}

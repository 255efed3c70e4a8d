"""`benchmark cache` on the command line."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from benchmark.cache.compile_cache import CompileCache
from benchmark.cli.cache import app


@pytest.fixture
def cache(tmp_path):
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    return opened


def add(cache, n, facts=None, size=1500, unused_s=7200):
    def build(folder):
        (folder / "model.bin").write_bytes(b"x" * size)
        return {} if facts is None else facts

    entry = cache.get_or_build("artifact", {"n": n}, build)
    then = time.time() - unused_s
    os.utime(entry.folder / "manifest.json", (then, then))
    return entry


def call(verb, cache, *options):
    return CliRunner().invoke(app, [verb, "--cache", str(cache.root), *options])


def test_ls_shows_label_size_and_time_since_the_last_use(cache):
    add(cache, 1, {"label": "vit b1 [inductor]"})
    result = call("ls", cache)
    assert result.exit_code == 0
    head, line, total = result.stdout.splitlines()
    assert head.split() == ["kind", "size", "built", "in", "unused", "for", "what"]
    assert line.startswith("artifact  1.5 kB  0.0 s ")
    assert line.endswith("2 h         vit b1 [inductor]")
    assert total == f"{cache.root}: 1 entry, 1.5 kB"


def test_ls_falls_back_to_the_key_and_puts_the_latest_use_first(cache):
    old, new = add(cache, 1, unused_s=9000), add(cache, 2, unused_s=900)
    lines = call("ls", cache).stdout.splitlines()[1:3]
    assert [line.split()[-1] for line in lines] == [new.manifest.key, old.manifest.key]


def test_ls_as_json_is_one_document_in_bytes_and_seconds(cache):
    entry = add(cache, 1, {"label": "vit b1"})
    document = json.loads(call("ls", cache, "--json").stdout)
    assert document["bytes"] == 1500
    (listed,) = document["entries"]
    assert listed["key"] == entry.manifest.key
    assert (listed["kind"], listed["label"], listed["bytes"]) == ("artifact", "vit b1", 1500)
    assert listed["made_s"] == entry.manifest.made_s
    assert 7200 <= listed["unused_s"] < 7300


def test_a_cache_that_does_not_exist_yet_is_empty(tmp_path):
    nowhere = CompileCache(tmp_path / "nowhere")
    for verb, options in (("ls", ()), ("verify", ()), ("gc", ("--limit-gb", "1"))):
        result = call(verb, nowhere, *options)
        assert result.exit_code == 0
        assert "0 entries" in result.stdout
    assert not nowhere.root.exists()


def test_ls_on_a_terminal_fits_80_columns(cache):
    add(cache, 1, {"label": "[bold] " + "a rather long description of a model " * 4})
    ours, theirs = pty.openpty()
    script = "from benchmark.cli.cache import app; app()"
    command = [sys.executable, "-c", script, "ls", "--cache", str(cache.root)]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "xterm"}
    subprocess.run(command, stdout=theirs, env=environment, check=True, timeout=60)
    os.close(theirs)
    printed = os.read(ours, 1 << 16).decode()
    os.close(ours)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines()
    assert "[bold] a rather" in lines[1]
    assert all(len(line) <= 80 for line in lines[:-1])  # the last one spells the folder


def test_verify_of_a_sound_cache_exits_with_0(cache):
    add(cache, 1)
    result = call("verify", cache)
    assert result.exit_code == 0
    assert "1 entry checked, 0 damaged" in result.stdout


def test_verify_lists_damaged_entries_with_advice_and_exits_with_2(cache):
    add(cache, 1)
    entry = add(cache, 2)
    (entry.folder / "model.bin").write_bytes(b"y" * 1500)
    result = call("verify", cache)
    assert result.exit_code == 2
    assert f"damaged: {entry.folder}: model.bin" in result.stdout
    assert "2 entries checked, 1 damaged" in result.stdout
    assert "cache gc" in result.stdout
    assert entry.folder.exists()


def test_verify_as_json_exits_with_2_too(cache):
    entry = add(cache, 1)
    (entry.folder / "manifest.json").unlink()
    result = call("verify", cache, "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["checked"] == 1
    assert document["damaged"] == [{"key": entry.manifest.key, "problem": "manifest.json is missing"}]


def test_gc_removes_the_oldest_beyond_the_limit(cache):
    old, new = add(cache, 1, unused_s=9000), add(cache, 2, unused_s=900)
    result = call("gc", cache, "--limit-gb", "2e-6")
    assert result.exit_code == 0
    assert "removed 1 entry, 1.5 kB; 1.5 kB remain" in result.stdout
    assert (old.folder.exists(), new.folder.exists()) == (False, True)


def test_a_dry_run_of_gc_only_says_what_it_would_do(cache):
    entry = add(cache, 1)
    result = call("gc", cache, "--limit-gb", "0", "--dry-run")
    assert "would remove 1 entry" in result.stdout
    assert entry.folder.exists()


def test_gc_says_when_recent_use_keeps_it_above_the_limit(cache):
    add(cache, 1, unused_s=0)
    assert "Still above 0 bytes" in call("gc", cache, "--limit-gb", "0").stdout


def test_gc_as_json_gives_bytes(cache):
    entry = add(cache, 1)
    document = json.loads(call("gc", cache, "--limit-gb", "0", "--json").stdout)
    assert [removed["key"] for removed in document["removed"]] == [entry.manifest.key]
    assert (document["removed_bytes"], document["kept_bytes"], document["limit_bytes"]) == (1500, 0, 0)
    assert document["dry_run"] is False


def test_gc_wants_a_limit_that_is_not_negative(cache):
    assert call("gc", cache).exit_code != 0
    assert call("gc", cache, "--limit-gb", "-1").exit_code != 0

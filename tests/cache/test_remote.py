"""Two hosts share what they build through a bucket, and load nothing that isn't what it says."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

from benchmark.bucket import objects
from benchmark.bucket.objects import Bucket
from benchmark.cache import trust
from benchmark.cache.compile_cache import CompileCache
from benchmark.cache.lookup import NotCached
from benchmark.cache.manifest import Manifest, entry_key
from benchmark.cache.remote import RemoteCache
from benchmark.cli.run import cached
from benchmark.errors import BucketError, CacheError, ConfigError
from benchmark.sealed import opened, sealed
from tests.buckets import answering

MADE_OF = {"model": "a", "n": 1}


@pytest.fixture
def address(bucket) -> str:
    return f"{bucket}/team/cache"


@pytest.fixture
def host(address, tmp_path):
    """A cache of another host each time."""
    number = iter(range(100))

    def made() -> CompileCache:
        cache = CompileCache(tmp_path / f"cache{next(number)}", address)
        cache.prepare()
        return cache

    return made


def build(folder: Path):
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "model.so").write_bytes(b"code")
    (folder / "empty").write_bytes(b"")
    return {"label": "a model", "compile_s": 12.5}


def unbuilt(folder: Path):
    pytest.fail("it was built again")


def objects_of(address, folder):
    return [one.key for one in Bucket(address).listed(f"team/cache/{folder}")]


def tampered(address, change):
    """Change the manifest of the only entry."""
    (key,) = objects_of(address, "entries")
    bucket = Bucket(address)
    content = opened(bucket.get(key).data)
    change(content)
    bucket.put(key, sealed(content))


def test_what_one_host_built_is_a_hit_on_another(host):
    first = host().get_or_build("artifact", MADE_OF, build)
    assert not first.hit
    second = host().get_or_build("artifact", MADE_OF, unbuilt)
    assert second.hit
    assert second.folder != first.folder
    assert second.manifest == first.manifest
    assert (second.folder / "deep" / "er" / "model.so").read_bytes() == b"code"


def test_a_plan_counts_what_another_host_has_built_and_may_be_loaded(host, address, compose):
    pickled = {**MADE_OF, "pickled": True}
    for made_of in (MADE_OF, pickled):
        host().get_or_build("artifact", made_of, build)
    here, shared = (cached(compose(*words)) for words in ((), (f"cache.remote={address}",)))
    assert shared.get_or_build("artifact", MADE_OF, unbuilt).hit
    for cache, made_of in ((here, MADE_OF), (shared, pickled), (shared, {"model": "b"})):
        with pytest.raises(NotCached):
            cache.get_or_build("artifact", made_of, unbuilt)
    trust.mark(address)
    assert shared.get_or_build("artifact", pickled, unbuilt).hit


def test_without_the_remote_cache_the_same_folder_builds(host):
    host().get_or_build("artifact", MADE_OF, build)
    assert not host().local().get_or_build("artifact", MADE_OF, build).hit


def test_the_peak_of_a_machine_stays_on_it(host, address):
    host().get_or_build("peak", MADE_OF, build)
    assert objects_of(address, "entries") == []
    assert not host().get_or_build("peak", MADE_OF, build).hit


def test_a_flipped_byte_is_refused_built_anew_and_mended(host, address, caplog):
    host().get_or_build("artifact", MADE_OF, build)
    (file,) = [key for key in objects_of(address, "files") if Bucket(address).get(key).data]
    Bucket(address).put(file, b"cope")
    assert not host().get_or_build("artifact", MADE_OF, build).hit
    assert "deep/er/model.so is not the file that its manifest names" in caplog.text
    assert host().get_or_build("artifact", MADE_OF, unbuilt).hit


@pytest.mark.parametrize("data", [b"code and more", b"co", None])
def test_a_file_of_another_size_is_refused(host, address, data, caplog):
    host().get_or_build("artifact", MADE_OF, build)
    (file,) = [key for key in objects_of(address, "files") if Bucket(address).get(key).data]
    Bucket(address).delete([file])
    if data:
        Bucket(address).put(file, data)
    assert not host().get_or_build("artifact", MADE_OF, build).hit
    assert "is not used, and built here" in caplog.text


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "manifest.json", "", "a//b"]
)
def test_a_path_that_leaves_the_entry_is_refused(host, address, name, tmp_path, caplog):
    host().get_or_build("artifact", MADE_OF, build)

    def change(content):
        content["files"][name] = content["files"].pop("deep/er/model.so")

    tampered(address, change)
    assert not host().get_or_build("artifact", MADE_OF, build).hit
    assert "leads out of the entry" in caplog.text
    assert not [*tmp_path.rglob("evil*")]


def test_a_manifest_of_another_entry_is_refused(host, address, caplog):
    host().get_or_build("artifact", {"another": 1}, build)
    bucket, key = Bucket(address), entry_key("artifact", MADE_OF)
    (other,) = objects_of(address, "entries")
    bucket.put(f"team/cache/entries/{key}.json", bucket.get(other).data)
    assert not host().get_or_build("artifact", MADE_OF, build).hit
    assert "its manifest belongs to the artifact" in caplog.text


def test_a_manifest_that_isnt_made_of_what_it_says_is_refused(host, address, caplog):
    host().get_or_build("artifact", MADE_OF, build)
    tampered(address, lambda content: content.update(made_of={"model": "b"}))
    assert not host().get_or_build("artifact", MADE_OF, build).hit
    assert "built here: its manifest is that of" in caplog.text


def test_what_is_unpickled_comes_only_from_a_bucket_that_is_trusted(
    host, address, caplog, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    pickled = {**MADE_OF, "pickled": True}
    host().get_or_build("artifact", pickled, build)
    assert not host().get_or_build("artifact", pickled, build).hit
    assert f"if you trust all who can write there: benchmark cache trust {address}" in caplog.text.replace(
        "python -m benchmark", "benchmark"
    )
    trust.mark(f"{address}/")
    assert host().get_or_build("artifact", pickled, unbuilt).hit


def test_two_hosts_that_build_at_once_leave_one_entry(host, address):
    both, made = threading.Barrier(2), []

    def build_slowly(folder):
        both.wait(10)
        (folder / "own").write_text(threading.current_thread().name)
        return {}

    def run(cache):
        made.append(cache.get_or_build("artifact", MADE_OF, build_slowly))

    threads = [threading.Thread(target=run, args=(host(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(objects_of(address, "entries")) == 1
    published = host().get_or_build("artifact", MADE_OF, unbuilt)
    assert published.manifest in [entry.manifest for entry in made]
    assert not [*Path(published.folder.parent, ".tmp").iterdir()]


def test_an_upload_that_stops_halfway_is_no_entry(host, address, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(Bucket, "put_new", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            host().get_or_build("artifact", MADE_OF, build)
    assert objects_of(address, "entries") == []
    assert not host().get_or_build("artifact", MADE_OF, build).hit
    assert host().get_or_build("artifact", MADE_OF, unbuilt).hit


def test_a_bucket_that_fails_stops_no_build(address, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(objects, "_RETRIES", {"max_retries": 0})
    with answering(403, "InvalidAccessKeyId") as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        cache = CompileCache(tmp_path / "c", address)
        for number in (1, 2):
            assert not cache.get_or_build("artifact", {"n": number}, build).hit
    assert len(caplog.messages) == 1
    assert "the credentials are wrong" in caplog.text


def test_a_host_without_the_extra_gets_the_command_that_installs_it(address, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(BucketError, match=r"needs obstore: pip install 'benchmark-orchestrator\[bucket\]'"):
        Bucket(address).get("x")


def test_a_push_lists_what_is_there(host, address):
    cache = host()
    cache.get_or_build("artifact", MADE_OF, build)
    remote = RemoteCache(address)
    (listed,) = remote.manifests()
    assert isinstance(listed, Manifest)
    assert remote.list_keys() == [listed.key]
    (entry,) = cache.entries()
    assert not remote.push(entry.folder, entry.manifest)
    (entry.folder / "manifest.json").unlink()
    Bucket(address).delete(objects_of(address, "entries"))
    with pytest.raises(CacheError, match="can't be read"):
        remote.push(entry.folder, entry.manifest)


def test_a_cell_that_one_host_compiled_is_a_hit_on_another(simulated, run_cells, address, tmp_path):
    words = ("model=bert_tiny", f"cache.remote={address}")
    cells = [
        simulated(*words, f"store.root={tmp_path}/rows{host}", f"cache.root={tmp_path}/cache{host}")
        for host in "AB"
    ]
    (first,), (second,) = map(run_cells, cells)
    assert (first["cache_hit"], second["cache_hit"]) == (False, True)
    assert first["compile_s"] == second["compile_s"] > 0
    assert first["cell_id"] == second["cell_id"]
    assert first["artifact_key"] == second["artifact_key"]


@pytest.mark.parametrize(
    "remote", ["s3://bucket", "/a/folder", "s3://ID:SECRET@bucket/p", "s3://bucket/p?x=1"]
)
def test_a_remote_cache_that_is_no_bucket_is_refused_by_its_key(simulated, remote):
    with pytest.raises(ConfigError, match=r"cache\.remote"):
        simulated(f"cache.remote='{remote}'")

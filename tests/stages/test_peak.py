"""A machine's peak is measured once for each of its environments, by a child, and never guessed."""

from __future__ import annotations

import os
import re
import shutil
from functools import partial
from importlib import metadata

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.errors import Crashed, LibraryMissing, Unavailable
from benchmark.execution.forkserver import ChildLimits
from benchmark.paths import host_peaks
from benchmark.stages.peak import peak
from benchmark.stages.plan import plan
from benchmark.timing.roofline import Peak

FOUND = Peak(flops_per_s={"fp32": 4e10, "bf16": 2e9}, copy_bytes_per_s=((1 << 20, 5e10), (4 << 20, 1e10)))


class Child:
    """Stands for the child process: counts its calls and answers as it would."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        return FOUND


@pytest.fixture
def child():
    return Child()


def opened(folder):
    cache = CompileCache(folder)
    cache.prepare()
    return cache


@pytest.fixture
def cache(tmp_path):
    return opened(tmp_path / "cache")


@pytest.fixture
def on_cpu(compose, monkeypatch):
    """Compose an experiment on the CPU, on a host that need not have torch."""
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    return compose


@pytest.fixture
def peak_of(cache, child, tmp_path):
    def found(experiment, call=child, entries=cache):
        (run,) = plan([experiment], lambda _: {}).runs
        return peak(experiment.hardware, run.environment, entries, call, tmp_path / "host")

    return found


@pytest.fixture
def aged(tmp_path):
    """Let the time pass that this host remembers an outcome by."""

    def age(minutes):
        (file,) = (tmp_path / "host").iterdir()
        then = file.stat().st_mtime - 60 * minutes
        os.utime(file, (then, then))

    return age


def test_a_peak_is_what_the_child_found(on_cpu, peak_of):
    assert peak_of(on_cpu()) == FOUND


def test_commands_with_caches_of_their_own_measure_once_a_day(on_cpu, peak_of, child, aged, tmp_path):
    found = [peak_of(on_cpu(), entries=opened(tmp_path / name)) for name in "abc"]
    assert found == [FOUND] * 3
    assert child.calls == 1
    aged(25 * 60)
    assert peak_of(on_cpu(), entries=opened(tmp_path / "d")) == FOUND
    assert child.calls == 2


def test_the_outcome_lies_outside_of_the_temporary_folder_and_of_the_checkout(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    before = host_peaks()
    assert before.is_relative_to("/home/user/.cache")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert host_peaks() == before


def test_models_shapes_and_compilers_of_one_environment_share_their_peak(on_cpu, peak_of, child):
    first = peak_of(on_cpu())
    for other in ("model=vit_tiny", "batch=4", "compiler=onnxruntime", "compiler=openvino"):
        assert peak_of(on_cpu(other)) == first
    assert child.calls == 1


@pytest.mark.parametrize("change", ["hardware.threads=3", "hardware.affinity=[0]"])
def test_other_threads_or_cpus_have_their_own(on_cpu, peak_of, child, change):
    peak_of(on_cpu("hardware.threads=2"))
    peak_of(on_cpu("hardware.threads=2", change))
    assert child.calls == 2


def test_another_torch_or_another_setting_of_its_libraries_has_its_own(on_cpu, peak_of, child, monkeypatch):
    peak_of(on_cpu())
    monkeypatch.setattr(metadata, "version", lambda _: "2.0")
    peak_of(on_cpu())
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    peak_of(on_cpu())
    assert child.calls == 3


@pytest.mark.parametrize("hardware", ["simulated", "inf1", "inf2", "trn1"])
def test_a_device_without_kernels_of_torch_has_no_peak(on_cpu, peak_of, child, cache, hardware):
    assert peak_of(on_cpu(f"hardware={hardware}")) is None
    assert (child.calls, cache.entries()) == (0, [])


def busy(*_):
    raise Unavailable("this host was busy")


def test_a_failed_measurement_costs_the_peak_alone(on_cpu, peak_of, cache, caplog):
    assert peak_of(on_cpu(), busy) is None
    assert "hardware=cpu: roofline_fraction skipped: this host was busy" in caplog.text
    assert cache.entries() == []


def test_a_busy_host_is_not_measured_again_for_ten_minutes(on_cpu, peak_of, caplog, tmp_path, aged):
    peak_of(on_cpu(), busy)
    assert peak_of(on_cpu()) is None
    assert peak_of(on_cpu(), entries=opened(tmp_path / "another")) is None
    (file,) = (tmp_path / "host").iterdir()
    assert f"this host was busy; next attempt in 10 min, or delete {file}" in caplog.text
    aged(10)
    assert peak_of(on_cpu()) == FOUND


def test_another_environment_is_not_refused(on_cpu, peak_of):
    peak_of(on_cpu(), busy)
    assert peak_of(on_cpu("hardware.threads=3")) == FOUND


def test_the_patience_doubles_to_a_day_and_begins_anew_after_a_peak(on_cpu, peak_of, aged, caplog, tmp_path):
    waits = []
    for _ in range(10):
        peak_of(on_cpu(), busy)
        caplog.clear()
        assert peak_of(on_cpu()) is None
        waits.append(int(re.search(r"next attempt in (\d+) min", caplog.text)[1]))
        aged(waits[-1])
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]
    assert peak_of(on_cpu()) == FOUND
    aged(25 * 60)
    peak_of(on_cpu(), busy, opened(tmp_path / "another"))
    caplog.clear()
    peak_of(on_cpu(), entries=opened(tmp_path / "another"))
    assert "next attempt in 10 min" in caplog.text


def test_a_record_that_is_damaged_or_of_another_version_is_measured_anew(on_cpu, peak_of, child, tmp_path):
    peak_of(on_cpu(), busy)
    (file,) = (tmp_path / "host").iterdir()
    file.write_text('{"other": 1}')
    assert peak_of(on_cpu()) == FOUND
    assert child.calls == 1


def test_a_measured_peak_is_used_however_busy_the_host_is(on_cpu, peak_of, tmp_path):
    found = peak_of(on_cpu())
    shutil.rmtree(tmp_path / "host")
    assert peak_of(on_cpu(), busy) == found


@pytest.mark.parametrize("failure", [LibraryMissing("pip install torch"), Crashed("killed")])
def test_other_failures_are_tried_again(on_cpu, peak_of, failure):
    def fail(*_):
        raise failure

    assert peak_of(on_cpu(), fail) is None
    assert peak_of(on_cpu()) is not None


def test_a_peak_is_listed_verified_and_set_aside_like_any_entry(on_cpu, peak_of, child, cache):
    peak_of(on_cpu())
    (entry,) = cache.entries()
    assert (entry.manifest.kind, entry.bytes > 0) == ("peak", True)
    (entry.folder / "peak.json").write_text("{}")
    assert [key for key, _ in cache.verify()] == [entry.manifest.key]
    assert peak_of(on_cpu()) == FOUND
    assert child.calls == 1, "the host remembers it"


@pytest.mark.real
@pytest.mark.alone
def test_the_peak_of_this_cpu_is_measured_in_a_child(compose, peak_of, cache, interpreters, tmp_path):
    call = partial(interpreters.call_in(None), ChildLimits(log=tmp_path / "child.log", timeout_s=120))
    alone = compose("hardware.threads=1")
    found = peak_of(alone, call)
    assert min(found.flops_per_s.values()) > 1e8
    assert found.flops_at("fp32") > 1e9
    sizes = [size for size, _ in found.copy_bytes_per_s]
    assert sizes == [2**doubled << 20 for doubled in range(9)]
    assert found.bandwidth(0) >= found.bandwidth(256 << 20) > 1e8
    (entry,) = cache.entries()
    assert entry.manifest.facts["label"].endswith(" threads=1")
    assert peak_of(alone) == found


def test_a_peak_whose_record_has_changed_is_measured_again(on_cpu, peak_of, child, tmp_path):
    peak_of(on_cpu(), entries=opened(tmp_path / "a"))
    (file,) = (tmp_path / "host").iterdir()
    file.write_bytes(file.read_bytes().replace(b"40000000000.0", b"50000000000.0"))
    assert peak_of(on_cpu(), entries=opened(tmp_path / "b")) == FOUND
    assert child.calls == 2

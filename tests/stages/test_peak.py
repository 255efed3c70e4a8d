"""A machine's peak is measured once for each of its environments, by a child, and never guessed."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from importlib import metadata

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.errors import Crashed, LibraryMissing, Unavailable
from benchmark.execution.forkserver import ChildLimits
from benchmark.stages.peak import peak
from benchmark.stages.plan import plan
from benchmark.timing.roofline import Peak

FOUND = {"flops_per_s": {"fp32": 4e10, "bf16": 2e9}, "copy_bytes_per_s": [[1 << 20, 5e10], [4 << 20, 1e10]]}


class Child:
    """Stands for the child process: counts its calls and leaves what it would have left."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *asked):
        self.calls += 1
        (asked[-1] / "peak.json").write_text(json.dumps(FOUND))
        return {"label": "peak"}


@pytest.fixture
def child():
    return Child()


@pytest.fixture
def cache(tmp_path):
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    return opened


@pytest.fixture
def on_cpu(compose, monkeypatch):
    """Compose an experiment on the CPU, on a host that need not have torch."""
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    return compose


@pytest.fixture
def peak_of(cache, child, tmp_path):
    def told(experiment, call=child):
        (run,) = plan([experiment], lambda _: {}).runs
        return peak(experiment.hardware, run.environment, cache, call, tmp_path / "refusals")

    return told


def test_a_peak_is_what_the_child_found(on_cpu, peak_of):
    assert peak_of(on_cpu()) == Peak(
        flops_per_s={"fp32": 4e10, "bf16": 2e9}, copy_bytes_per_s=((1 << 20, 5e10), (4 << 20, 1e10))
    )


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


def test_a_busy_host_is_not_measured_again_for_ten_minutes(on_cpu, peak_of, child, caplog, tmp_path):
    peak_of(on_cpu(), busy)
    assert peak_of(on_cpu()) is None
    assert child.calls == 0
    (file,) = (tmp_path / "refusals").iterdir()
    assert f"this host was busy; next attempt in 10 min, or delete {file}" in caplog.text
    assert peak_of(on_cpu("hardware.threads=3")) is not None, "another environment is not refused"
    os.utime(file, (time.time() - 601,) * 2)
    assert peak_of(on_cpu()) is not None


def test_a_measured_peak_is_used_however_busy_the_host_is(on_cpu, peak_of, tmp_path):
    found = peak_of(on_cpu())
    (tmp_path / "refusals").mkdir()
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
    assert peak_of(on_cpu()).flops_per_s["fp32"] == 4e10
    assert child.calls == 2


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

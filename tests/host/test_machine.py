"""What a host tells of itself, also one that tells little."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmark.host import machine

ROOT = Path(machine.__file__).parents[2]


@pytest.fixture
def dmi(tmp_path, monkeypatch):
    """The firmware's tables as a folder to write in."""
    monkeypatch.setattr(machine, "DMI", tmp_path)
    return tmp_path


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """The control group as a folder to write in."""
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "cpu").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("vendor", "product", "instance"),
    [
        ("Amazon EC2\n", "inf2.xlarge\n", "inf2.xlarge"),
        ("Alibaba Cloud\n", "ecs.g8i.large\n", "ecs.g8i.large"),
        ("Amazon EC2\n", "\n", None),
        ("QEMU\n", "Standard PC (Q35 + ICH9, 2009)\n", None),
        ("Dell Inc.\n", "inf2.xlarge\n", None),
    ],
)
def test_the_instance_type_is_the_product_name_where_the_vendor_is_a_cloud(dmi, vendor, product, instance):
    (dmi / "sys_vendor").write_text(vendor)
    (dmi / "product_name").write_text(product)
    assert machine.instance_type.__wrapped__() == instance


def test_a_host_without_firmware_tables_has_no_instance_type(dmi):
    assert machine.instance_type.__wrapped__() is None


@pytest.mark.parametrize(
    ("message", "cpus"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_cpu_quota_is_read_from_either_version_of_control_groups(cgroup, message, cpus):
    for name, text in message.items():
        (cgroup / name).write_text(text)
    assert machine._cpu_quota() == cpus


def test_a_quota_bounds_the_cores_but_leaves_one(cgroup):
    unbounded = machine.usable_cores()
    assert unbounded >= 1
    (cgroup / "cpu.max").write_text("50000 100000\n")
    assert machine.usable_cores() == 1
    (cgroup / "cpu.max").write_text("100000000 100000\n")
    assert machine.usable_cores() == unbounded


def test_a_host_without_git_tells_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = machine._provenance.__wrapped__()
    assert (found.git_commit, found.git_dirty) == (None, None)
    assert found.cores >= 1
    assert found.memory_gib > 0


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_this_program_s_wherever_it_was_started(monkeypatch, tmp_path):
    asked = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    monkeypatch.chdir(tmp_path)
    assert machine._provenance.__wrapped__().git_commit == (asked.stdout.strip() or None)


def test_the_command_is_spelled_as_it_can_be_typed_again(monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmark/__main__.py", "-m", "batch=1,2", "weights=a folder"])
    command = machine._provenance.__wrapped__().command
    assert shlex.split(command) == ["python", "-m", "benchmark", "-m", "batch=1,2", "weights=a folder"]
    assert command.startswith("python -m benchmark -m batch=1,2 ")


@pytest.mark.parametrize(
    "name",
    [
        *("OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE"),
        *("ATEN_CPU_CAPABILITY", "PYTORCH_ALLOC_CONF", "NEURON_RT_NUM_CORES"),
    ],
)
def test_settings_that_can_change_speed_are_found_and_others_are_not(monkeypatch, name):
    monkeypatch.setenv(name, "3")
    monkeypatch.setenv("EDITOR", "vi")
    found = machine.speed_settings()
    assert found[name] == "3"
    assert "EDITOR" not in found


@pytest.mark.parametrize(("text", "threads"), [("4", 4), ("4,2", 4), ("", None), ("0", None), ("all", None)])
def test_the_threads_of_openmp(monkeypatch, text, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert machine.omp_threads() == threads


@pytest.mark.parametrize(
    ("threads", "usable", "physical", "expected"),
    [(4, 4, 4, True), (2, 4, 4, False), (2, 2, 4, False), (None, 4, 4, False), (4, 4, None, False)],
)
def test_threads_of_every_core_are_those_that_a_runtime_starts_by_itself(
    monkeypatch, threads, usable, physical, expected
):
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda logical: physical)  # noqa: ARG005 - psutil's name
    monkeypatch.setattr(machine, "usable_cores", lambda: usable)
    assert machine.of_every_core(threads) is expected

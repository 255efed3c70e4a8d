"""Readings and probes of a host that is made of files in tmp_path."""

from __future__ import annotations

import json
import os

import pytest
import typer
from typer.testing import CliRunner

from benchmark.cli.doctor import doctor
from benchmark.host import sensors, tuning

CPUS = sorted(os.sched_getaffinity(0))
FIRST = f"sys/devices/system/cpu/cpu{CPUS[0]}"
BEFORE, LATER = sensors.Ticks(total=1000, idle=900, steal=0), sensors.Ticks(total=1100, idle=999, steal=0)
BUSY = sensors.Ticks(total=1100, idle=960, steal=10)


@pytest.fixture
def host(tmp_path):
    """Write files below a root, by their paths, and get the root."""

    def written(files: dict[str, str]) -> str:
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return str(tmp_path)

    return written


def each_cpu(file: str, text: str) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{cpu}/{file}": text for cpu in CPUS}


def test_readings_of_a_host_that_tells_nothing_are_none(host):
    root = host({})
    assert sensors.governor(root) is sensors.boost(root) is sensors.temperature_c(root) is None
    assert sensors.throttle_count(root) is sensors.load_average(root) is sensors.cpu_pressure(root) is None
    assert sensors.cpu_ticks(root) is sensors.throttling(root) is sensors.cpu_quota(root) is None
    assert sensors.frequency_mhz(root) == sensors.cgroups(root) == ()


def test_clocks_are_read_of_each_cpu_that_may_be_used(host):
    root = host(
        each_cpu("cpufreq/scaling_governor", "powersave\n")
        | each_cpu("cpufreq/scaling_cur_freq", "2100000\n")
    )
    assert sensors.governor(root) == "powersave"
    assert sensors.frequency_mhz(root) == (2100.0,) * len(CPUS)


def test_governors_that_differ_are_all_said(host):
    files = each_cpu("cpufreq/scaling_governor", "powersave") | {
        f"{FIRST}/cpufreq/scaling_governor": "performance"
    }
    message = sensors.governor(host(files))
    assert message == ("performance,powersave" if len(CPUS) > 1 else "performance")


@pytest.mark.parametrize(
    ("file", "text", "on"),
    [
        ("intel_pstate/no_turbo", "0", True),
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "1\n", True),
    ],
)
def test_boost_is_said_by_either_driver(host, file, text, on):
    assert sensors.boost(host({f"sys/devices/system/cpu/{file}": text})) is on


def test_the_hottest_zone_of_the_cpu_counts(host):
    zone = "sys/class/thermal/thermal_zone"
    files = {f"{zone}0/type": "x86_pkg_temp", f"{zone}0/temp": "61000", f"{zone}1/type": "iwlwifi_1"}
    assert sensors.temperature_c(host({**files, f"{zone}1/temp": "99000"})) == 61.0


def test_a_chip_of_hwmon_tells_the_temperature_where_no_zone_does(host):
    chip = "sys/class/hwmon/hwmon3"
    files = {f"{chip}/name": "k10temp\n", f"{chip}/temp1_input": "45500\n", f"{chip}/temp2_input": "47125\n"}
    assert sensors.temperature_c(host(files)) == 47.125


def test_throttling_by_heat_is_added_up(host):
    files = {
        f"{FIRST}/thermal_throttle/core_throttle_count": "3",
        f"{FIRST}/thermal_throttle/package_throttle_count": "4",
    }
    assert sensors.throttle_count(host(files)) == 7


def test_ticks_tell_idle_with_waiting_for_disks_and_steal(host):
    root = host({"proc/stat": "cpu  10 1 5 80 4 0 1 7 9 0\ncpu0 10 1 5 80 4 0 1 7 9 0\nintr 1\n"})
    assert sensors.cpu_ticks(root) == sensors.Ticks(total=108, idle=84, steal=7)


def test_load_and_pressure(host):
    files = {
        "proc/loadavg": "1.25 0.49 1.22 1/86 7053\n",
        "proc/pressure/cpu": "some avg10=2.50 avg60=0.73 avg300=3.37 total=1\nfull avg10=0.00 avg60=0.00\n",
    }
    root = host(files)
    assert sensors.load_average(root) == 1.25
    assert sensors.cpu_pressure(root) == 2.5


def test_the_tightest_quota_around_a_process_counts(host):
    group = "sys/fs/cgroup"
    root = host(
        {
            "proc/self/cgroup": "0::/pod/box\n",
            f"{group}/cpu.stat": "usage_usec 5\n",
            f"{group}/pod/cpu.stat": "usage_usec 5\n",
            f"{group}/pod/cpu.max": "150000 100000\n",
            f"{group}/pod/box/cpu.stat": "usage_usec 5\nnr_periods 40\nnr_throttled 12\n",
            f"{group}/pod/box/cpu.max": "max 100000\n",
        }
    )
    assert sensors.cpu_quota(root) == 1.5
    assert sensors.throttling(root) == sensors.Throttling(periods=40, throttled=12)
    message = tuning.quota(root)
    assert (message.good, message.found) == (False, "1.5 CPUs, spent in 12 of 40 periods")
    assert message.advice.startswith("python -m benchmark hardware.threads=1 …\n")


@pytest.mark.parametrize(("quota", "cpus"), [("200000", 2.0), ("-1", None)])
def test_the_first_version_of_control_groups_spells_quotas_its_own_way(host, quota, cpus):
    group = "sys/fs/cgroup/cpu"
    root = host(
        {
            "proc/self/cgroup": "9:name=systemd:/\n1:cpu,cpuacct:/\n",
            f"{group}/cpu.stat": "nr_periods 0\nnr_throttled 0\n",
            f"{group}/cpu.cfs_quota_us": f"{quota}\n",
            f"{group}/cpu.cfs_period_us": "100000\n",
        }
    )
    assert sensors.cpu_quota(root) == cpus
    assert tuning.quota(root).good is (cpus is None)


def test_one_thread_of_each_core_is_named(host):
    files = {f"{FIRST}/topology/thread_siblings_list": "0,64"}
    assert sensors.first_threads(host(files)) == tuple(CPUS)
    assert sensors.first_threads(host(each_cpu("topology/thread_siblings_list", "0-99"))) == (CPUS[0],)


def test_a_host_that_tells_nothing_is_not_judged(host):
    message = {one.name: one for one in tuning.look(host({}), seconds=0)}
    unread = [one for one in message.values() if one.found == tuning.UNREADABLE]
    assert {one.name for one in unread} == {
        *("load", "waiting", "steal", "CPU quota", "governor", "boost", "heat", "SMT", "swap", "huge pages"),
        *("clock", "isolated", "power"),
    }
    assert all(one.good is None and not one.advice for one in unread)


def test_a_quiet_host_needs_no_advice():
    message = tuning.load(BEFORE, LATER, 0.1, [tuning.Busy("sshd", 7, 1.0)])
    assert message == tuning.Probe(
        name="load", found="1% of all CPUs busy; 0.10 tasks, mean of a minute", good=True
    )


def test_who_disturbs_most_is_named_with_the_command_that_moves_it(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    busiest = [tuning.Busy("java", 42, 80.4), tuning.Busy("sh", 43, 0.5)]
    message = tuning.load(BEFORE, BUSY, None, busiest)
    assert message.good is False
    assert message.found == "40% of all CPUs busy, java 80 %"
    assert message.advice.startswith("taskset -a -cp 0 42\nKeeps java on CPU 0;")


def test_noise_from_elsewhere_has_no_name():
    assert tuning.load(BEFORE, BUSY, None, []).advice.startswith("uptime\nWait, or ask")


def test_steal_is_judged_by_what_happens_now():
    assert tuning.steal(BEFORE, BUSY).found == "10.0% now, 0.91% since start"
    assert tuning.steal(BEFORE, BUSY).good is False
    assert tuning.steal(BUSY, sensors.Ticks(total=1200, idle=1060, steal=10)).good is True


CHANGES = {
    "governor": (
        tuning.governor,
        each_cpu("cpufreq/scaling_governor", "powersave"),
        "powersave",
        "sudo cpupower frequency-set -g performance",
    ),
    "boost of Intel": (
        tuning.boost,
        {"sys/devices/system/cpu/intel_pstate/no_turbo": "0"},
        "on",
        "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
    ),
    "boost of others": (
        tuning.boost,
        {"sys/devices/system/cpu/cpufreq/boost": "1"},
        "on",
        "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
    ),
    "heat": (
        tuning.heat,
        {f"{FIRST}/thermal_throttle/core_throttle_count": "3"},
        "slowed 3 times since start",
        "grep . /sys/devices/system/cpu/cpu*/thermal_throttle/*_count",
    ),
    "SMT": (
        tuning.hyper_threads,
        {"sys/devices/system/cpu/smt/control": "on\n", **each_cpu("topology/thread_siblings_list", "0-99")},
        "on",
        f"python -m benchmark hardware.affinity=[{CPUS[0]}] …",
    ),
    "swap": (
        tuning.swap,
        {"proc/meminfo": "MemTotal: 9 kB\nSwapTotal:  4096 kB\nSwapFree:  1024 kB\nHugePages_Total: 0\n"},
        "3 MiB in use",
        "sudo swapoff -a",
    ),
    "huge pages": (
        tuning.huge_pages,
        {"sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n"},
        "always",
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
    ),
    "clock": (
        tuning.clock,
        {
            "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
            "sys/devices/system/clocksource/clocksource0/available_clocksource": "hpet acpi_pm tsc\n",
        },
        "hpet",
        "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
    ),
    "power": (
        tuning.power,
        {"sys/class/power_supply/BAT0/status": "Discharging\n"},
        "battery",
        "cat /sys/class/power_supply/*/status",
    ),
    "waiting": (
        tuning.pressure,
        {"proc/pressure/cpu": "some avg10=12.00 avg60=0.73\n"},
        "some task for a CPU in 12.0 % of the last 10 s",
        "cat /proc/pressure/cpu",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_disturbs_comes_with_the_command_that_changes_it(host, name):
    probe, files, found, command = CHANGES[name]
    message = probe(host(files))
    assert (message.found, message.good) == (found, False)
    assert message.advice.split("\n")[0] == command
    assert len(message.advice.split("\n")) == 2


STEADY = [
    (tuning.governor, each_cpu("cpufreq/scaling_governor", "performance")),
    (tuning.boost, {"sys/devices/system/cpu/cpufreq/boost": "0"}),
    (tuning.heat, each_cpu("thermal_throttle/core_throttle_count", "0")),
    (tuning.hyper_threads, {"sys/devices/system/cpu/smt/control": "off"}),
    (tuning.swap, {"proc/meminfo": "SwapTotal: 9 kB\nSwapFree: 9 kB\n"}),
    (tuning.huge_pages, {"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never"}),
    (tuning.clock, {"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc"}),
    (tuning.isolation, {"sys/devices/system/cpu/isolated": "2-3"}),
    (tuning.power, {"sys/class/power_supply/AC/online": "1"}),
]


@pytest.mark.parametrize(("probe", "files"), STEADY)
def test_what_is_steady_needs_no_advice(host, probe, files):
    message = probe(host(files))
    assert (message.good, message.advice) == (True, "")


def test_passive_waiting_is_advised_against_and_other_settings_are_said():
    message = tuning.settings({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"})
    assert (message.found, message.good) == ("OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE", False)
    assert message.advice.startswith("unset OMP_WAIT_POLICY\n")
    assert tuning.settings({"LD_PRELOAD": "libtcmalloc.so.4"}).good is True


def test_a_gpu_is_known_by_its_driver_and_not_judged(host):
    message = tuning.gpu(host({"sys/module/nvidia/version": "550.54\n"}))
    assert (message.found, message.good) == ("driver 550.54; its clocks stand in no file", None)
    assert message.advice.startswith("nvidia-smi -q -d CLOCK,PERFORMANCE\n")


def test_a_balancer_of_interrupts_is_seen():
    assert tuning.interrupts({"irqbalance"}).advice.startswith("sudo systemctl stop irqbalance\n")
    assert tuning.interrupts({"bash"}).good is True


@pytest.fixture
def typed(monkeypatch, host):
    """Type `doctor --quiet` on a host with one thing to change."""
    root = host(each_cpu("cpufreq/scaling_governor", "powersave"))
    monkeypatch.setenv("COLUMNS", "80")
    message = tuning.look(root, seconds=0)
    monkeypatch.setattr(tuning, "look", lambda: message)
    program = typer.Typer()
    program.command()(doctor)
    return lambda *arguments: CliRunner().invoke(program, ["--quiet", *arguments]).stdout


def test_doctor_tells_what_to_change_in_80_columns(typed):
    lines = typed().splitlines()
    assert max(map(len, lines)) <= 80
    assert "governor    no   powersave" in [line.rstrip() for line in lines]
    assert lines[-3:] == [
        "governor: sudo cpupower frequency-set -g performance",
        "  Spares the first calls the time that the clock takes to rise; costs power",
        "  while idle.",
    ]


def test_doctor_tells_it_as_json(typed):
    (message,) = (one for one in json.loads(typed("--json"))["quiet"] if one["name"] == "governor")
    assert (message["found"], message["good"]) == ("powersave", False)

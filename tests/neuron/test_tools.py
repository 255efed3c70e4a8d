"""Whatever the Neuron tools print, or don't, is read by the documented keys or refused by the one amiss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmark.errors import Crashed
from benchmark.execution.forkserver import ChildLimits
from benchmark.host import machine
from benchmark.measurement import DeviceState
from benchmark.neuron import monitor as neuron_monitor
from benchmark.neuron import tools
from benchmark.neuron.monitor import Monitor, Telemetry
from benchmark.neuron.tools import NeuronDevice, NeuronProcess, NotInstalled, Unreadable

FIXTURES = Path(__file__).with_name("fixtures")
BIN = Path(__file__).parents[1] / "fakes" / "bin"
READABLE = {
    "neuron-ls.json",
    "neuron-ls-trn2.json",
    "neuron-ls-old.json",
    "neuron-ls-busy.json",
    "neuron-ls-none.json",
    "neuron-monitor.json",
    "neuron-monitor-idle.json",
    "neuron-monitor-errors.json",
    "neuron-monitor-two.json",
    "neuron-monitor-trn2.json",
    "neuron-monitor-no-own-process.json",
}
"""Nothing in them is broken."""
REFUSED = {
    "neuron-ls-truncated.json": "neuron-ls printed no complete JSON (",
    "neuron-ls-mapping.json": "neuron-ls: the whole should be a list, got {",
    "neuron-ls-no-count.json": "neuron-ls: device 0: lacks nc_count",
    "neuron-ls-memory-as-text.json": 'neuron-ls: device 0: memory_size should be a whole number, got "32 GB"',
    "neuron-ls-no-pid.json": "neuron-ls: device 0: neuron_processes: lacks pid",
    "neuron-ls-null-core.json": "neuron-ls: device 0: neuroncore_ids should be a whole number, got null",
    "neuron-monitor-truncated.json": "neuron-monitor printed no complete JSON (",
    "neuron-monitor-no-processes.json": "neuron-monitor: lacks neuron_runtime_data",
    "neuron-monitor-pid-as-text.json": "neuron-monitor: neuron_runtime_data[0]: pid should be a whole number",
    "neuron-monitor-no-report.json": "neuron-monitor: neuron_runtime_data[0]: lacks report",
}
PARTLY = {
    "neuron-monitor-no-memory.json": (
        "memory_bytes",
        "memory_used.neuron_runtime_used_bytes: lacks neuron_device",
    ),
    "neuron-monitor-failed-group.json": ("latency_p50_s", "execution_stats: could not read the counters"),
    "neuron-monitor-latency-as-text.json": (
        "latency_p50_s",
        'execution_stats.device_latency: p50 should be a number, got "0.9 ms"',
    ),
    "neuron-monitor-negative.json": (
        "utilisation",
        "neuroncore_counters.0: neuroncore_utilization should not be negative, got -1",
    ),
}
"""Reports of which one value can't be read: which, and why."""


@pytest.fixture
def neuron_tool(monkeypatch):
    """Put the stand-ins first in PATH and tell one of them what to do; another without a word fails."""

    def stands_in(tool, **words):
        monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
        for word, value in words.items():
            message = FIXTURES / value if word == "says" else value
            monkeypatch.setenv(f"{tool.replace('-', '_')}_{word}".upper(), str(message))

    return stands_in


def text(name):
    return (FIXTURES / name).read_text(encoding="utf-8")


def read(name):
    return (tools.devices if name.startswith("neuron-ls") else tools.report)(text(name))


def test_every_fixture_has_its_verdict():
    assert {path.name for path in FIXTURES.glob("*.json")} == READABLE | set(REFUSED) | set(PARTLY)


@pytest.mark.parametrize("name", sorted(READABLE))
def test_what_is_documented_is_read_without_complaint(name):
    assert getattr(read(name), "complaints", ()) == ()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_broken_is_refused_by_its_key(name):
    with pytest.raises(Unreadable) as caught:
        read(name)
    assert str(caught.value).startswith(REFUSED[name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PARTLY)
def test_a_value_that_cannot_be_read_is_null_and_the_others_are_reported(name):
    lost, why = PARTLY[name]
    found = read(name)
    (complaint,), (runtime,) = found.complaints, found.runtimes
    assert complaint == f"neuron-monitor: neuron_runtime_data[0].{why}"
    message = {"memory_bytes": 445_000_000, "utilisation": 0.2075, "latency_p50_s": 0.00092}
    assert {key: getattr(runtime, key) for key in message} == message | {lost: None}


@pytest.mark.parametrize("printed", ["", " \n"])
def test_nothing_is_no_report(printed):
    with pytest.raises(Unreadable, match=r"^neuron-monitor printed nothing$"):
        tools.report(printed)
    with pytest.raises(Unreadable, match=r"^neuron-ls printed nothing$"):
        tools.devices(printed)


def test_a_device_has_its_cores_and_its_processes():
    assert read("neuron-ls.json") == (
        NeuronDevice(
            index=0,
            cores=(0, 1),
            lnc=1,
            memory_bytes=32 * 2**30,
            processes=(NeuronProcess(pid=4242, command="python -m benchmark …"),),
        ),
    )


def test_cores_of_trainium2_are_logical_ones():
    first, last = read("neuron-ls-trn2.json")
    assert (first.cores, first.lnc, last.cores) == ((0, 1, 2, 3), 2, (60, 61, 62, 63))


def test_cores_that_an_old_tool_does_not_number_are_counted_through():
    assert [device.cores[0] for device in read("neuron-ls-old.json")] == [0, 4, 8, 12]


def test_a_report_states_memory_utilisation_and_latency():
    (runtime,) = read("neuron-monitor.json").runtimes
    assert (runtime.pid, runtime.tag, runtime.memory_bytes) == (4242, "run-0001", 445_000_000)
    assert (runtime.utilisation, runtime.latency_p50_s, runtime.errors) == (0.2075, 0.00092, ())


def test_an_idle_process_has_no_latency_and_no_core_in_use():
    (runtime,) = read("neuron-monitor-idle.json").runtimes
    assert (runtime.latency_p50_s, runtime.utilisation, runtime.memory_bytes) == (None, None, 445_000_000)


def test_errors_are_reported_by_the_monitors_names():
    (runtime,) = read("neuron-monitor-errors.json").runtimes
    assert runtime.errors == ("hardware", "timed_out")


def test_the_devices_are_those_that_the_tool_lists(neuron_tool):
    neuron_tool("neuron-ls", says="neuron-ls-busy.json")
    assert [device.index for device in tools.ls()] == list(range(6))


def test_a_tool_that_hangs_is_not_waited_for(neuron_tool):
    neuron_tool("neuron-ls", does="hang")
    with pytest.raises(Unreadable, match=r"^neuron-ls gave no answer within 0\.2 s$"):
        tools.ls(timeout_s=0.2)


def test_a_tool_that_fails_is_quoted(neuron_tool):
    neuron_tool("neuron-ls")
    with pytest.raises(Unreadable, match=r"^neuron-ls ended with exit code 1: no neuron device found$"):
        tools.ls()


def test_a_tool_that_is_absent_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "FOLDER", tmp_path)
    with pytest.raises(
        NotInstalled, match=r"^neuron-ls is not installed: sudo apt-get install aws-neuronx-tools"
    ):
        tools.ls()
    assert tools.others() is None


def test_this_process_and_what_it_starts_are_not_foreign():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not tools.foreign(os.getpid())
        assert not tools.foreign(child.pid)
    finally:
        child.communicate(b"\n")


def test_a_process_that_cannot_be_inspected_is_foreign():
    assert tools.foreign(2**22 + 1)


def test_in_a_container_where_ids_mean_nothing_no_process_is_called_foreign(neuron_tool, monkeypatch):
    neuron_tool("neuron-ls", says="neuron-ls-trn2.json")
    monkeypatch.setattr(machine, "has_host_pids", lambda: False)
    assert not tools.foreign(2**22 + 1)
    assert tools.others() is None


def test_foreign_processes_are_counted_once(neuron_tool):
    neuron_tool("neuron-ls", says="neuron-ls-trn2.json")  # the same one on two devices
    assert tools.others() == 1


@pytest.fixture
def telemetry():
    """Telemetry by the stand-in, a report every 20 ms."""
    found = Telemetry(period_s=1, periods=5)
    yield found
    found.close()


def test_the_first_look_waits_for_nothing_and_the_next_states_the_newest_report(neuron_tool, telemetry):
    neuron_tool("neuron-monitor", says="neuron-monitor.json", period=0.02)
    assert telemetry.state() == DeviceState()
    found = telemetry.state()
    assert found == DeviceState(
        memory_bytes=445_000_000, utilisation=0.2075, latency_p50_ms=0.92, other_processes=0
    )
    assert telemetry.state() == found


def test_other_processes_are_counted_and_not_taken_for_this_one(neuron_tool, telemetry):
    neuron_tool("neuron-monitor", says="neuron-monitor-two.json", period=0.02)
    telemetry.state()
    found = telemetry.state()
    assert (found.other_processes, found.memory_bytes) == (1, 445_000_000)


def test_a_process_is_known_by_its_tag_too(neuron_tool, telemetry, monkeypatch):
    neuron_tool("neuron-monitor", says="neuron-monitor-two.json", period=0.02)
    monkeypatch.setenv(neuron_monitor.TAG, "4000001")
    telemetry.state()
    assert telemetry.state().memory_bytes == 445_000_001  # of both


def test_errors_of_any_period_since_the_last_look_are_reported(neuron_tool, telemetry):
    neuron_tool("neuron-monitor", says="neuron-monitor-errors.json", period=0.02)
    telemetry.state()
    assert telemetry.state().errors == ("hardware", "timed_out")


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ({"does": "hang"}, "neuron-monitor printed no report within 0.2 s"),
        ({}, "neuron-monitor ended with exit code 1: no neuron device found"),
        ({"says": "neuron-monitor-truncated.json"}, "neuron-monitor printed no complete JSON ("),
        ({"says": "neuron-monitor-no-processes.json"}, "neuron-monitor: lacks neuron_runtime_data"),
        ({"says": "neuron-monitor-no-own-process.json"}, "neuron-monitor reports no process tagged "),
    ],
)
def test_a_monitor_that_states_nothing_is_said_once_and_stops_nothing(neuron_tool, caplog, tool, why):
    neuron_tool("neuron-monitor", period=0.02, **tool)
    telemetry = Telemetry(period_s=1, periods=5 if "says" in tool else 0.2)
    try:
        for _ in range(3):
            found = telemetry.state()
            assert (found.memory_bytes, found.utilisation, found.latency_p50_ms) == (None, None, None)
    finally:
        telemetry.close()
    (line,) = caplog.messages
    assert line.startswith(f"telemetry is missing or incomplete: {why}")


def test_a_value_that_a_report_lacks_is_said_once_and_the_others_stay(neuron_tool, telemetry, caplog):
    neuron_tool("neuron-monitor", says="neuron-monitor-no-memory.json", period=0.02)
    states = [telemetry.state() for _ in range(3)]
    assert (states[-1].memory_bytes, states[-1].utilisation) == (None, 0.2075)
    assert len(caplog.messages) == 1


def test_without_a_monitor_nothing_is_reported_and_the_log_says_why(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "FOLDER", tmp_path)
    telemetry = Telemetry()
    assert telemetry.state() == telemetry.state() == DeviceState()
    assert len(caplog.messages) == 1
    assert "neuron-monitor is not installed: sudo apt-get install aws-neuronx-tools" in caplog.text


def test_a_monitor_that_ends_leaves_its_last_report_and_then_says_so(neuron_tool, telemetry, caplog):
    neuron_tool("neuron-monitor", says="neuron-monitor.json", does="end", period=0.02)
    telemetry.state()
    assert telemetry.state().utilisation == 0.2075
    assert telemetry.state().utilisation is None
    assert "neuron-monitor ended with exit code 3: lost the device" in caplog.text


def test_the_monitor_and_its_configuration_are_gone_when_it_is_closed(neuron_tool, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    neuron_tool("neuron-monitor", says="neuron-monitor.json", period=0.02)
    monitor = Monitor()
    assert len(list(tmp_path.glob("neuron-monitor-*.json"))) == 1
    pid = monitor._process.pid
    monitor.texts(5)
    assert list(tmp_path.iterdir()) == []
    monitor.close()
    assert not psutil.pid_exists(pid)


def test_reports_pile_up_until_they_are_requested(neuron_tool):
    neuron_tool("neuron-monitor", says="neuron-monitor.json", period=0.01)
    monitor = Monitor()
    try:
        monitor.texts(5)
        time.sleep(0.3)
        assert len(monitor.texts(0)) > 1
    finally:
        monitor.close()


def started_in_a_child(environment):
    os.environ.update(environment)
    monitor = Monitor()
    monitor.texts(5)
    return monitor._process.pid


def left_by_a_child(environment):
    started_in_a_child(environment)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_monitor_ends_with_the_child_that_started_it(neuron_tool, interpreters, tmp_path):
    neuron_tool("neuron-monitor", says="neuron-monitor.json", period=0.02)
    message = {name: value for name, value in os.environ.items() if name == "PATH" or "MONITOR" in name}
    message |= {"TMPDIR": str(tmp_path)}
    limits = ChildLimits(log=tmp_path / "log", timeout_s=20)
    pid = interpreters.call_in(None)(limits, started_in_a_child, message)
    assert not psutil.pid_exists(pid)
    with pytest.raises(Crashed):
        interpreters.call_in(None)(limits, left_by_a_child, message)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(one.info["cmdline"])]

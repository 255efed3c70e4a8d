"""Which Neuron device a host has, which of its cores a run takes, and what it is given."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmark.devices import neuron
from benchmark.devices.neuron import Neuron
from benchmark.errors import Unavailable
from benchmark.host import machine
from benchmark.measurement import DeviceState
from benchmark.neuron import monitor, tools
from benchmark.neuron.tools import NotInstalled, Unreadable
from benchmark.stages.plan import plan

FIXTURES = Path(__file__).parents[1] / "neuron" / "fixtures"
BIN = Path(__file__).parents[1] / "fakes" / "bin"
INF2 = Neuron(name="inf2", instance_type="inf2.xlarge")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A host with a Neuron driver, whose chips and firmware tell nothing yet; its environment is put back."""
    devices = tmp_path / "devices"
    devices.write_text("Character devices:\n  1 mem\n245 neuron\n", encoding="utf-8")
    monkeypatch.setattr(neuron, "DEVICES", devices)
    monkeypatch.setattr(neuron, "CHIPS", tmp_path / "neuron_device")
    monkeypatch.setattr(machine, "instance_type", lambda: None)
    for name in ("NEURON_RT_NUM_CORES", "NEURON_RT_VISIBLE_CORES", "NEURON_LOGICAL_NC_CONFIG"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv(monitor.TAG, "before")
    return tmp_path


@pytest.fixture
def firmware(fresh, monkeypatch):
    """Let the firmware name an instance, and the driver's files its chip."""

    def tells(instance_type=None, chip=None):
        monkeypatch.setattr(machine, "instance_type", lambda: instance_type)
        if chip:
            folder = fresh / "neuron_device" / "neuron0" / "info" / "architecture"
            folder.mkdir(parents=True)
            (folder / "device_name").write_text(f"{chip}\n", encoding="utf-8")

    return tells


@pytest.fixture
def listed(fresh, monkeypatch):
    """Let `neuron-ls` print a fixture."""

    def lists(name):
        text = (FIXTURES / name).read_text(encoding="utf-8")
        monkeypatch.setattr(tools, "ls", lambda: tools.devices(text))

    return lists


def settled(device):
    device.configure_process()
    return os.environ["NEURON_RT_VISIBLE_CORES"]


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("inf1", "neuroncore-v1", "inf1"),
        ("inf2", "neuroncore-v2", "inf2"),
        ("trn1", "neuroncore-v2", "trn1"),
        ("trn2", "neuroncore-v3", "trn2"),
    ],
)
def test_the_instance_decides_kind_name_and_target_of_the_hardware(compose, fresh, name, kind, target):
    device = compose(f"hardware={name}").hardware
    assert (device.kind, device.facts().target) == (kind, target)
    assert device.facts().device_name == f"NeuronCore-v{kind[-1]}"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["hardware=inf2", "hardware.instance_type=inf1.xlarge"],
            "hardware.instance_type=inf1.xlarge: is inf1, not inf2: choose one of inf2.xlarge, ",
        ),
        (
            ["hardware=inf2", "hardware.cores=3"],
            (
                "hardware.cores=3: inf2.xlarge has 2 NeuronCores: use fewer cores or replicas, or "
                "hardware.instance_type=inf2.24xlarge"
            ),
        ),
        (
            ["hardware=trn2", "hardware.cores=5"],
            "hardware.cores=5: trn2.3xlarge has 4 NeuronCores",
        ),
        (
            ["hardware=inf2", "hardware.lnc=1"],
            "hardware.lnc=1: only Trainium2 and Trainium3 have logical NeuronCores, inf2.xlarge has Inf",
        ),
    ],
)
def test_a_cell_with_what_an_instance_does_not_have_is_incompatible(compose, overrides, sentence):
    (run,) = plan([compose(*overrides)], lambda _: {}).runs
    assert run.fate == "incompatible"
    assert run.reason.startswith(sentence)
    assert "\n" not in run.reason


@pytest.mark.parametrize("compiler", ["neuronx", "eager"])
def test_an_instance_without_a_chip_is_incompatible_and_the_rest_of_a_grid_is_not(compose, compiler):
    cells = [
        compose("hardware=inf2", f"hardware.instance_type={name}", f"compiler={compiler}")
        for name in ("g5.xlarge", "inf2.xlarge")
    ]
    impossible, other = plan(cells, lambda _: {}).runs
    assert impossible.fate == "incompatible"
    assert impossible.reason.startswith(
        "hardware.instance_type=g5.xlarge: has no Neuron device, choose one of inf1"
    )
    assert "g5.xlarge" not in other.reason


def test_smaller_logical_cores_are_more(compose):
    assert compose("hardware=trn2", "hardware.lnc=1", "hardware.cores=8").hardware.cores == 8


def test_another_instance_with_the_chip_is_that_hardware_too(compose):
    device = compose("hardware=trn1", "hardware.instance_type=trn1n.32xlarge").hardware
    assert device.facts().target == "trn1n"
    own = Neuron(name="our_box", instance_type="inf1.6xlarge", cores=16)
    assert (own.kind, own.facts().target) == ("neuroncore-v1", "inf1")


def test_a_driver_is_a_device(fresh):
    assert INF2.missing() is None


@pytest.mark.parametrize(
    ("device", "packages"),
    [
        (INF2, "aws-neuronx-dkms aws-neuronx-runtime-lib aws-neuronx-collectives aws-neuronx-tools"),
        (Neuron(name="inf1", instance_type="inf1.xlarge"), "aws-neuronx-dkms=2.24.* aws-neuronx-tools"),
    ],
)
def test_without_a_driver_the_reason_says_what_to_install(fresh, device, packages):
    (fresh / "devices").write_text("245 nvidia\n", encoding="utf-8")
    assert device.missing() == (
        f"this host has no Neuron device (no driver in {fresh / 'devices'}): run on {device.instance_type} "
        f"with `sudo apt-get install {packages}`"
    )


@pytest.mark.parametrize(
    ("instance_type", "chip", "found"),
    [
        (None, "Inferentia", "Inferentia"),
        (None, "Trainium1", "Trainium"),
        ("inf1.xlarge", None, "Inferentia"),
        ("trn2.48xlarge", "Trainium2", "Trainium2"),
    ],
)
def test_another_chip_is_not_the_device(firmware, instance_type, chip, found):
    firmware(instance_type, chip)
    assert INF2.missing().startswith(f"hardware=inf2 is Inferentia2, this host has {found}, ")


@pytest.mark.parametrize(
    ("instance_type", "chip"),
    [(None, "Inferentia2"), ("inf2.48xlarge", "Inferentia2"), ("inf2.8xlarge", None), ("p9.huge", None)],
)
def test_the_same_chip_or_one_without_a_name_is_the_device(firmware, instance_type, chip):
    firmware(instance_type, chip)
    assert INF2.missing() is None


def test_a_smaller_instance_than_was_meant_is_reported(firmware):
    firmware("inf2.xlarge", "Inferentia2")
    device = Neuron(name="inf2", instance_type="inf2.24xlarge", cores=4)
    assert device.missing().startswith("hardware.cores=4: inf2.xlarge has 2 NeuronCores, ")


def test_the_firmware_names_the_instance_where_that_has_the_chip(firmware):
    firmware("inf2.48xlarge")
    assert INF2.facts().instance_type == "inf2.48xlarge"
    firmware("c6i.2xlarge")
    assert INF2.facts().instance_type == "inf2.xlarge"
    firmware("trn1.2xlarge")
    assert INF2.facts().instance_type == "inf2.xlarge"


def test_the_key_of_an_artefact_is_the_same_on_a_host_that_only_compiles(compose, firmware, fresh):
    def key():
        facts = compose("hardware=inf2").hardware.facts()
        return facts.device_name, facts.isa, facts.target, facts.threads

    firmware("inf2.8xlarge", "Inferentia2")
    there = key()
    firmware("c6i.2xlarge")
    (fresh / "devices").unlink()
    assert key() == there == ("NeuronCore-v2", "", "inf2", None)


def test_a_host_without_the_device_can_be_wanted_for_compiling_alone(compose, fresh):
    (fresh / "devices").unlink()
    reasons = []
    for stage in ("measure", "compile"):
        (run,) = plan([compose("hardware=inf2", f"stage={stage}")], lambda _: {}).runs
        reasons.append(run.reason)
    assert "no Neuron device" in reasons[0]
    assert "no Neuron device" not in reasons[1]


def test_without_the_tool_the_first_cores_are_taken(fresh, monkeypatch):
    def absent():
        raise NotInstalled("neuron-ls is not installed")

    monkeypatch.setattr(tools, "ls", absent)
    assert settled(INF2) == "0"
    assert settled(Neuron(name="inf2", instance_type="inf2.xlarge", cores=2)) == "0-1"


def test_a_tool_that_fails_stops_nothing_and_is_reported(fresh, monkeypatch, caplog):
    def broken():
        raise Unreadable("neuron-ls gave no answer within 5 s")

    monkeypatch.setattr(tools, "ls", broken)
    assert settled(INF2) == "0"
    assert caplog.messages == [
        "taking the first 1 NeuronCores without knowing if they are free: neuron-ls gave no answer within 5 s"
    ]


def test_a_host_without_devices_settles_too(listed):
    listed("neuron-ls-none.json")
    assert settled(INF2) == "0"


def test_what_the_runtime_reads_is_set_and_what_contradicts_it_is_gone(listed):
    listed("neuron-ls-none.json")
    INF2.configure_process()
    assert "NEURON_RT_NUM_CORES" not in os.environ
    assert os.environ[monitor.TAG] == f"benchmark-{os.getpid()}"
    assert os.environ["NEURON_LOGICAL_NC_CONFIG"] == "before"
    Neuron(name="trn2", instance_type="trn2.48xlarge", lnc=1).configure_process()
    assert os.environ["NEURON_LOGICAL_NC_CONFIG"] == "1"


@pytest.mark.parametrize(("cores", "taken"), [(1, "2"), (2, "2-3"), (3, "6-8"), (4, "6-9")])
def test_cores_of_devices_that_others_hold_are_not_taken(listed, cores, taken):
    listed("neuron-ls-busy.json")  # devices 0, 2 and 5 of six, two cores each
    assert settled(Neuron(name="inf2", instance_type="inf2.24xlarge", cores=cores)) == taken


def test_too_few_free_cores_name_who_holds_the_others(listed):
    listed("neuron-ls-busy.json")
    with pytest.raises(Unavailable) as caught:
        Neuron(name="inf2", instance_type="inf2.24xlarge", cores=5).configure_process()
    message = "; ".join(f"pid 400000{n} (python serve.py) uses device {n}" for n in (0, 2, 5))
    assert str(caught.value) == (
        f"hardware.cores=5: 6 of 12 NeuronCores are free: {message}: wait for it, stop it, or use fewer"
    )


def test_fewer_cores_than_were_meant_are_reported_though_they_are_free(listed):
    listed("neuron-ls-old.json")
    device = Neuron(name="inf1", instance_type="inf1.24xlarge", cores=17)
    with pytest.raises(
        Unavailable, match=r"^hardware\.cores=17: 16 of 16 NeuronCores are free, but not as many adjacent"
    ):
        device.configure_process()


def test_cores_that_this_process_holds_are_its_own(listed, monkeypatch):
    listed("neuron-ls.json")
    monkeypatch.setattr(tools, "foreign", lambda pid: pid != 4242)
    assert settled(INF2) == "0"


def test_logical_cores_are_counted_as_the_run_will_have_them(listed, monkeypatch):
    listed("neuron-ls-trn2.json")  # at two physical cores each, devices 0 and 15
    monkeypatch.setattr(tools, "foreign", lambda _: False)
    assert settled(Neuron(name="trn2", instance_type="trn2.48xlarge", cores=4)) == "0-3"
    assert settled(Neuron(name="trn2", instance_type="trn2.48xlarge", lnc=1, cores=8)) == "0-7"


@pytest.fixture
def monitored(fresh, monkeypatch):
    """neuron-monitor's stand-in, a report every 20 ms."""
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NEURON_MONITOR_SAYS", str(FIXTURES / "neuron-monitor.json"))
    monkeypatch.setenv("NEURON_MONITOR_PERIOD", "0.02")
    monitor.telemetry.cache_clear()
    yield
    monitor.telemetry().close()
    monitor.telemetry.cache_clear()


@pytest.mark.usefixtures("monitored")
def test_the_state_is_what_the_monitor_states_of_the_settled_process():
    INF2.configure_process()
    assert INF2.state() == DeviceState()
    assert INF2.state() == DeviceState(
        memory_bytes=445_000_000, utilisation=0.2075, latency_p50_ms=0.92, other_processes=0
    )


@pytest.mark.usefixtures("monitored")
def test_the_state_of_several_replicas_is_that_of_all_who_have_the_tag(monkeypatch, tmp_path):
    report = json.loads((FIXTURES / "neuron-monitor.json").read_text())
    (one,) = report["neuron_runtime_data"]
    two = json.loads(json.dumps(one | {"pid": os.getpid() + 1, "neuron_runtime_tag": "ours"}))
    two["report"]["memory_used"]["neuron_runtime_used_bytes"]["neuron_device"] += 5
    two["report"]["execution_stats"]["latency_stats"]["device_latency"]["p50"] = 0.00292
    report["neuron_runtime_data"] = [one, two]
    (tmp_path / "report.json").write_text(json.dumps(report))
    monkeypatch.setenv("NEURON_MONITOR_SAYS", str(tmp_path / "report.json"))
    monkeypatch.setenv(monitor.TAG, "ours")
    INF2.state()
    assert INF2.state() == DeviceState(
        memory_bytes=890_000_005, utilisation=0.2075, latency_p50_ms=1.92, other_processes=0
    )


def test_without_a_monitor_only_other_processes_are_reported(fresh, monkeypatch):
    monkeypatch.setattr(tools, "others", lambda: 2)
    device = Neuron(name="inf2", instance_type="inf2.xlarge", monitor=False)
    assert device.state() == DeviceState(other_processes=2)


@pytest.mark.parametrize(
    ("name", "instance_type", "cores", "replicas", "expected"),
    [
        ("neuron-ls-busy.json", "inf2.24xlarge", 4, 2, ((6, 7), (8, 9))),
        ("neuron-ls-busy.json", "inf2.24xlarge", 2, 2, ((2,), (3,))),
        ("neuron-ls-none.json", "inf2.xlarge", 1, 1, ((0,),)),
    ],
)
def test_each_replica_gets_its_share_of_free_adjacent_cores(  # noqa: PLR0913, PLR0917
    listed, name, instance_type, cores, replicas, expected
):
    listed(name)
    device = Neuron(name="inf2", instance_type=instance_type, cores=cores)
    assert device.shares(replicas) == expected
    assert os.environ[monitor.TAG] == f"benchmark-{os.getpid()}"
    device.configure_process(expected[-1])
    first, last = expected[-1][0], expected[-1][-1]
    assert os.environ["NEURON_RT_VISIBLE_CORES"] == (str(first) if first == last else f"{first}-{last}")

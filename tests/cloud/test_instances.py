"""The catalogue knows every instance that has a price, and what a mistyped one was meant to be."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmark.cloud import instances
from benchmark.cloud.instances import find, known
from benchmark.errors import ConfigError

CATALOGUE = Path(instances.__file__).with_name("instances.csv")
PRICES = CATALOGUE.with_name("prices.csv")
CORES_OF_A_CHIP = {"Inferentia": 4, "Inferentia2": 2, "Trainium": 2, "Trainium2": 8, "Trainium3": 8}
"""Physical ones: about-neuron/arch/neuron-hardware of the Neuron documentation."""


def column(path, name):
    with path.open(encoding="utf-8", newline="") as file:
        return [line[name] for line in csv.DictReader(file)]


def test_every_price_is_of_an_instance_in_the_catalogue():
    assert set(column(PRICES, "instance_type")) - set(column(CATALOGUE, "instance_type")) == set()


def test_no_instance_is_listed_twice():
    names = column(CATALOGUE, "instance_type")
    assert len(names) == len(set(names)) == len(known())


def test_every_line_names_file_commit_and_date():
    for source in column(CATALOGUE, "source"):
        assert source.count("/") >= 3, source
        assert source[-10:].count("-") == 2, source


def test_a_neuron_instance_has_chips_cores_memory_and_a_target():
    found = find("inf2.24xlarge")
    assert (found.device, found.devices, found.cores, found.physical_cores) == ("Inferentia2", 6, 12, 12)
    assert (found.vcpu, found.memory_gib, found.device_memory_gib) == (96, 384.0, 192.0)
    assert (found.neuroncore_version, found.target) == (2, "inf2")


def test_logical_cores_of_trainium2_are_two_physical_ones():
    found = find("trn2.48xlarge")
    assert (found.cores, found.physical_cores, found.neuroncore_version) == (64, 128, 3)


def test_neuron_instances_have_the_cores_of_their_chips():
    neuron = [one for one in known() if one.neuroncore_version]
    assert len(neuron) == 15
    for one in neuron:
        assert one.physical_cores == one.devices * CORES_OF_A_CHIP[one.device], one.instance_type
        assert one.target, one.instance_type


def test_others_have_no_neuroncores():
    for one in known():
        if not one.neuroncore_version:
            assert (one.cores, one.physical_cores, one.target) == (None, None, None)


def test_an_instance_rented_for_its_cpu_has_no_device():
    found = find("c7i.2xlarge")
    assert (found.device, found.devices, found.device_memory_gib, found.vcpu) == (None, 0, None, 8)


def test_a_gpu_instance_says_which_and_how_many():
    found = find("p4d.24xlarge")
    assert (found.device, found.devices, found.device_memory_gib) == ("NVIDIA A100", 8, 320.0)


def test_a_family_is_listed_from_small_to_large():
    names = [one.instance_type for one in known("inf1")]
    assert names == ["inf1.xlarge", "inf1.2xlarge", "inf1.6xlarge", "inf1.24xlarge"]
    assert known("inf9") == ()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("inf2.2xlarge", "inf2.xlarge"),
        ("inf2.4xlarge", "inf2.8xlarge"),
        ("trn1.48xlarge", "trn1.32xlarge"),
        ("g5.metal", "g5.xlarge"),
        ("INF2.XLARGE", "inf2.xlarge"),
        ("ml.inf2.xlarge", "inf2.xlarge"),
        ("inf2", "inf2.xlarge"),
        ("c7.xlarge", "c7i.xlarge"),
        ("c6i.metall", "c6i.metal"),
        ("inf2.0xlarge", "inf2.xlarge"),
    ],
)
def test_a_mistyped_name_gets_the_nearest_of_its_family(name, nearest):
    with pytest.raises(ValueError, match=rf"^no such instance type: did you mean '{nearest}'\?$"):
        find(name)


def test_a_name_like_no_other_is_sent_to_the_catalogue():
    with pytest.raises(
        ValueError, match=r"^no such instance type: benchmark/cloud/instances\.csv lists those"
    ):
        find("n2-standard-8")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["hardware=inf2", "hardware.instance_type=inf2.2xlarge"],
            "hardware.instance_type=inf2.2xlarge: no such instance type: did you mean 'inf2.xlarge'?",
        ),
        (
            ["hardware=cpu", "hardware.instance_type=c6i.3xlarge"],
            "hardware.instance_type=c6i.3xlarge: no such instance type: did you mean 'c6i.4xlarge'?",
        ),
    ],
)
def test_the_gate_says_it_in_one_clean_line(compose, overrides, sentence):
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    assert str(caught.value) == sentence


def test_a_cpu_takes_any_instance_of_the_catalogue_and_none(compose):
    assert (
        compose("hardware=cpu", "hardware.instance_type=c6i.2xlarge").hardware.facts().instance_type
        == "c6i.2xlarge"
    )
    assert compose("hardware=cpu").hardware.instance_type is None

"""What every device promises, present or absent: one suite over the files of conf/hardware."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from benchmark.measurement import DeviceState
from benchmark.protocols import Device
from benchmark.records import Arithmetic, Session
from tests.plugins import group

COMPILERS = group("compiler")


@pytest.fixture(scope="module", params=group("hardware"))
def chosen(request, experiment):
    return experiment(f"hardware={request.param}")


@pytest.fixture
def device(chosen):
    return chosen.hardware


def test_a_device_fits_its_seam(device):
    assert isinstance(device, Device)


def test_the_identity_of_a_device_is_stable(device):
    assert device.facts() == device.facts() == replace(device).facts()


def test_facts_are_reported_of_an_absent_device_too(device):
    assert device.facts().device_name
    assert device.facts().cores >= 1


def test_an_absent_device_is_noticed_at_once(device):
    started = time.perf_counter()
    device.missing()
    assert time.perf_counter() - started < 0.2


def test_an_absent_device_says_what_to_do(device):
    reason = device.missing()
    if reason is None:
        pytest.skip(f"this host has {device.name}")
    assert "install" in reason
    assert "\n" not in reason


def test_some_compiler_targets_the_device(device):
    assert any(device.kind in kind.runs_on for kind in COMPILERS.values())


def test_the_compiler_that_a_device_chooses_targets_it(chosen):
    assert chosen.hardware.kind in chosen.compiler.runs_on


def test_a_synchronised_call_gives_the_same_answer(device):
    if device.missing():
        pytest.skip(f"needs {device.name}: {device.missing()}")
    fp32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")
    assert device.synchronized(Session(run=lambda: (1, 2), arithmetic=fp32)).run() == (1, 2)


def test_a_device_states_its_state_or_nothing(device):
    if device.missing():
        pytest.skip(f"needs {device.name}: {device.missing()}")
    assert isinstance(device.state(), DeviceState)


def test_an_invented_device_says_so(device):
    assert device.simulated == (device.kind == "simulated")

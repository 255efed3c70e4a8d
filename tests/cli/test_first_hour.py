"""The first look at a machine: on the simulated device, and its checks on rows that a device could give."""

from __future__ import annotations

import tarfile

import pytest

from benchmark.cli import first_hour

ROW = {
    "status": "ok",
    "scenario": "latency",
    "model": "bert",
    "compiler": "eager",
    "fast_math": "none",
    "batch_size": 1,
    "cosine": 1.0,
    "latency_p50_ms": 10.0,
    "device_time_p50_ms": 9.0,
    "noise_flags": [],
    "device_name": "NVIDIA H200",
}


def verdicts(*rows, **others):
    return {one.name: one.verdict for one in first_hour.checks(rows, ["eager"], **others)}


def copies(count, rate, device="NeuronCore-v2"):
    return {
        **ROW,
        "scenario": "throughput",
        "replicas": count,
        "throughput_per_s": rate,
        "device_name": device,
    }


@pytest.mark.parametrize(
    ("change", "name", "verdict"),
    [
        ({}, "the device's own time is within the wall's", "good"),
        ({"device_time_p50_ms": 10.3}, "the device's own time is within the wall's", "BAD"),
        ({"device_time_p50_ms": None}, "the device's own time is within the wall's", "can't tell"),
        ({"noise_flags": ["shared_device"]}, "no other process on the device", "BAD"),
        ({"status": "accuracy_fail"}, "answers", "BAD"),
        ({"cosine": None}, "answers", "can't tell"),
        ({"status": "crashed"}, "cells that failed", "BAD"),
        ({"status": "unavailable"}, "cells that failed", "BAD"),
    ],
)
def test_a_check_says_what_a_row_shows(change, name, verdict):
    assert verdicts({**ROW, **change})[name] == verdict


def test_a_verdict_on_two_copies_needs_processes_that_agree():
    name = "two copies against one"
    assert verdicts(ROW)[name] == "can't tell"
    one = (copies(1, 100), copies(1, 102))
    assert verdicts(*one, copies(2, 180), copies(2, 190))[name] == "good"
    assert verdicts(*one, copies(2, 104), copies(2, 110))[name] == "BAD"
    assert verdicts(*one, copies(2, 104), copies(2, 190))[name] == "can't tell"
    on_one_card = [copies(count, 100, "NVIDIA H200") for count in (1, 2)]
    assert verdicts(*on_one_card)[name] == "can't tell"


def test_what_the_time_did_not_suffice_for_is_said():
    assert verdicts(ROW, left_out=["inductor"])["time for all cells"] == "can't tell"
    assert "time for all cells" not in verdicts(ROW)


@pytest.mark.commands
def test_the_archive_holds_rows_checks_report_and_logs(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run = first_hour._run
    seen = []

    def runs(folder, name, *words):
        """All but the two whose tests are elsewhere, and that take ten seconds."""
        seen.append(name)
        return (0, "") if name in {"doctor", "report"} else run(folder, name, *words)

    monkeypatch.setattr(first_hour, "_run", runs)
    words = ["--hardware", "simulated", "--models", "bert_tiny", "--out", "first"]
    assert first_hour.main(words) == 0
    with tarfile.open("first.tar.gz") as packed:
        names = {name.partition("/")[2].partition("/")[0] for name in packed.getnames()}
    assert {"rows", "output", "checks.md", "plan.log", "simulated.log", "copies-2.log"} <= names
    assert (seen[0], seen[-1]) == ("doctor", "report")
    assert "cache" not in names
    printed = capfd.readouterr().out
    assert "| compilers | good | simulated |" in printed
    assert "send back" in printed

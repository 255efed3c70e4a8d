"""What the command line promises: exit codes, rows, and a parent that stays light."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmark import __main__ as program
from benchmark.cli.run import run_grid
from benchmark.compilers.simulated import Simulated
from benchmark.devices import neuron
from benchmark.errors import ConfigError
from benchmark.records import frozen
from benchmark.results import ResultsStore

HEAVY = ("torch", "transformers", "safetensors.torch", "onnxruntime", "openvino", "torch_neuronx", "ray")

WITHOUT_HEAVY_LIBRARIES = f"""
import runpy, sys
for name in {HEAVY}:
    sys.modules[name] = None  # importing it fails, as if it were not installed
runpy.run_module("benchmark", run_name="__main__", alter_sys=True)
"""


@frozen
class Impatient(Simulated):
    """Ctrl-C comes while it compiles."""

    def compile(self, workload, folder):
        raise KeyboardInterrupt


@pytest.fixture
def run(capsys):
    """Run a grid as the command line does; return its exit code and what it printed."""
    before = signal.getsignal(signal.SIGTERM)

    def ran(*experiments):
        code = run_grid(experiments)
        return code, capsys.readouterr().out

    yield ran
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def statuses(simulated):
    """Status of every row in the store."""
    return lambda: sorted(ResultsStore(simulated().store_root).statuses().values())


def test_a_grid_in_which_every_cell_is_ok_is_exit_code_0(simulated, run, statuses):
    code, printed = run(simulated("batch=1"), simulated("batch=2"))
    assert code == 0
    assert "bert_tiny" in printed
    assert statuses() == ["ok", "ok"]


def test_a_grid_with_a_failed_cell_is_exit_code_2_and_says_why(simulated, run, statuses):
    code, printed = run(simulated("compiler.fault=raise"), simulated())
    assert code == 2
    assert "crashed at measure: RuntimeError: simulated fault 'raise'" in printed
    assert statuses() == ["crashed", "ok"]


def test_cells_that_can_never_work_are_rows_but_no_failure(simulated, run, statuses):
    code, printed = run(simulated("seq_len=1000000"), simulated())
    assert code == 0
    assert "seq_len=1000000 is above its maximum of 512" in printed
    assert statuses() == ["incompatible", "ok"]


def test_a_grid_of_which_nothing_can_ever_work_is_a_mistake_and_leaves_no_row(simulated, run, statuses):
    with pytest.raises(ConfigError, match=r"seq_len=513 .*\n.*seq_len=514 "):
        run(simulated("seq_len=513"), simulated("seq_len=514"), simulated("seq_len=513", "batch=2"))
    assert statuses() == []


def test_a_host_without_the_device_leaves_rows_that_say_so(compose, run, statuses, tmp_path, monkeypatch):
    monkeypatch.setattr(neuron, "_DEVICES", tmp_path / "absent")
    code, printed = run(compose("hardware=inf2"))
    assert code == 2
    assert "unavailable at plan: this host has no Neuron device" in printed
    assert statuses() == ["unavailable"]


def test_the_same_campaign_again_shows_its_rows_and_runs_nothing(simulated, run):
    run(simulated("batch=1"))
    code, printed = run(simulated("batch=1"), simulated("batch=2"))
    assert code == 0
    assert "1 done before" in printed
    assert "[1/1] " in printed


def test_cells_that_are_equal_are_counted(simulated, run):
    _, printed = run(simulated("model=vit_tiny", "seq_len=8"), simulated("model=vit_tiny", "seq_len=16"))
    assert "1 equal to another and left out" in printed


def test_a_cell_of_one_sample_has_a_median_to_show(simulated, run):
    once = simulated("sampling.min_calls=1", "sampling.max_calls=1", "sampling.warmup_calls=0")
    code, printed = run(once)
    assert code == 0
    assert "ok p50 1.5 ms" in printed


def test_an_interrupted_grid_is_exit_code_130_and_says_how_to_resume(simulated, run, statuses):
    cell = simulated("campaign=nightly")
    code, printed = run(simulated("campaign=nightly", "batch=2"), replace(cell, compiler=Impatient()))
    assert code == 130
    assert "campaign=nightly resumes" in printed
    assert statuses() == ["interrupted", "ok"]


@pytest.mark.parametrize("key", ["store_root", "cache_root"])
def test_cells_of_a_grid_share_their_places(simulated, run, tmp_path, key):
    with pytest.raises(ConfigError, match=rf"^{key.replace('_', '.')} must be the same for the whole grid"):
        run(simulated(), replace(simulated(), **{key: str(tmp_path / "elsewhere")}))


def test_a_wrong_option_of_a_verb_is_exit_code_1_and_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "results", "--bogus"])
    with pytest.raises(SystemExit) as stopped:
        program.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 1
    assert "--bogus" in line
    assert "python -m benchmark results --help" in line


def test_a_simulated_grid_needs_no_heavy_library_in_any_process(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-c", WITHOUT_HEAVY_LIBRARIES),
            *("-m", "hardware=simulated", "hardware.isolated=false,true", "sampling=quick", "campaign=light"),
        ],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = (
        ResultsStore(tmp_path / "outputs" / "results").table(["status", "overrides", "command"]).to_pylist()
    )
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert "hardware.isolated=true" in rows[1]["overrides"]
    assert "[2/2] " in done.stdout

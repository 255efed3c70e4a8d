"""`plan` tells every cell's fate, how long the rest takes and what it costs; it runs and writes nothing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.cli.start import start
from benchmark.config.sweep import compose_grid
from benchmark.errors import ConfigError

SIMULATED = "hardware=simulated"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plan():
    """Text of the verb for these overrides."""

    def outcome_text(*arguments):
        ran = CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False)
        return ran.output

    return outcome_text


@pytest.fixture
def sums(plan):
    """The last line of its JSON, and the cells before it."""

    def outcome_text(*arguments):
        *cells, last = map(json.loads, plan(*arguments, "--json").splitlines())
        return last, cells

    return outcome_text


def run(*arguments):
    laid = compose_grid([SIMULATED, *arguments])
    return start(laid.experiments, laid.excluded)


def test_cells_are_said_by_fate(sums, capsys):
    run("batch=1", "campaign=night")
    run("batch=2", "campaign=other")
    last, cells = sums(
        SIMULATED,
        "campaign=night",
        "pair=[{batch:[1,2,4,8,16],seq_len:[128,128,128,1024,128]}]",
        "exclude=[{batch:16,reason:too slow}]",
    )
    assert last["fates"] == {"done": 1, "cached": 1, "compile": 1, "incompatible": 1, "excluded": 1}
    assert [cell["fate"] for cell in cells] == ["done", "cached", "compile", "incompatible", "excluded"]
    assert cells[-1]["reason"] == "too slow"
    assert cells[-2]["reason"] == "model=bert_tiny: seq_len=1024 is above its max_position_embeddings 512"
    capsys.readouterr()


def test_it_writes_nothing(plan):
    plan(SIMULATED, "batch=1,2")
    assert list(Path().iterdir()) == []


def test_options_that_differ_are_columns(plan):
    lines = plan(SIMULATED, "seed=3,4", "image_size=null").splitlines()
    assert lines[0].split() == [
        "model",
        "hardware",
        "compiler",
        "fast_math",
        "batch",
        "seq_len",
        "seed",
        "processes",
        "fate",
    ]
    assert [line.split()[6] for line in lines[1:3]] == ["3", "4"]


def test_without_history_it_goes_by_the_minima_of_the_sampling(plan):
    outcome_text = plan(SIMULATED, "batch=1,2")
    assert (
        "ETA: less than 1 s, estimated from the minimum times of this sampling (compile 0 s, measure 0 s)"
        in outcome_text
    )
    assert "cost: unknown" in outcome_text


def test_seconds_and_dollars_follow_the_rows_of_the_store(sums, plan, capsys):
    run("batch=1,2,4", "campaign=before")
    last, _ = sums(SIMULATED, "batch=1,2,4", "campaign=next", "budget.usd_per_hour=3600")
    assert last["by_minima"] == last["without_price"] == 0
    assert last["measure_s"] > 0
    assert last["usd"] == pytest.approx(last["measure_s"] + last["compile_s"])
    outcome_text = plan(SIMULATED, "batch=1,2,4", "campaign=next")
    assert re.search(r"estimated from \d+ earlier runs with this sampling", outcome_text)
    other, _ = sums(SIMULATED, "batch=1,2,4", "campaign=next", "sampling.min_s=3")
    assert other["by_minima"] > 0
    capsys.readouterr()


def test_the_price_and_its_date_are_named(plan, capsys):
    run("campaign=before")
    outcome_text = plan(SIMULATED, "hardware.instance_type=inf2.xlarge", "campaign=next")
    assert "inf2.xlarge $0.7582/h on-demand, us-east-1, 2026-07-20" in outcome_text
    capsys.readouterr()


def test_a_budget_that_will_not_do_is_a_warning(sums, capsys):
    run("campaign=before")
    last, _ = sums(SIMULATED, "campaign=next", "budget.hours=1e-9")
    assert last["warnings"] == [
        "budget.hours=1e-09 is less than the ETA: the grid will stop and can be resumed"
    ]
    capsys.readouterr()


def test_cells_that_failed_before_are_a_warning(sums, capsys):
    run("compiler.fault=raise", "campaign=night")
    last, _ = sums(SIMULATED, "compiler.fault=raise", "campaign=night")
    assert last["fates"] == {"done": 1}
    assert last["warnings"] == ["1 finished process ended as crashed: run=failed runs it again"]
    capsys.readouterr()


def test_what_a_compiler_is_given_is_known_where_neither_it_nor_the_device_is(sums, plan):
    words = ("model=sd21", "hardware=inf2", "compiler.fast_math=matmult")
    _, (cell,) = sums(*words)
    assert cell["fate"] == "unavailable"
    line = "NEURON_FUSE_SOFTMAX=1 neuronx-cc compile --target inf2 --auto-cast matmult --auto-cast-type bf16"
    assert {one["part"]: one["command"] for one in cell["compiler_command"]} == {
        part: f"{line} --optlevel 2 --model-type {kind} --enable-fast-loading-neuron-binaries"
        for part, kind in (
            ("text_encoder", "generic"),
            ("unet", "unet-inference"),
            ("vae_decoder", "generic"),
        )
    }
    assert f"1 cell of sd21, unet: {line}" in " ".join(plan(*words).split())
    assert cell["placement"] == {"0/text_encoder": "0", "0/unet": "0-1", "0/vae_decoder": "0"}
    simulated = sums(SIMULATED)[1][0]
    assert (simulated["compiler_command"], simulated["placement"]) == ([], {})


def test_a_long_table_is_left_out_unless_it_is_asked_for(plan):
    few, every = (plan(SIMULATED, "batch=range(1,71)", *flag) for flag in ([], ["--all"]))
    assert "bert_tiny" not in few
    assert every.count("bert_tiny") == 70
    assert "70 cells in 560 processes at most: 70 compile" in few


def test_it_fits_a_terminal_of_80_columns(plan, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "80")
    lines = plan(SIMULATED, "model=bert_tiny,vit_tiny", "batch=1,2", "seq_len=8,1024").splitlines()
    table = [line for line in lines if line.startswith(("model", "bert_tiny", "vit_tiny"))]
    assert len(table) == 7
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (
            ["hardware.instance_type=inf1.xlarge", "scenario=throughput", "scenario.replicas=4,8"],
            "hardware.cores=8: inf1.xlarge has 4 NeuronCores",
        ),
        (
            ["hardware.instance_type=inf1.xlarge,inf2.xlarge"],
            "hardware.instance_type=inf2.xlarge: is inf2, not inf1: choose one of inf1.xlarge, ",
        ),
        (["hardware.lnc=null,1"], "hardware.lnc=1: only Trainium2 and Trainium3 have logical NeuronCores, "),
        (
            ["compiler.fallback=true,false", "compiler.minimum_segment_size=8"],
            "compiler=neuron: minimum_segm",
        ),
    ],
)
def test_an_impossible_cell_does_not_end_a_grid(sums, grid, reason):
    _, (possible, impossible) = sums("-m", "model=bert", "hardware=inf1", *grid)
    assert (possible["fate"], impossible["fate"]) == ("unavailable", "incompatible")
    assert impossible["reason"].startswith(reason)


@pytest.mark.parametrize("flag", [["--config-dir", "mine"], ["-cd", "mine"], ["--config-dir=mine"]])
def test_it_takes_the_flags_of_a_run(sums, flag):
    folder = Path("mine", "experiment")
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("# @package _global_\nbatch: 3")
    Path("mine", "other.yaml").write_text("defaults: [config, _self_]\nseq_len: 16")
    _, (cell,) = sums(SIMULATED, "experiment=own", *flag, "--config-name", "other", "seed=1")
    assert (cell["batch"], cell["seq_len"]) == (3, 16)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--cfg", "job"], "--cfg: a verb has no such flag"),
        (["--bogus"], "--bogus: a verb has no such flag"),
        (["--config-dir", "absent"], "--config-dir absent: there is no such folder"),
    ],
)
def test_other_flags_are_refused(plan, flags, complaint):
    with pytest.raises(ConfigError, match=f"^{complaint}"):
        plan(SIMULATED, *flags)


def test_omp_num_threads_counts_where_the_hardware_says_nothing(sums, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    last, _ = sums("-m", "hardware=cpu", "compiler=eager", "hardware.threads=null,2")
    assert last["warnings"] == [
        "threads: 2, as hardware.threads says; it wins over OMP_NUM_THREADS=3",
        "threads: 3, as OMP_NUM_THREADS=3 says",
    ]


def test_variables_of_the_experiment_are_part_of_what_a_run_is(sums):
    _, (plain,) = sums(SIMULATED, "campaign=night")
    _, (marked,) = sums(SIMULATED, "campaign=night", "+hydra.job.env_set.PLAN_MARK=1")
    assert plain["run_id"] != marked["run_id"]
    del os.environ["PLAN_MARK"]

"""What the command line promises: exit codes, rows, and a parent that stays light."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark import __main__ as program
from benchmark.cli.error_messages import sentence
from benchmark.cli.start import start
from benchmark.compilers.simulated import Simulated
from benchmark.config.folder import CONF
from benchmark.devices import neuron
from benchmark.errors import CacheError, ConfigError, StoreError
from benchmark.records import frozen
from benchmark.store.parquet import PART_FORMAT, serialised
from benchmark.store.results import ResultsStore

HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "openvino", "torch_neuronx", "ray")

COMMANDS = {
    "mistake": ["hardware=simulated", "batch=-1"],
    "light": ["hardware=simulated", "sampling.repeats=1", "campaign=light"],
    "sweep": [
        "-m",
        "hardware=simulated",
        "batch=2,1",
        "sampling.repeats=1",
        "hydra.sweep.dir=elsewhere",
        "campaign=sweep",
    ],
}
"""What real processes are asked to do, with nothing of HEAVY to import."""


@pytest.fixture(scope="module", autouse=True)
def _started(tmp_path_factory):
    """The real processes: they need a second each, beside the tests that need none."""
    running = {}
    for name, arguments in COMMANDS.items():
        folder = tmp_path_factory.mktemp(name)
        absent = folder / "absent"
        absent.mkdir()
        for library in HEAVY:
            (absent / f"{library}.py").write_text(f"raise ImportError('{library} was imported')")
        running[name] = (
            folder,
            subprocess.Popen(
                [sys.executable, "-m", "benchmark", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(absent), "NO_COLOR": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ),
        )
    yield running
    for _, process in running.values():
        process.kill()
        process.communicate()


@pytest.fixture
def finished(_started):
    """Exit code, output, errors and folder of a real process."""

    def waited(name):
        folder, process = _started[name]
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err, folder

    return waited


@frozen
class Impatient(Simulated):
    """Ctrl-C comes while it compiles."""

    def compile(self, workload, folder):  # noqa: ARG002 - the seam's signature
        raise KeyboardInterrupt


@pytest.fixture
def run(capsys):
    """Run a grid as the command line does; return its exit code and what it printed."""
    before = signal.getsignal(signal.SIGTERM)

    def ran(*experiments):
        code = start(experiments)
        return code, capsys.readouterr().out

    yield ran
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def statuses(simulated):
    """Status of every row in the store; none where there is no store yet."""
    root = simulated().store_root
    return lambda: sorted(ResultsStore(root).statuses().values()) if Path(root).exists() else []


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
    assert "seq_len=1000000 is above its max_position_embeddings 512" in printed
    assert statuses() == ["incompatible", "ok"]


def test_a_grid_of_which_nothing_can_ever_work_is_a_mistake_and_leaves_no_row(simulated, run, statuses):
    with pytest.raises(ConfigError, match=r"seq_len=513 .*\n.*seq_len=514 "):
        run(simulated("seq_len=513"), simulated("seq_len=514"), simulated("seq_len=513", "batch=2"))
    assert statuses() == []


def test_a_host_without_the_device_leaves_rows_that_say_so(compose, run, statuses, tmp_path, monkeypatch):
    monkeypatch.setattr(neuron, "DEVICES", tmp_path / "absent")
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
    assert "ok p50 1.50 ms" in printed


def test_an_interrupted_grid_is_exit_code_130_and_says_how_to_resume(simulated, run, statuses):
    cell = simulated("campaign=nightly")
    code, printed = run(simulated("campaign=nightly", "batch=2"), replace(cell, compiler=Impatient()))
    assert code == 130
    assert "stopped after 1 of 2 cells; to resume: python -m benchmark" in printed
    assert "2 rows" in printed
    assert " 2.00 " in printed, "the table has the cell that is done"
    assert statuses() == ["interrupted", "ok"]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["compiler=neuronx"],
            "compiler=neuronx runs on neuroncore-v2 or neuroncore-v3, not on",
        ),
        (
            ["compiler=onnxruntime", "compiler.fast_math=all"],
            "compiler=onnxruntime: fast_math=all doesn't work here",
        ),
        (
            ["hardware=simulated", "weights=pretrained"],
            f"weights=pretrained: {CONF / 'model' / 'bert_tiny.yaml'} names no hub_id",
        ),
    ],
)
def test_a_combination_that_can_never_work_is_a_mistake(compose, run, statuses, overrides, reason):
    with pytest.raises(ConfigError) as refused:
        run(compose(*overrides))
    assert str(refused.value).startswith(reason)
    assert statuses() == []


def test_a_store_of_a_newer_program_is_left_alone(simulated, run):
    anchor = Path(simulated().store_root) / "0-schema.parquet"
    anchor.parent.mkdir(parents=True)
    newer = pa.schema([("run_id", pa.string())], metadata={"schema_version": "999"})
    anchor.write_bytes(serialised(newer.empty_table(), PART_FORMAT))
    with pytest.raises(StoreError, match=r"written by schema 999.* choose another store\.root="):
        run(simulated())
    assert pq.read_schema(anchor).metadata[b"schema_version"] == b"999"
    assert list(anchor.parent.iterdir()) == [anchor]


@pytest.mark.parametrize("key", ["store_root", "cache_root", "output_folder"])
@pytest.mark.parametrize("place", ["{folder}/a file/below", "/proc/benchmark"])
def test_a_place_that_cannot_be_written_is_said_with_its_key(simulated, run, tmp_path, key, place):
    (tmp_path / "a file").write_text("in the way")
    place = place.format(folder=tmp_path)
    with pytest.raises((StoreError, CacheError, OSError)) as refused:
        run(replace(simulated(), **{key: place}))
    message = sentence(refused.value)
    assert place in message
    assert f"{key.replace('_root', '.root')}=" in message
    assert "\n" not in message


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
    assert "benchmark results --help" in line


def test_a_mistake_in_a_real_process_is_one_line_and_exit_code_1(finished):
    code, out, err, folder = finished("mistake")
    assert (code, out, err) == (1, "", "error: batch=-1: should be greater than 0\n")
    assert list(folder.rglob("*.parquet")) == []


def test_a_simulated_cell_needs_no_heavy_library(finished):
    code, out, err, folder = finished("light")
    assert (code, err) == (0, "")
    assert "[1/1] bert_tiny simulated simulated none b1 s128: ok p50 1.50 ms" in out
    (row,) = ResultsStore(folder / "outputs" / "results").table().to_pylist()
    assert (row["status"], row["overrides"]) == ("ok", COMMANDS["light"])
    assert row["command"] == f"python -m benchmark {' '.join(COMMANDS['light'])}"
    assert sorted(path.name for path in folder.iterdir()) == ["absent", "compile_cache", "outputs"]


def test_a_budget_that_is_used_up_is_exit_code_4_and_the_same_command_resumes(simulated, run, statuses):
    cells = [simulated(f"batch={n}", "budget.hours=1e-9", "campaign=night") for n in (1, 2)]
    code, printed = run(*cells)
    assert (code, statuses()) == (4, [])
    assert "budget used up after 0 of 2 cells; to resume: python -m benchmark" in printed
    code, _ = run(*(replace(cell, budget=replace(cell.budget, hours=1.0)) for cell in cells))
    assert (code, statuses()) == (0, ["ok", "ok"])


def test_a_budget_must_be_the_same_for_the_whole_grid(simulated, run):
    with pytest.raises(ConfigError, match=r"^budget must be the same for the whole grid"):
        run(simulated(), simulated("budget.hours=1"))


def test_a_grid_resumes_from_another_folder_on_the_same_store(
    simulated, run, statuses, tmp_path, monkeypatch
):
    run(simulated("batch=1"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    moved = {"cache_root": str(elsewhere / "cache"), "output_folder": str(elsewhere / "outputs")}
    code, printed = run(*(replace(simulated(f"batch={n}"), **moved) for n in (1, 2)))
    assert (code, statuses()) == (0, ["ok", "ok"])
    assert "1 done before" in printed


def test_a_table_that_is_too_long_is_said_where_to_be_found(simulated, run):
    code, printed = run(*(simulated(f"batch={n}") for n in range(1, 72)))
    assert code == 0
    assert "71 rows: python -m benchmark results campaign=test --simulated" in printed


def test_progress_is_left_for_a_second_terminal(simulated, run):
    run(simulated("batch=1"), simulated("batch=2"))
    (file,) = Path(simulated().output_folder).glob("progress-*.json")
    state = json.loads(file.read_text())
    assert (state["state"], state["finished"], state["remaining"]) == ("done", 2, 0)
    assert state["statuses"] == {"ok": 2}


def test_hydra_leaves_its_snapshot_in_the_folder_of_the_sweep(finished):
    code, out, err, folder = finished("sweep")
    assert (code, err) == (0, ""), out
    assert "batch=2,1" in (folder / "elsewhere" / "multirun.yaml").read_text()
    assert len(ResultsStore(folder / "outputs" / "results").statuses()) == 2


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_verb_and_how_a_grid_is_written(command, words):
    ran = command(*words)
    assert ran.returncode == 0
    assert {*program.VERBS} <= {*ran.stdout.split()}
    for line in ("-m model=bert,vit batch=1,8", "experiment=demo"):
        assert line in ran.stdout


def test_help_of_a_verb_is_that_of_the_verb(command):
    assert command("help", "plan").stdout == command("plan", "--help").stdout


def test_the_version_is_this_program_s(command):
    assert re.fullmatch(
        r"benchmark \S+ \(Python [\d.]+, torch \S+, transformers \S+\)\n", command("--version").stdout
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reslts"], "reslts: no such command: did you mean 'results'?"),
        (["help", "reslts"], "reslts: no such command: did you mean 'results'?"),
        (["bert", "-m"], "bert: no such command: did you mean model=bert?"),
        (["batch"], "batch: no such command: did you mean batch=VALUE?"),
        (
            ["zzz"],
            "zzz: no such command: python -m benchmark --help lists them; overrides look like key=value",
        ),
    ],
)
def test_a_word_that_is_no_command_is_answered_by_what_was_meant(command, words, expected):
    ran = command(*words)
    assert (ran.returncode, ran.stderr) == (1, f"error: {expected}\n")

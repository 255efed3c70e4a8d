"""`compile`: artefacts without timings, for another host or a later run."""

from __future__ import annotations

import json

import pytest

from benchmark.__main__ import main
from benchmark.store import results


@pytest.fixture
def called(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def called(*words):
        monkeypatch.setattr("sys.argv", ["benchmark", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    return called


def test_what_is_compiled_is_not_timed_and_the_same_cell_is_a_cache_hit_afterwards(called):
    code, printed = called(
        "compile", "-m", "hardware=simulated", "batch=1,2", "sampling.repeats=1", "campaign=night", "--json"
    )
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert code == 0
    assert [(row["status"], row["stage"], row["cache_hit"]) for row in rows] == 2 * [
        ("unavailable", "measure", False)
    ]
    assert all(row["error"].startswith("compiled, not timed: ") for row in rows)
    assert called("-m", "hardware=simulated", "batch=1,2", "sampling.repeats=1", "campaign=night")[0] == 0
    timed = results.load(where="campaign=night simulated=true status=ok")
    assert list(timed["cache_hit"]) == [True, True]


def test_a_compiler_that_gives_up_is_exit_code_2(called):
    code, printed = called(
        "compile",
        "hardware=simulated",
        "compiler.fault=unsupported_op",
        "compiler.fault_stage=compile",
        "--json",
    )
    assert code == 2
    assert json.loads(printed.splitlines()[-1])["status"] == "unsupported_op"


def test_what_cannot_be_compiled_here_is_exit_code_2(called):
    code, printed = called("compile", "hardware=cuda", "compiler=inductor", "model=bert_tiny", "--json")
    assert code == 2
    assert json.loads(printed.splitlines()[-1])["stage"] == "plan"

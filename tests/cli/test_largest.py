"""`largest`: the search, and the rows it leaves."""

from __future__ import annotations

import json
from multiprocessing import resource_tracker

import psutil
import pytest

from benchmark.__main__ import main
from benchmark.cli.largest import search


@pytest.mark.parametrize("most", [1, 2, 3, 7, 8, 100, 1000])
def test_the_search_finds_the_largest_that_fits(most):
    tried = []

    def fits(batch):
        tried.append(batch)
        return batch <= most

    assert search(fits, 4096) == (most, most + 1)
    assert len(tried) == len(set(tried)) <= 2 * most.bit_length() + 1


def test_the_search_ends_at_the_limit():
    assert search(lambda _: True, 100) == (100, None)


def test_nothing_may_fit():
    assert search(lambda _: False, 100) == (0, 1)


def test_what_cannot_be_said_ends_the_search():
    assert search(lambda batch: None if batch == 4 else True, 100) == (2, 4)


@pytest.fixture
def verb(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def called(*words):
        monkeypatch.setattr("sys.argv", ["benchmark", "largest", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    return called


def test_every_batch_that_was_tried_has_left_its_row(verb):
    from benchmark.store import results

    code, printed = verb("hardware=simulated", "--limit", "6", "--json")
    outcome_text = json.loads(printed.out.splitlines()[-1])
    assert code == 0
    assert outcome_text["largest_batch"] == 6
    assert outcome_text["tried"] == {"1": "ok", "2": "ok", "4": "ok", "6": "ok"}
    rows = results.load(where=f"campaign={outcome_text['campaign']} simulated=true")
    assert sorted(rows["batch_size"]) == [1, 2, 4, 6]


def test_a_failure_that_is_not_of_memory_is_said_and_ends_the_search(verb):
    code, printed = verb("hardware=simulated", "compiler.fault=raise")
    assert code == 2
    assert "not even a batch of 1 fits; 1: crashed, " in printed.out


def test_several_cells_are_refused(verb):
    code, printed = verb("hardware=simulated", "model=bert_tiny,vit_tiny")
    assert code == 1
    assert "these overrides make 2 cells, and `largest` searches for one" in printed.err


def test_a_batch_of_ones_own_is_refused(verb):
    code, printed = verb("hardware=simulated", "batch=4")
    assert code == 1
    assert "batch=4: `largest` searches for the batch" in printed.err


def test_no_process_is_left_of_the_batches_that_were_tried(verb, interpreters):
    interpreters.close()  # else its server would be taken, and stay
    resource_tracker.ensure_running()  # lives as long as this process
    before = set(psutil.Process().children(recursive=True))
    code, printed = verb("hardware=simulated", "hardware.isolated=true", "--limit", "2", "--json")
    assert (code, json.loads(printed.out.splitlines()[-1])["largest_batch"]) == (0, 2)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_model_of_another_folder_is_found_for_every_batch(verb, tmp_path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("# @package _global_\nseq_len: 16")
    found = f"hydra.searchpath=[file://{tmp_path}/mine]"
    code, printed = verb("hardware=simulated", found, "experiment=own", "--limit", "2")
    assert (code, "largest batch that fits: 2" in printed.out) == (0, True)


def test_a_launcher_is_refused(verb):
    code, printed = verb("hardware=simulated", "hydra/launcher=basic")
    assert (code, printed.err.startswith("error: hydra/launcher: largest doesn't use it")) == (1, True)

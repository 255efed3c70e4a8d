"""`matrix`: models by compilers, the newest row of every pair."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.report.display.matrix import (
    FIGURES,
    NEEDED,
    caption,
    hidden,
    legend,
    matrix,
    newest,
    of_one_batch,
)

DAY = pd.Timestamp("2026-11-24", tz="UTC")


def rows(*changes):
    usual = dict.fromkeys(NEEDED) | {
        "model": "bert",
        "compiler": "eager",
        "fast_math": "none",
        "model_dtype": "fp32",
        "status": "ok",
        "latency_p50_ms": 12.34,
        "compile_s": 3.21,
        "artifact_bytes": 5_000_000,
        "load_s": 0.5,
        "cosine": 0.99996,
        "cpu_model": "a CPU",
        "started_at": DAY,
    }
    return newest(pd.DataFrame([usual | change for change in changes]))


def test_a_field_has_one_figure():
    found = {name: matrix(rows({}), name)["eager"].tolist() for name in FIGURES}
    assert found == {
        "p50": ["12.3"], "compile": ["3.21"], "size": ["5.00"], "load": ["0.500"], "cosine": ["0.9999"]
    }  # fmt: skip


def test_a_compiler_without_the_figure_is_left_out():
    pairs = rows({"compile_s": None}, {"compiler": "openvino"})
    assert [*matrix(pairs, "compile")] == ["model", "openvino"]
    assert [*matrix(pairs, "p50")] == ["model", "eager", "openvino"]


def test_a_median_of_noisy_calls_is_marked_and_the_mark_is_explained():
    pairs = rows({"noise_flags": ["contended"]}, {"model": "vit", "noise_flags": []})
    assert matrix(pairs, "p50")["eager"].tolist() == ["~12.3", "12.3"]
    assert matrix(pairs, "compile")["eager"].tolist() == ["3.21", "3.21"]
    assert legend(pairs, "p50") == "Median of one call, ms; ~: other load disturbed the calls"
    assert legend(pairs, "cosine") == "Lowest cosine to the fp32 reference"


def test_a_pair_that_failed_has_the_word_for_it_and_one_that_was_not_asked_for_is_empty():
    table = matrix(
        rows(
            {},
            {"compiler": "openvino", "status": "unsupported_op"},
            {"model": "vit", "status": "incompatible"},
        ),
        "p50",
    )
    assert table.to_dict("records") == [
        {"model": "bert", "eager": "12.3", "openvino": "unsupported_op"},
        {"model": "vit", "eager": "N/A", "openvino": ""},
    ]


def test_the_newest_row_of_a_pair_counts():
    later = {"started_at": DAY + pd.Timedelta(hours=1), "latency_p50_ms": 9.0}
    assert matrix(rows(later, {}), "p50")["eager"].tolist() == ["9.00"]


def test_batch_sizes_are_never_mixed():
    """Those that most pairs have are shown; the others have a line."""
    of = [("eager", 4, 2), ("eager", 1, 1), ("openvino", 1, 1), ("torchscript", 4, 3)]
    every = pd.DataFrame(
        [
            dict.fromkeys(NEEDED)
            | {"model": "bert", "compiler": compiler, "batch_size": batch, "started_at": day}
            for compiler, batch, day in of
        ]
    )
    kept, note = of_one_batch(every)
    assert [*zip(kept["compiler"], kept["batch_size"], strict=True)] == [("eager", 1), ("openvino", 1)]
    assert note == "only batch 1 is shown; the condition batch=4 shows others"
    assert of_one_batch(kept)[1] == ""
    nameless = every.assign(batch_size=None)
    assert len(of_one_batch(nameless)[0]) == len(nameless), "published rows without a batch size stay"


@pytest.mark.parametrize(
    ("change", "column"),
    [({"fast_math": "all"}, "eager all"), ({"model_dtype": "int8"}, "eager int8"), ({}, "eager")],
)
def test_other_arithmetic_is_a_column_of_its_own(change, column):
    assert [*matrix(rows(change), "p50")] == ["model", column]


def test_the_caption_tells_when_where_and_what():
    outcome_text = caption(rows({}, {"model": "vit", "started_at": DAY + pd.Timedelta(days=1)}))
    assert outcome_text == "2026-11-24 to 2026-11-25, a CPU: 2 of 2 ok."


def test_a_pair_with_rows_of_several_configurations_says_what_differs():
    usual = dict.fromkeys(NEEDED) | {"model": "bert", "compiler": "eager", "fast_math": "none"}
    frame = pd.DataFrame(
        [
            usual | {"batch_size": 1, "config": '{"seed": 1}'},
            usual | {"batch_size": 8, "config": '{"seed": 2}'},
            usual | {"batch_size": 8, "config": '{"seed": 2}', "quantization": "int8"},
            usual | {"model": "vit", "batch_size": 8, "config": '{"seed": 2}'},
        ]
    )
    assert hidden(frame) == (
        "1 of 3 pairs have rows that differ in batch, seed: the newest row is shown; conditions choose others"
    )
    assert not hidden(frame.tail(2).reset_index(drop=True))


def test_the_verb_reads_the_store_and_leaves_out_what_was_made_up(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words in (["hardware=simulated"], ["matrix", "--json"]):
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["benchmark", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_figure_that_there_is_not_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["benchmark", "matrix", "--show", "p99"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "--show p99: choose from p50, compile" in capsys.readouterr().err

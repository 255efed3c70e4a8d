"""`tune`: the answer, its rows, what is refused, and that a stopped race goes on."""

from __future__ import annotations

import json
import signal

import pyarrow as pa
import pytest

from benchmark.__main__ import main
from benchmark.cache.compile_cache import CompileCache
from benchmark.cache.lookup import ReadOnlyCache
from benchmark.pipeline.looks import Looks
from benchmark.store.results import ResultsStore

NINE = ("hardware=simulated", "compiler.fast_math=none,matmult,all", "compiler.call_ms=1,2,3")


@pytest.fixture
def verb(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def called(*words):
        monkeypatch.setattr("sys.argv", ["benchmark", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    return called


def answer(printed):
    return json.loads(printed.out.splitlines()[-1])


def rows(campaign):
    from benchmark.store import results

    return results.load(where=f"campaign={campaign} simulated=true")


def test_the_best_wins_and_every_look_is_a_row(verb):
    code, printed = verb("tune", *NINE, "campaign=race", "--json")
    said = answer(printed)
    assert code == 0
    assert said["decided"]
    assert [one["label"] for one in said["winners"]] == ["all call_ms=1"]
    assert said["winners"][0]["figure"] == "0.750 ms"
    assert "2.0 times faster than none call_ms=1; surely " in said["sentence"]
    assert len(said["dropped"]) == 8
    assert len(rows("race")) == said["looks"]
    assert {*rows("race")["status"]} == {"ok"}


def test_a_race_that_was_stopped_ends_the_same_and_measures_nothing_twice(verb, monkeypatch):
    _, whole = verb("tune", *NINE, "campaign=whole", "--json")
    take, rounds = Looks.take, []

    def stopped_in_the_second_round(self, turn, missing, workers):
        rounds.append(turn.number)
        if turn.number == 1:
            part = missing._replace(queue=missing.queue[:4], runs=missing.runs[:4])
            take(self, turn, part, workers)
            signal.raise_signal(signal.SIGTERM)
        return take(self, turn, missing, workers)

    monkeypatch.setattr(Looks, "take", stopped_in_the_second_round)
    code, printed = verb("tune", *NINE, "campaign=stopped", "--json")
    assert code == 130
    assert "to resume: " in printed.out
    before = rows("stopped").set_index("run_id")["finished_at"]
    assert len(before) == 9 + 4
    monkeypatch.setattr(Looks, "take", take)
    code, printed = verb("tune", *NINE, "campaign=stopped", "--json")
    after = rows("stopped").set_index("run_id")["finished_at"]
    assert code == 0
    assert (after[before.index] == before).all()
    same = ("looks", "within", "decided", "rivals")
    first, second = answer(whole), answer(printed)
    assert [first[name] for name in same] == [second[name] for name in same]
    assert [one["label"] for one in first["winners"]] == [one["label"] for one in second["winners"]]
    assert len(first["dropped"]) == len(second["dropped"]) == 8


def test_dollars_choose_the_machine_that_is_cheapest_within_the_limit(verb):
    machines = "hardware.instance_type=inf2.xlarge,c7i.2xlarge,p4d.24xlarge"
    code, printed = verb(
        *(
            "tune",
            "hardware=simulated",
            machines,
            "batch=1,8",
            "--objective",
            "usd",
            "--p95-ms",
            "3",
            "--json",
        )
    )
    said = answer(printed)
    assert code == 0
    assert "c7i.2xlarge" in said["winners"][0]["label"]
    assert said["winners"][0]["batch"] == 1  # 8 is cheaper, and takes 5 ms
    assert said["winners"][0]["figure"].startswith("$0.14")
    assert {one["why"] for one in said["dropped"]} == {"outside", "worse"}


def test_two_objectives_give_a_front(verb):
    code, printed = verb(
        "tune", "hardware=simulated", "batch=1,2,4", "--objective", "latency,throughput", "--json"
    )
    assert code == 0
    assert len(answer(printed)["winners"]) == 3
    assert "3 candidates on the front: " in answer(printed)["sentence"]


def test_limits_that_nothing_keeps_are_exit_code_two(verb):
    code, printed = verb("tune", *NINE, "--p95-ms", "0.1")
    assert code == 2
    assert "no candidate keeps the limits: 9 x outside the limit" in printed.out


def test_a_candidate_that_fails_leaves_the_race_with_its_reason(verb):
    code, printed = verb("tune", "hardware=simulated", "batch=1,2,4", "compiler.fault=none,raise", "--json")
    assert code == 0
    failed = [one for one in answer(printed)["dropped"] if one["why"] == "refused"]
    assert len(failed) == 3
    assert failed[0]["reason"].startswith("crashed at measure: ")
    table = rows(answer(printed)["campaign"])
    assert (table[table["status"] == "crashed"].groupby("cell_id").size() == 2).all()  # once by chance


def test_an_accuracy_below_the_floor_is_out_and_one_that_may_be_below_it_is_said(verb, monkeypatch):
    words = ("hardware=simulated", "compiler.fast_math=none,matmult,all")
    verb("tune", *words, "campaign=first")
    table, measured = ResultsStore.table, {"none": (0.97, 0.95), "matmult": (0.92, 0.89), "all": (0.89, 0.8)}

    def with_accuracies(self, names, among=None):
        if "accuracy" not in names:
            return table(self, names, among=among)
        found = table(self, [name for name in names if not name.startswith("accuracy")]).to_pylist()
        of = [measured[row["fast_math"]] for row in found]
        both = ({"accuracy": point, "accuracy_lo": lo} for point, lo in of)
        return pa.Table.from_pylist([{**row, **one} for row, one in zip(found, both, strict=True)])

    monkeypatch.setattr(ResultsStore, "table", with_accuracies)
    code, printed = verb("tune", *words, "--accuracy-floor", ".9", "--json")
    said = answer(printed)
    assert code == 0
    (out,) = (one for one in said["dropped"] if one["why"] == "refused")
    assert (out["label"], out["reason"]) == ("all", "accuracy 0.8900 is below 0.9")
    assert [one["label"] for one in said["winners"]] == ["matmult"]
    assert said["sentence"].endswith("; its accuracy may be below 0.9: the lower bound is 0.8900")


def test_looks_use_the_bucket_of_the_cache(verb, monkeypatch):
    places = []

    class Local(CompileCache):
        """Notes its places, and reaches no bucket."""

        def __init__(self, root, remote=None):
            places.append(remote)
            super().__init__(root)

    monkeypatch.setattr("benchmark.cli.tune.CompileCache", Local)
    monkeypatch.setattr("benchmark.cli.tune_space.cached", lambda first: ReadOnlyCache(first.cache_root))
    verb("tune", *NINE, "cache.remote=s3://shared/cache")
    assert places == ["s3://shared/cache"]


REFUSED = {
    "1 candidate of 1 cell can race, and a race needs 2": ["hardware=simulated"],
    "candidates do different work (model bert_tiny, vit_tiny": [
        "hardware=simulated",
        "model=bert_tiny,vit_tiny",
    ],
    "candidates do different work (sequence_length 32, 64)": ["hardware=simulated", "seq_len=32,64"],
    "sampling.repeats: a race decides this itself": [*NINE, "sampling.repeats=3"],
    "--objective usd: 9 of 9 candidates have no price (hardware=simulated): set budget": [
        *NINE,
        "--objective=usd",
    ],
    "--objective speed: should be one of latency, throughput, usd": [*NINE, "--objective=speed"],
    "--accuracy-floor: 9 of 9 candidates have no measured accuracy (": [*NINE, "--accuracy-floor=.9"],
    "--minutes 1e-05: one look at each of 9 candidates takes about": [*NINE, "--minutes=.00001"],
    "--tolerance 0: must be above 0": [*NINE, "--tolerance=0"],
    "--cosine-floor 2: must be from -1 to 1": [*NINE, "--cosine-floor=2"],
    "--objective latency: scenario=server searches": [*NINE, "scenario=server", "scenario.slo_ms=9"],
    "--objective throughput: this load has the same rate for all candidates": [
        *(*NINE, "scenario=server", "scenario.rate=9"),
        "--objective=throughput",
    ],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_has_no_answer_is_refused_before_anything_runs(verb, message, tmp_path):
    code, printed = verb("tune", *REFUSED[message])
    assert code == 1
    assert message in printed.err
    assert not (tmp_path / "outputs" / "results").exists()


def test_another_question_in_the_same_campaign_is_refused(verb):
    verb("tune", *NINE, "campaign=once")
    code, printed = verb("tune", *NINE, "campaign=once", "--tolerance", ".1")
    assert code == 1
    assert "this campaign is a race with other tolerance: choose another campaign=" in printed.err


def test_the_plan_shows_the_space_and_runs_nothing(verb, tmp_path):
    code, printed = verb("tune", *NINE, "--plan", "--json")
    assert code == 0
    assert answer(printed)["candidates"] == 9
    assert not (tmp_path / "outputs" / "results").exists()


def test_the_report_draws_every_look_and_lists_who_left(verb, tmp_path):
    verb("tune", *NINE, "campaign=drawn", "--objective", "latency,throughput")
    code, printed = verb("report", "tune", "campaign=drawn", "--json")
    page = answer(printed)
    assert code == 0
    (table,) = page["sections"][1]["tables"]
    assert [line["why"] for line in table["lines"]].count("winner") == 1
    assert sum("% worse than all call_ms=1" in line["why"] for line in table["lines"]) == 8
    assert page["sections"][0]["charts"] == ["tune-race", "tune-front"]
    verb("report", "tune", "campaign=drawn", "--out", str(tmp_path / "page"), "--only", "png,md")
    assert (tmp_path / "page" / "charts" / "tune-race.png").stat().st_size > 10_000


def test_the_report_of_no_race_says_so(verb):
    verb("hardware=simulated", "campaign=plain")
    for words, message in (
        (["campaign=none"], "no rows of campaign=none"),
        (["campaign=plain"], "no race has run in this campaign"),
        ([], "name one race by campaign=NAME"),
    ):
        code, printed = verb("report", "tune", *words)
        assert code == 1
        assert message in printed.err

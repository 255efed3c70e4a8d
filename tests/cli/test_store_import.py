"""`store import` and `store export`, and that published figures are shown only where they are asked for."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta, timezone

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from benchmark.cli import store
from benchmark.cli.best import best
from benchmark.cli.lint import lint
from benchmark.cli.matrix import matrix
from benchmark.cli.results import results
from benchmark.errors import ConfigError
from benchmark.records import Row
from benchmark.store import history
from benchmark.store.results import ResultsStore, load
from benchmark.store.schema import SCHEMA

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
TABLE = "Model,Inst. Type,Throughput (inference/sec),Latency P50 (ms)\nroberta-base,Inf2.xlarge,100,9.5\n"

program = typer.Typer()
program.command()(results)
program.command()(lint)
program.command()(matrix)
program.command()(best)
program.add_typer(store.app, name="store")


def measured(number: int) -> Row:
    times = {"started_at": START, "finished_at": START + timedelta(minutes=number)}
    identity = {"run_id": f"m{number}", "campaign": "c", "cell_id": "x", "environment_id": "e"}
    axes = {"model": "vit", "hardware": "inf1", "compiler": "neuron", "batch_size": 1, "fast_math": "none"}
    figures = {"latency_p50_ms": 12.0, "status": "ok", "simulated": False, "samples": 400}
    return Row(values={**times, **identity, **axes, **figures})


def call(*arguments: str):
    outcome = CliRunner().invoke(program, list(arguments))
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("import") / "results"
    shelf = ResultsStore(folder)
    shelf.prepare()
    shelf.append(measured(1))
    assert call("store", "import", "vision_inferentia", "--store", str(folder)).exit_code == 0
    return folder


@pytest.fixture
def typed(root):
    return lambda verb, *rest: call(verb, *rest, "--store", str(root)).stdout


def test_without_names_the_shipped_documents_are_listed():
    assert "encoder_latency: 108 rows, 2023-02-13, 73be1c2029, MIT" in call("store", "import").stdout


def test_importing_again_leaves_the_same_rows(root, typed):
    before = load(root, published=True)
    said = typed("store", "import", "vision_inferentia")
    assert said.startswith("vision_inferentia: 23 rows of 58 lines\n")
    again = load(root, published=True)
    assert set(again["run_id"]) == set(before["run_id"])
    assert len(again) == len(before) == 24


def test_results_hide_published_rows_unless_they_are_asked_for(typed):
    assert typed("results").endswith("published rows hidden: 23 (--published shows them)\n")
    assert "hidden" not in typed("results", "--published")
    assert "23" in typed("results", "source=published", "--sql", "select count(*) from results")
    assert len(json.loads(typed("results", "document~Analysis", "--json"))) == 23
    assert len(json.loads(typed("results", "--json"))) == 1


def test_lint_leaves_published_rows_out_unless_they_are_asked_for(typed):
    assert typed("lint").endswith("in 1 row\npublished rows hidden: 23 (--published shows them)\n")
    assert "in 24 rows" in typed("lint", "--published")
    assert "in 23 rows" in typed("lint", "source=published")


def test_a_matrix_has_published_rows_only_where_a_condition_names_them(typed):
    assert [one["model"] for one in json.loads(typed("matrix", "--json"))] == ["vit"]
    theirs = json.loads(typed("matrix", "--json", "source=published"))
    assert {"beit", "detr"} <= {one["model"] for one in theirs}


def test_published_rows_are_no_history_of_this_host(root):
    shelf = ResultsStore(root)
    theirs = set(load(root, "source=published")["environment_id"])
    assert history.fresh(shelf, theirs) == {}
    assert list(history.fresh(shelf, {"e"})) == [("x", "e", 0)]


def test_a_file_is_imported_by_what_it_looks_like_and_says_where_it_is_from(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text(TABLE, encoding="utf-8")
    folder = str(tmp_path / "results")
    about = ("--document", "A page", "--commit", "abc", "--date", "2024-01-31", "--licence", "MIT")
    assert "mine: 1 row of 1 line" in call("store", "import", str(file), *about, "--store", folder).stdout
    (row,) = load(folder, published=True).to_dict("records")
    assert (row["document"], row["document_commit"], row["document_licence"]) == ("A page", "abc", "MIT")
    assert (row["campaign"], row["model"], row["document_date"]) == (
        "published-mine",
        "roberta",
        "2024-01-31",
    )


def test_a_rejected_line_is_printed_and_the_exit_code_is_2_but_the_others_are_stored(tmp_path):
    file = tmp_path / "broken.csv"
    file.write_text(f"{TABLE}gpt2,Inf2.xlarge,fast,1\n", encoding="utf-8")
    folder = str(tmp_path / "results")
    outcome = call("store", "import", str(file), "--format", "neuron_docs", "--store", folder)
    assert outcome.exit_code == 2
    assert "rejected: broken.csv line 3: Throughput (inference/sec): 'fast' is no figure" in outcome.stdout
    assert len(load(folder, published=True)) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere is neither a file nor a shipped document: bert_scaling"),
        (["encoder_latency", "--commit", "x"], "encoder_latency describes its files itself"),
        (["{file}", "--format", "excel"], "--format excel is neither a YAML file nor one of neuron_docs"),
        (["{file}", "--date", "soon"], "--date: "),
        (["{other}"], "has no known format: name it with --format"),
        (["{yaml}"], "is no document: its _target_ must be one"),
    ],
)
def test_mistakes_are_said_in_one_line(tmp_path, arguments, reason):
    names = {"file": "a.csv", "other": "b.csv", "yaml": "c.yaml"}
    (tmp_path / "a.csv").write_text(TABLE)
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    (tmp_path / "c.yaml").write_text("_target_: benchmark.importers.neuron_docs.NeuronDocs\n")
    places = {name: str(tmp_path / file) for name, file in names.items()}
    with pytest.raises(ConfigError, match=r"\S") as outcome_text:
        call("store", "import", *(one.format(**places) for one in arguments), "--store", str(tmp_path / "s"))
    assert reason in str(outcome_text.value)
    assert "\n" not in str(outcome_text.value)


def test_rows_are_exported_for_other_programs(typed, tmp_path):
    for suffix in ("csv", "json", "parquet"):
        said = typed("store", "export", str(tmp_path / f"a.{suffix}"), "model=vit", "source=published")
        assert said == f"wrote 7 rows to {tmp_path / f'a.{suffix}'}\n"
    assert (
        pq.read_table(tmp_path / "a.parquet").schema.field("as_printed").type
        == SCHEMA.field("as_printed").type
    )
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert json.loads(lines[0]["as_printed"])["model"] == "ViT"
    assert len(json.loads((tmp_path / "a.json").read_text())) == len(lines) == 7
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_an_export_needs_a_name_that_says_its_format(typed, tmp_path):
    with pytest.raises(ConfigError, match=r"the name must end in \.csv, \.json or \.parquet"):
        typed("store", "export", str(tmp_path / "a.xlsx"))


def optimum(**backend) -> str:
    """A report of optimum-benchmark: a generation of two tokens, indented as `json.dumps(indent=4)` does."""
    latency = {"unit": "s", "values": [0.1, 0.2], "mean": 0.15}
    config = {
        "backend": {"name": "pytorch", "model": "a/b", "task": "text-generation", "device": "cpu", **backend},
        "scenario": {
            "name": "inference",
            "input_shapes": {"batch_size": 1, "sequence_length": 8},
            "generate_kwargs": {"max_new_tokens": 2},
        },
    }
    report = {"prefill": {"latency": latency}, "decode": {"latency": latency}}
    return json.dumps({"config": config, "report": report}, indent=4)


@pytest.fixture
def imported(tmp_path):
    """Write files, import each and return the last outcome."""

    def imported(*texts: str, name: str = "{}.json", options: tuple[str, ...] = ()):
        files = [tmp_path / name.format(number) for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        return call("store", "import", *map(str, files), *options, "--store", str(tmp_path / "results"))

    return imported


@pytest.mark.parametrize("name", ["{}.json", "{}.txt", "{}.csv"])
def test_json_of_any_name_and_layout_goes_to_its_own_importer(imported, tmp_path, name):
    assert imported(optimum(), json.dumps(json.loads(optimum())), name=name).exit_code == 0
    assert len(load(tmp_path / "results", published=True)) == 2


def test_a_file_of_two_formats_is_an_error(imported):
    both = "Model,Throughput (/sec),model_name,batch_size,throughput_avg,latency_ms_p50\na,1,a,1,1,1\n"
    with pytest.raises(ConfigError, match="can be read as neuron_docs and as neuronperf: choose one with"):
        imported(both, name="{}.csv")


@pytest.mark.parametrize("options", [(), ("--format", "neuron_docs")])
def test_no_row_is_never_success(imported, options):
    outcome = imported(TABLE.partition("\n")[0] + "\n", name="{}.csv", options=options)
    assert outcome.exit_code == 2
    assert "no row: correct the file, or choose its format with --format" in outcome.stdout
    assert "stored at" not in outcome.stdout


def test_configurations_that_differ_look_different_in_results(imported, tmp_path):
    quantised = {"quantization_scheme": "gptq", "quantization_config": {"bits": 2}}
    variants = [{}, quantised, {"torch_dtype": "bfloat16"}, {"attn_implementation": "sdpa"}]
    assert imported(*(optimum(**one) for one in variants)).exit_code == 0
    found = load(tmp_path / "results", published=True)
    assert found["family_id"].nunique() == len(variants)
    table = call("results", "--published", "--md", "--store", str(tmp_path / "results")).stdout.splitlines()
    assert {"quantization", "dtype", "attn_implementation"} <= {*map(str.strip, table[0].split("|"))}
    looks = {line.partition("latency")[0].rsplit("|", 7)[0] for line in table[2:]}
    assert len(looks) == len(variants)


def test_imported_rows_show_their_figures(imported, tmp_path):
    imported(optimum())
    shown = call("results", "--published", "--store", str(tmp_path / "results")).stdout
    assert " 300 " in shown, "p50 of prefill and decode"
    answer = call("best", "--published", "--json", "--store", str(tmp_path / "results"))
    assert json.loads(answer.stdout)["answers"][0]["chosen"]["latency_p95_ms"] == pytest.approx(390)

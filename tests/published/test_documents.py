"""Shipped documents become rows: how many, which figures, and the same again when they are read again."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from benchmark.analysis.lint import findings
from benchmark.errors import ConfigError
from benchmark.importers.neuron_docs import NeuronDocs
from benchmark.published import documents, printed_figures
from benchmark.store.parquet import table_of
from tests.importers import shipped

ROWS = {
    "bert_scaling": 528,
    "encoder_latency": 108,
    "inf2_performance": 178,
    "inf2_performance_2026": 166,
    "transformers_benchmarks": 19,
    "trn1_performance_2026": 78,
    "vision_inferentia": 23,
}


def only(name, **wanted):
    rows = shipped.frame(name)
    for column, value in wanted.items():
        rows = rows[rows[column].isna() if value is None else rows[column] == value]
    (row,) = rows.to_dict("records")
    return row


def test_each_document_ships():
    assert {*shipped.NAMES} == {*ROWS}


@pytest.mark.parametrize(("name", "count"), ROWS.items())
def test_every_line_of_a_document_becomes_a_row_of_its_cell(name, count):
    reading = shipped.reading(name)
    assert (len(reading.figures), reading.rejected) == (count, ())
    rows = documents.rows(shipped.document(name), reading.figures, shipped.DAY)
    assert len({row.run_id for row in rows}) == count
    table_of([rows[0].values])


@pytest.mark.parametrize("name", ROWS)
def test_importing_twice_leaves_the_same_rows(name):
    again = documents.rows(shipped.document(name), shipped.reading(name).figures, shipped.DAY)
    assert [row.run_id for row in again] == shipped.frame(name)["run_id"].tolist()


@pytest.mark.parametrize("name", ROWS)
def test_rows_say_that_they_are_published_by_whom_and_when(name):
    rows = shipped.frame(name)
    assert set(rows["source"]) == {"published"}
    assert set(rows["campaign"]) == {f"published-{name}"}
    assert set(rows["document_date"]) == set(rows["started_at"].dt.strftime("%Y-%m-%d"))
    assert rows["document"].notna().all()
    assert rows["document_licence"].notna().all()
    assert not rows["simulated"].any()


def test_every_header_of_a_line_is_kept_with_its_text():
    said = only("inf2_performance", model="sd21", image_size=768, scenario="latency", document=SD)[
        "as_printed"
    ]
    assert said["Model"] == "Stable Diffusion 2.1"
    assert said["Latency P99 (ms)"] == "5519"
    assert said["(line)"] == "4"


SD = "aws-neuron/aws-neuron-sdk general/benchmarks/inf2/latency_data_vision_sd.csv"


def test_a_p95_is_the_unrounded_one_of_the_files_behind_the_page():
    row = only("encoder_latency", model="bert", hardware="inf1", sequence_length=16)
    assert row["latency_p95_ms"] == pytest.approx(8.32735589999345)
    assert row["latency_mean_ms"] == pytest.approx(8.249276079998822)
    assert row["as_printed"]["printed latency_p95_ms"] == "8.2ms"
    assert (row["compiler"], row["fast_math"], row["task"]) == ("neuron", "all", "text-classification")


def test_a_type_that_does_not_exist_is_kept_as_printed_only():
    row = only("encoder_latency", model="bert_large", hardware="inf2", sequence_length=8)
    assert row["instance_type"] == "inf2.xlarge"
    assert row["as_printed"]["instance_type_as_printed"] == "inf2.2xlarge"


def test_a_column_that_was_not_made_of_its_file_is_of_the_earlier_one():
    row = only("encoder_latency", model="distilbert", hardware="cpu", sequence_length=512)
    assert row["latency_p95_ms"] == pytest.approx(108.14462899998034)
    assert row["as_printed"]["raw latency_p95_ms"].startswith("120.31")


def test_a_blank_cell_says_so_instead_of_having_a_figure():
    row = only("encoder_latency", model="vit", hardware="inf1")
    assert (row["status"], row["error"]) == ("unavailable", "the page leaves this cell blank")
    assert np.isnan(row["latency_p95_ms"])


def test_a_figure_that_is_printed_twice_is_one_row():
    row = only("vision_inferentia", model="vit", batch_size=3, fast_math="all")
    assert row["throughput_per_s"] == 536.718
    assert row["as_printed"]["printed throughput_per_s (again)"] == "536.18"


def test_accuracies_are_shares_with_their_interval():
    row = only("vision_inferentia", model="vit", batch_size=1, fast_math="all")
    assert (row["accuracy"], row["accuracy_n"], row["accuracy_s"]) == (0.7687, 50_000, 37)
    assert (row["accuracy_lo"], row["accuracy_hi"]) == pytest.approx((0.76498, 0.77238), abs=1e-5)
    paper = only("vision_inferentia", model="vit", hardware=None)
    assert (paper["accuracy"], paper["as_printed"]["variant"]) == (0.7791, "original paper")


def test_two_ways_to_compile_a_model_are_said_apart():
    rows = shipped.frame("vision_inferentia").query("model == 'layoutlmv3' and hardware == 'inf1'")
    assert rows["script_modules"].tolist() == [15, 15, 13, 13]
    assert list(rows["unsupported_ops"].iloc[0]) == ["aten::amax", "aten::embedding", "aten::repeat"]
    assert list(rows["compiler_flags"].iloc[2]) == ["compiler.force_operators=[aten::embedding]"]


def test_a_model_that_was_not_compiled_is_a_compile_error_in_the_documents_words():
    row = only("vision_inferentia", model="detr")
    assert (row["status"], row["error"], row["stage"]) == ("compile_error", "not compiled", "compile")


def test_what_is_known_of_a_machine_stands_in_all_its_rows():
    rows = shipped.frame("vision_inferentia").query("hardware == 'inf1'")
    assert set(rows["driver_version"]) == {"1.19.3"}
    assert rows["framework_versions"].iloc[0]["torch-neuron"] == "1.11.0.2.3.0.0"


def test_speed_ups_say_of_what_and_against_what():
    row = only("transformers_benchmarks", speedup_hi=9.1)
    assert (row["speedup_of"], row["speedup_against"], row["data_parallel"]) == (
        "throughput",
        "fp32 on 1 GPU",
        4,
    )
    row = only("transformers_benchmarks", speedup_lo=1.4, speedup_hi=1.6)
    assert (row["speedup_of"], row["compiler"], row["fast_math"]) == ("end_to_end", "tensorflow", "all")


def test_training_accuracies_have_no_interval_where_the_page_has_no_n():
    row = only("transformers_benchmarks", dataset="MRPC", data_parallel=4, fast_math="none")
    assert (row["accuracy"], row["scenario"]) == (0.827, "training")
    assert np.isnan(row["accuracy_lo"])


def test_threads_and_hyper_threading_tell_cells_of_a_cpu_apart():
    rows = shipped.frame("bert_scaling").query("threads == 16 and batch_size == 64")
    assert [said["ht"] for said in rows["as_printed"]] == ["False", "True"]
    assert rows["environment_id"].nunique() == 2


def test_tokens_are_said_from_calls():
    rows = shipped.frame("inf2_performance")
    t5 = rows[rows["model"] == "t5_3b"].iloc[0]
    assert (t5["throughput_unit"], t5["task"], t5["token_latency_p50_ms"]) == (
        "tokens",
        "text2text-generation",
        9.25,
    )
    llama = rows[rows["model"] == "Llama-3-8B"].iloc[0]
    assert (llama["output_tokens_per_s"], llama["first_token_p99_ms"]) == (144.98, 42.05)
    assert np.isnan(llama["throughput_per_s"])


def test_lint_finds_in_published_rows_what_it_finds_in_measured_ones():
    names = {one.rule for one in findings(shipped.frame(*shipped.NAMES))}
    assert names == {"identical series", "latency falls", "no difference"}


def test_lint_finds_rounded_figures_that_do_not_distinguish_two_models():
    rows = shipped.frame("encoder_latency").copy()
    rows["latency_p95_ms"] = [
        printed_figures.number(said.get("printed latency_p95_ms", "")) for said in rows["as_printed"]
    ]
    rows["latency_mean_ms"] = np.nan
    message = [one.reason for one in findings(rows) if one.rule == "identical series"]
    assert any(
        "bert cpu eager and model roberta have the same latency in 3 cells" in reason for reason in message
    )


def test_the_same_cell_with_other_figures_is_rejected(tmp_path):
    @documents.frozen
    class Twice:
        def read(self, _file):
            one = {"key": "k", "as_printed": {}}
            made = [documents.Figures(line=n, values={"latency_p50_ms": float(n)}, **one) for n in (2, 3)]
            return documents.Reading(lines=2, figures=tuple(made), rejected=())

    (tmp_path / "a.csv").touch()
    files = (str(tmp_path / "a.csv"),)
    document = documents.Document(name="n", document="d", date="2024-01-01", files=files, importer=Twice())
    reading = documents.read(document)
    assert [one.line for one in reading.figures] == [2]
    assert reading.rejected[0].reason == "differs from a.csv line 2, which has the same cell"


def test_a_document_without_its_file_or_with_a_date_that_is_none_is_refused():
    usual = {"name": "n", "document": "d", "importer": NeuronDocs()}
    with pytest.raises(ConfigError, match=r"no such file: .*missing\.csv"):
        documents.read(documents.Document(**usual, date="2024-01-01", files=("missing.csv",)))
    with pytest.raises(ValidationError, match="date"):
        documents.Document(**usual, date="2024", files=())

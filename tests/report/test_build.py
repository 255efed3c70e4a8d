from __future__ import annotations

from datetime import datetime, timezone

import pytest

from benchmark.errors import ConfigError
from tests.report.rows import frame, made, store_of

LENGTHS = {
    "name": "lengths",
    "order": "sequence_length",
    "columns": {"Length": {"value": "sequence_length", "figure": False}},
    "pivot": {
        "across": "hardware",
        "field": {"value": "latency_p95_ms", "format": "{:.1f}ms", "best": "least"},
    },
}
LISTING = {
    "name": "listing",
    "order": "usd_per_1m",
    "cost": True,
    "columns": {
        "model": {"value": "model", "figure": False},
        "p95": {"value": "latency_p95_ms", "format": "{:.1f}", "best": "least"},
        "USD": {"value": "usd_per_1m", "format": "{:$,.3f}"},
    },
}


def page(*tables, **section):
    return {"sections": [{"title": "T", "tables": list(tables), **section}]}


def table_of(document):
    return document.sections[0].tables[0]


def test_a_pivot_has_a_line_for_each_value_and_a_column_for_each_machine(tmp_path):
    store = store_of(
        tmp_path,
        {"sequence_length": 512, "latency_p95_ms": 40.0},
        {"sequence_length": 8},
        {"sequence_length": 8, "hardware": "inf2", "latency_p95_ms": 1.14},
    )
    table = table_of(made(store, page(LENGTHS)))
    assert frame(table).to_dict("records") == [
        {"Length": "8", "cpu": "12.0ms", "inf2": "1.1ms"},
        {"Length": "512", "cpu": "40.0ms", "inf2": "-"},
    ]
    assert [field.best for field in table.lines[0]] == [False, False, True]
    assert any(note == "-: not measured" for note in table.notes)


def test_a_measured_and_a_published_column_of_one_name_stay_two_and_are_said_apart(tmp_path):
    published = {"source": "published", "document": "d", "campaign": "published-d", "latency_p95_ms": 9.0}
    store = store_of(tmp_path, {"sequence_length": 8}, {"sequence_length": 8, **published})
    table = table_of(made(store, page(LENGTHS), ["measured", "published"]))
    assert [(head.text, head.origin) for head in table.heads[1:]] == [
        ("cpu", "measured"),
        ("cpu", "published"),
    ]
    assert [field.origin for field in table.lines[0][1:]] == ["measured", "published"]


def test_a_row_without_a_figure_shows_what_became_of_it(tmp_path):
    failed = {"status": "compile_error", "error": "no\nmore", "stage": "compile", "latency_p95_ms": None}
    never = {"status": "incompatible", "latency_p95_ms": None, "sequence_length": 1024}
    document = made(store_of(tmp_path, {"sequence_length": 8, **failed}, never), page(LENGTHS))
    assert [line[1].text for line in table_of(document).lines] == ["compile error", "N/A"]
    assert [field.text for field in document.failures.lines[0]][:2] == ["compile_error at compile", "no"]
    assert (
        document.findings[-1]
        == "0 of 2 configurations have results; the others: 1 compile error, 1 incompatible."
    )


def test_a_field_of_several_rows_says_so(tmp_path):
    store = store_of(tmp_path, {"sequence_length": 8}, {"sequence_length": 8, "latency_p95_ms": 14.0})
    table = table_of(made(store, page(LENGTHS)))
    assert (table.lines[0][1].text, table.lines[0][1].run_ids) == ("14.0ms", ("run00001", "run00000"))
    assert any(note.startswith("Fields with several rows") for note in table.notes)


def test_costs_are_sorted_as_numbers_and_their_basis_stands_below(tmp_path):
    rates = [(f"m{number}", per_s) for number, per_s in enumerate((10.0, 9.0, 100.0))]
    store = store_of(tmp_path, *({"model": model, "throughput_per_s": per_s} for model, per_s in rates))
    table = table_of(made(store, page(LISTING)))
    assert frame(table)["model"].tolist() == ["m2", "m0", "m1"]
    assert any("on-demand" in note and "c6i.2xlarge" in note for note in table.notes)


def test_choose_keeps_one_row_of_each_group(tmp_path):
    best = LISTING | {"choose": "row_number() over (partition by model order by throughput_per_s desc) = 1"}
    store = store_of(tmp_path, {}, {"throughput_per_s": 300.0, "batch_size": 4}, {"model": "beit"})
    assert len(table_of(made(store, page(best))).lines) == 2


def test_a_section_for_each_value_names_it_and_an_empty_one_is_left_out(tmp_path):
    sections = {
        "sections": [{"title": "`{model}`", "each": ["model"], "tables": [LISTING | {"name": "{model}"}]}]
    }
    store = store_of(tmp_path, {"model": "it's"}, {"model": "vit"})
    document = made(store, sections)
    assert [section.title[0].text for section in document.sections] == ["it's", "vit"]
    assert [section.tables[0].name for section in document.sections] == ["it-s", "vit"]
    assert not made(store, page(LISTING, where="model = 'none'")).sections


def test_a_finding_is_a_sentence_for_each_row_of_its_query(tmp_path):
    findings = [{"query": "from cells order by model", "say": "{model} takes {latency_p95_ms:.1f} ms."}]
    document = made(store_of(tmp_path, {}, {"model": "beit"}), {"findings": findings})
    assert document.findings[:2] == ("beit takes 12.0 ms.", "vit takes 12.0 ms.")


def test_a_chart_is_drawn_for_each_value_and_its_names_are_made_of_the_same_fields(tmp_path):
    chart = {
        "name": "{model}-batch-{batch_size}",
        "title": "{model}, batch {batch_size}",
        "alt": "{model} at batch {batch_size}",
        "each": ["model", "batch_size"],
        "select": {"p95": "latency_p95_ms", "threads": "threads"},
        "vega": {"mark": "point", "encoding": {"x": {"field": "threads"}, "y": {"field": "p95"}}},
    }
    store = store_of(tmp_path, *({"batch_size": batch, "threads": 2} for batch in (1, 1, 8, 8, 9)))
    (section,) = made(store, page(charts=[chart])).sections
    charts = section.charts
    assert [(one.name, one.alt.partition(".")[0]) for one in charts] == [
        ("vit-batch-1", "vit at batch 1"),
        ("vit-batch-8", "vit at batch 8"),
    ]
    assert section.sentences == ("vit, batch 9: no chart, since there is one value only.",)


def test_a_chart_carries_machine_origin_and_days_of_its_rows(tmp_path):
    chart = {
        "name": "p95",
        "title": "Title",
        "alt": "What it shows.",
        "select": {"p95": "latency_p95_ms", "threads": "threads"},
        "vega": {"mark": "point", "encoding": {"x": {"field": "threads"}, "y": {"field": "p95"}}},
    }
    days = [datetime(2026, 1, day, tzinfo=timezone.utc) for day in (3, 1)]
    names = ("inf2.xlarge", "c7i.large")
    changes = [
        {"batch_size": n, "threads": 2, "finished_at": day, "instance_type": name}
        for n, (day, name) in enumerate(zip(days, names, strict=True), 1)
    ]
    (drawn,) = made(store_of(tmp_path, *changes), page(charts=[chart])).sections[0].charts
    assert drawn.spec["title"]["subtitle"] == "c7i.large, inf2.xlarge, measured, 2026-01-01 to 2026-01-03"


def test_the_document_tells_where_its_figures_are_from_and_how_to_make_them_again(tmp_path):
    store = store_of(
        tmp_path,
        {"command": "python -m benchmark model=vit", "framework_versions": {"torch": "2.13", "x": "1"}},
    )
    document = made(store, {})
    assert document.reproduce == ("python -m benchmark model=vit", "make it again")
    assert "torch 2.13" in [field.text for field in document.provenance.lines[0]]
    assert document.rows["run_id"].tolist() == ["run00000"]


def test_a_section_that_names_no_column_is_a_mistake_that_shows_its_query(tmp_path):
    with pytest.raises(ConfigError, match="latensy"):
        made(store_of(tmp_path, {}), page(LISTING | {"where": "latensy > 1"}))

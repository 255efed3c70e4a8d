"""Every report and price YAML composes, and every report can be made of a store of any rows."""

from __future__ import annotations

import json

import pytest

from benchmark.cli import price_options, report
from benchmark.cloud import cost
from benchmark.config.folder import options
from benchmark.errors import ConfigError
from benchmark.store.results import ResultsStore

REPORTS = options("report")
PUBLISHED = options("published")


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_typed_bears_the_name_of_its_file_and_names_a_published_document(name):
    spec = report.composed(name, []).report
    assert spec.name == name
    assert spec.document in {"", *PUBLISHED}


LATER = {"inf2_performance_2026", "trn1_performance_2026"}
"""Snapshots of tables that an earlier document has: report=inf2_snapshots shows what moved."""


def test_every_published_page_has_its_report_and_an_experiment_that_measures_the_same():
    pages = set(PUBLISHED) - LATER
    assert pages <= set(REPORTS)
    assert pages <= set(options("experiment"))


@pytest.mark.parametrize("name", options("price"))
def test_a_price_yaml_is_typed_and_bears_the_name_of_its_kind(name):
    assert cost.typed(price_options.composed("price_config", [f"price={name}"])["price"]).kind == name


def test_a_price_on_the_command_line_wins_over_the_reports_own():
    assert report.composed("inf2_performance", []).basis.kind == "reserved"
    asked = report.composed("inf2_performance", ["price=on-demand", "price.as_of=2024-09-16"]).basis
    assert (asked.kind, str(asked.as_of)) == ("on-demand", "2024-09-16")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["price=cheap"], "price=cheap: there is no such price"),
        (["price.asof=2024"], "price.asof: unknown key; did you mean 'as_of'"),
        (["source=guessed"], "overview.yaml: sources.0: input should be 'measured' or 'published'"),
        (["modle=vit"], "there is no column modle: did you mean 'model'"),
    ],
)
def test_a_mistake_in_what_is_asked_names_its_key(words, message):
    with pytest.raises(ConfigError) as error:
        report.composed("overview", words)
    assert message in str(error.value)


def test_an_unknown_report_is_said_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"report=overwiev: there is no such report; did you mean 'overview'"
    ):
        report.composed("overwiev", [])


def test_a_store_without_rows_of_a_report_is_said_what_would_give_some(tmp_path):
    ResultsStore(tmp_path).prepare()
    with pytest.raises(ConfigError) as error:
        report.report("encoder_latency", store=str(tmp_path))
    assert "run experiment=encoder_latency, or store import encoder_latency and source=published" in str(
        error.value
    )


def test_reports_are_listed_with_what_they_are_for(capsys):
    report.report(as_json=True)
    assert json.loads(capsys.readouterr().out)["overview"].startswith("All rows of the store")

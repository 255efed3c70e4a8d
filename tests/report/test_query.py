from __future__ import annotations

import pytest

from benchmark.errors import ConfigError
from benchmark.store import query
from tests.report.rows import asked, store_of

PUBLISHED = {"source": "published", "document": "a page", "campaign": "published-p"}


def runs(found):
    return sorted(found.frame("select run_id from cells")["run_id"])


def test_the_newest_row_of_a_cell_counts_and_one_that_was_tried_to_the_end_goes_before(tmp_path):
    again = {"cell_id": "x", "campaign": "later"}
    store = store_of(tmp_path, {"cell_id": "x"}, again, again | {"campaign": "last", "status": "interrupted"})
    assert runs(asked(store, {})) == ["run00001"]


def test_measured_published_and_simulated_rows_mix_only_where_that_is_asked(tmp_path):
    store = store_of(tmp_path, {}, PUBLISHED, {"simulated": True})
    alone = asked(store, {})
    assert runs(alone) == ["run00000"]
    assert alone.hidden == {"published": 1, "simulated": 1}
    assert runs(asked(store, {}, ["published"])) == ["run00001"]
    both = asked(store, {}, ["measured", "published"], simulated=True)
    assert both.frame("select origin from cells order by run_id")["origin"].tolist() == [
        "measured",
        "published",
        "simulated",
    ]


def test_a_cell_that_was_measured_and_published_has_a_row_of_each(tmp_path):
    store = store_of(tmp_path, {"cell_id": "x"}, {"cell_id": "x", **PUBLISHED})
    assert len(runs(asked(store, {}, ["measured", "published"]))) == 2


def test_processes_of_a_cell_are_one_row_with_their_geometric_mean(tmp_path):
    process = [
        {"cell_id": "x", "repeat": repeat, "latency_p50_ms": ms} for repeat, ms in enumerate((8.0, 12.5))
    ]
    found = asked(store_of(tmp_path, *process), {})
    (row,) = found.records("select latency_p50_ms, processes from cells")
    assert row == {"latency_p50_ms": pytest.approx(10), "processes": 2}


def test_rows_have_their_price_and_one_without_keeps_its_place_with_a_warning(tmp_path):
    store = store_of(tmp_path, {}, {"instance_type": None})
    found = asked(store, {})
    usd = found.frame("select usd_per_hour, usd_per_1m from cells order by run_id").to_numpy()
    assert usd[0, 1] == pytest.approx(1e6 / 100 * usd[0, 0] / 3600)
    assert str(usd[1, 1]) == "<NA>" or usd[1, 1] != usd[1, 1]
    assert len(found.priced.warnings) == 1


def test_columns_and_views_stand_on_those_before_them(tmp_path):
    report = {
        "columns": {"twice": "2 * batch_size", "more": "twice + 1"},
        "views": {"big": "from cells where more > 3", "bigger": "from big where more > 5"},
    }
    found = asked(store_of(tmp_path, {}, {"batch_size": 2}, {"batch_size": 4}), report)
    assert found.frame("select more from bigger")["more"].tolist() == [9]


def test_conditions_of_the_command_line_narrow_the_rows(tmp_path):
    asks = query.expression(query.parse("batch=2"))
    assert runs(asked(store_of(tmp_path, {}, {"batch_size": 2}), {}, conditions=asks)) == ["run00001"]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"where": "modle = 'vit'"}, r"^where: .*modle"),
        ({"columns": {"x": "1 +"}}, r"^columns.x: .*syntax"),
        ({"views": {"v": "from nowhere"}}, r"^views.v: .*nowhere"),
        ({"columns": {"x": "(select content from read_text('/etc/hostname'))"}}, r"disabled"),
    ],
)
def test_a_mistake_in_a_reports_sql_names_its_key_and_files_are_out_of_reach(tmp_path, report, message):
    with pytest.raises(ConfigError, match=message):
        asked(store_of(tmp_path, {}), report)


@pytest.mark.parametrize(
    ("header", "column"),
    [("min", "latency_min_ms"), ("p50", "latency_p50_ms"), ("per_s", "throughput_per_s")],
)
def test_a_header_of_a_table_names_its_column(header, column):
    assert query.column(header) == column

"""Rows keep their places, a million of each unit costs what the book says, and tables say by which prices."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from benchmark.cli.price_options import basis, split
from benchmark.cloud.cost import PriceBasis, priced, typed
from benchmark.errors import ConfigError

ON_DEMAND = PriceBasis(kind="on-demand", region="us-east-1", as_of=None)
RESERVED = PriceBasis(kind="reserved", region="us-east-1", as_of=None)


def rows(*lines):
    names = ("instance_type", "throughput_per_s", "throughput_unit", "hardware", "hostname")
    return pd.DataFrame([(*line, "cpu", "host")[:5] for line in lines], columns=names)


def test_a_million_costs_what_the_published_page_has_for_it():
    """LayoutLMv3 at 9.329/s on inf1.2xlarge: $10.78, where the page prints $10.88."""
    found = priced(rows(("inf1.2xlarge", 9.329, "items"), ("g5.xlarge", 376.0, "images")), ON_DEMAND).frame
    assert found["usd_per_1m"].round(3).tolist() == [10.779, 0.743]
    assert found["usd_per_hour"].tolist() == [0.362, 1.006]


def test_costs_sort_as_numbers():
    found = priced(rows(*(("inf1.2xlarge", rate, "items") for rate in (9.9, 10.1, 1000.0))), ON_DEMAND).frame
    assert found.sort_values("usd_per_1m")["throughput_per_s"].tolist() == [1000.0, 10.1, 9.9]
    assert found["usd_per_1m"].dtype == float


def test_no_row_vanishes_and_the_order_stays():
    lines = rows(
        ("foo.large", 1.0, "items"),
        (None, 2.0, "items"),
        ("g5.xlarge", None, "items"),
        ("g5.xlarge", 4.0, "items"),
    ).set_index(pd.Index([7, 3, 5, 1]))
    found = priced(lines, ON_DEMAND).frame
    assert found.index.tolist() == [7, 3, 5, 1]
    assert found["usd_per_1m"].isna().tolist() == [True, True, True, False]
    assert found["usd_per_hour"].isna().tolist() == [True, True, False, False]
    assert "usd_per_1m" not in lines


def test_a_throughput_of_nothing_has_no_cost():
    assert priced(rows(("g5.xlarge", 0.0, "items")), ON_DEMAND).frame["usd_per_1m"].isna().all()


def test_each_row_says_which_price_it_was_charged():
    found = priced(rows(("inf2.xlarge", 1.0, "items"), (None, 1.0, "items")), RESERVED).frame
    first, second = found[["price_kind", "price_region", "price_published", "price_source"]].to_dict(
        "records"
    )
    assert (first["price_kind"], first["price_region"]) == ("reserved", "not stated")
    assert first["price_published"] == "2024-09-16"
    assert "inf2_instance_prices.csv" in first["price_source"]
    assert all(pd.isna(value) for value in second.values())


def test_the_basis_stands_under_the_table_with_every_price_and_its_date():
    found = priced(
        rows(("inf1.2xlarge", 1.0, "images"), ("g5.xlarge", 2.0, "images")),
        PriceBasis(kind="on-demand", region="us-east-1", as_of=date(2022, 8, 10)),
    )
    first, second = found.lines
    assert first == (
        "Cost per 1M images: on-demand, us-east-1, published by 2022-08-10, Linux; "
        "g5.xlarge $1.006/h (2022-08-10), inf1.2xlarge $0.362/h (2022-08-10)."
    )
    assert second == "The whole instance is charged, even if a run used only some of its cores or devices."
    assert found.warnings == ()


def test_the_basis_says_what_a_reserved_price_leaves_open():
    lines = priced(rows(("inf2.xlarge", 1.0, "tokens"), ("inf1.2xlarge", 1.0, "items")), RESERVED).lines
    assert lines[0].startswith("Cost per 1M inferences or tokens: reserved, us-east-1, Linux; ")
    assert "inf2.xlarge $0.328/h (2024-09-16, region not stated)" in lines[0]
    assert "states no term" in lines[1]


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        (
            "trn2.48xlarge",
            ON_DEMAND,
            "spot, us-east-2, $23.060/h (catalog v8): price=spot price.region=us-east-2",
        ),
        ("g5.xlarge", RESERVED, "on-demand, us-east-1, $1.006/h (2026-07-20): price=on-demand"),
        ("inf2.2xlarge", ON_DEMAND, "no such instance type: did you mean 'inf2.xlarge'?"),
    ],
)
def test_a_machine_without_such_a_price_is_named_with_the_nearest_that_there_is(name, chosen, message):
    (warning,) = priced(rows((name, 1.0, "items"), (name, 2.0, "items")), chosen).warnings
    assert warning.startswith(f"{name} has no price ({chosen.kind}, us-east-1), so 2 rows have no cost")
    assert message in warning


def test_the_override_that_a_warning_gives_finds_a_price():
    chosen = PriceBasis(kind="on-demand", region="us-west-2", as_of=date(2024, 1, 1))
    (warning,) = priced(rows(("inf2.xlarge", 1.0, "items")), chosen).warnings
    words = warning.rpartition("): ")[2].split()
    assert words == ["price.as_of=null"]
    again = basis(["price.region=us-west-2", *words])
    assert priced(rows(("inf2.xlarge", 1.0, "items")), again).warnings == ()


def test_machines_without_an_instance_type_are_named_once():
    lines = rows((None, 1.0, "items"), (None, 2.0, "items"), (None, None, "items"))
    (warning,) = priced(lines, ON_DEMAND).warnings
    assert warning == (
        "2 rows have no instance_type, so no cost (cpu on host): set hardware.instance_type= when you measure"
    )


def test_no_rows_have_no_basis_and_no_warning():
    found = priced(rows(), ON_DEMAND)
    assert (len(found.frame), found.lines, found.warnings) == (0, (), ())


def test_words_about_prices_are_said_from_conditions():
    assert split(["model=vit", "price=spot", "price.as_of=2024-01-01", "batch<=4"]) == (
        ["price=spot", "price.as_of=2024-01-01"],
        ["model=vit", "batch<=4"],
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ON_DEMAND),
        (["price=reserved"], RESERVED),
        (
            ["price=spot", "price.region=us-west-2", "price.as_of=2024-09-16"],
            PriceBasis(kind="spot", region="us-west-2", as_of=date(2024, 9, 16)),
        ),
    ],
)
def test_yaml_and_overrides_make_a_basis(words, found):
    assert basis(words) == found


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("price=reservd", "price=reservd: there is no such price; did you mean 'reserved'?"),
        ("price.as_off=2024-01-01", "price.as_off: unknown key; did you mean 'as_of'?"),
        ("price.kind=free", "price.kind=free: should be one of on-demand, reserved, spot"),
        (
            "price.region=us-west2",
            "price.region=us-west2: the price book has no prices there; did you mean 'us-west-2'?",
        ),
        ("price.as_of=yesterday", "price.as_of=yesterday: should be a day such as 2024-09-16, or null"),
        ("price=spot,reserved", "price=spot,reserved: write price= with one value"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_key(word, message):
    with pytest.raises(ConfigError, match=r".") as refused:
        basis([word])
    assert str(refused.value).startswith(message)


def test_a_yaml_that_lacks_a_key_is_refused():
    with pytest.raises(ConfigError, match=r"price\.as_of: is missing"):
        typed({"kind": "spot", "region": "us-east-1"})

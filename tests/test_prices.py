"""The price book answers with the newest figure, and with nothing where it has none."""

from __future__ import annotations

import pytest

from benchmark import prices
from benchmark.prices import Price, price


@pytest.mark.parametrize(
    ("instance_type", "usd_per_hour"),
    [("inf2.xlarge", 0.7582), ("c6i.2xlarge", 0.34), ("inf1.2xlarge", 0.362), ("g5.xlarge", 1.006)],
)
def test_a_price_is_that_of_the_newest_date(instance_type, usd_per_hour):
    found = price(instance_type)
    assert (found.usd_per_hour, found.published) == (usd_per_hour, "2026-07-20")


def test_a_price_that_moved_is_the_newer_one():
    assert price("p4d.24xlarge").usd_per_hour == 21.957642


def test_a_price_says_its_basis_and_where_it_is_from():
    assert price("inf2.xlarge") == Price(
        instance_type="inf2.xlarge",
        usd_per_hour=0.7582,
        kind="on-demand",
        region="us-east-1",
        published="2026-07-20",
        source="aws/karpenter-provider-aws pkg/providers/pricing/zz_generated.pricing_aws.go "
        "1d927085dd81a9df9301e613f371dac5b4d16bfe",
    )


def test_kinds_and_regions_are_never_mixed():
    assert price("inf1.2xlarge", kind="RI-effective").usd_per_hour == 0.174
    assert price("inf2.8xlarge", region="us-west-2").usd_per_hour == 1.96786
    assert price("trn2.48xlarge") is None
    assert price("trn2.48xlarge", kind="spot", region="us-east-2").published == "catalog v8"


def test_what_the_book_does_not_have_has_no_price():
    assert price("inf2.2xlarge") is None
    assert price("inf2.xlarge", region="eu-west-1") is None
    assert price("inf2.xlarge", kind="reserved") is None


def test_a_price_without_a_date_is_older_than_every_dated_one(tmp_path, monkeypatch):
    book = tmp_path / "prices.csv"
    head = "instance_type,region,kind,os,usd_per_hour,published,source_repo,source_path,commit\n"
    lines = ["1.5,2022-08-10", "2.5,catalog v8", "3.5,2021-2022 (not stated)"]
    book.write_text(head + "".join(f"x1.large,us-east-1,on-demand,linux,{line},r,p,c\n" for line in lines))
    monkeypatch.setattr(prices, "_BOOK", book)
    prices._newest.cache_clear()
    try:
        assert price("x1.large").usd_per_hour == 1.5
    finally:
        prices._newest.cache_clear()

"""The price book answers with the newest figure, and with nothing where it has none."""

from __future__ import annotations

from datetime import date

import pytest

from benchmark.cloud import prices
from benchmark.cloud.prices import Price, nearest, price

HEAD = "instance_type,region,kind,os,usd_per_hour,published,source_repo,source_path,commit\n"


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of one's own: each line is region, kind, price and date of x1.large."""

    def book(*lines):
        file = tmp_path / "prices.csv"
        message = [f"x1.large,{region},{kind},linux,{usd},{day},r,p,c\n" for region, kind, usd, day in lines]
        file.write_text(HEAD + "".join(message), encoding="utf-8")
        monkeypatch.setattr(prices, "BOOK", file)
        prices._book.cache_clear()

    yield book
    prices._book.cache_clear()


@pytest.mark.parametrize(
    ("instance_type", "usd_per_hour"),
    [("inf2.xlarge", 0.7582), ("c6i.2xlarge", 0.34), ("inf1.2xlarge", 0.362), ("g5.xlarge", 1.006)],
)
def test_a_price_is_that_of_the_newest_date(instance_type, usd_per_hour):
    found = price(instance_type)
    assert (found.usd_per_hour, found.published) == (usd_per_hour, "2026-07-20")


def test_a_price_that_moved_is_the_newer_one_or_that_of_the_day_asked_for():
    assert price("p4d.24xlarge").usd_per_hour == 21.957642
    assert price("p4d.24xlarge", as_of=date(2026, 7, 19)).usd_per_hour == 32.7726
    assert price("p4d.24xlarge", as_of=date(2026, 7, 20)).usd_per_hour == 21.957642
    assert price("p4d.24xlarge", as_of=date(2022, 1, 1)) is None


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
    assert price("inf1.2xlarge", "reserved").usd_per_hour == 0.174
    assert price("inf2.8xlarge", region="us-west-2").usd_per_hour == 1.96786
    assert price("trn2.48xlarge") is None
    assert price("trn2.48xlarge", "spot", "us-east-2").published == "catalog v8"


def test_what_the_book_does_not_have_has_no_price():
    assert price("inf2.2xlarge") is None
    assert price("inf2.xlarge", region="eu-west-1") is None
    assert price("g5.xlarge", "reserved") is None


def test_a_reserved_price_of_no_stated_region_answers_for_us_east_1_alone_and_says_so():
    found = price("inf2.xlarge", "reserved")
    assert (found.usd_per_hour, found.region, found.published) == (0.328, "not stated", "2024-09-16")
    assert price("inf1.2xlarge", "reserved").region == "us-east-1"
    assert price("inf2.xlarge", "reserved", "us-west-2") is None


def test_a_price_without_a_date_is_older_than_every_dated_one(book):
    book(
        ("us-east-1", "on-demand", 1.5, "2022-08-10"),
        ("us-east-1", "on-demand", 2.5, "catalog v8"),
        ("us-east-1", "on-demand", 3.5, "2021-2022 (not stated)"),
    )
    assert price("x1.large").usd_per_hour == 1.5


def test_a_price_without_a_date_answers_no_question_about_a_day(book):
    book(("us-west-2", "on-demand", 2.5, "catalog v8"))
    assert price("x1.large", region="us-west-2").usd_per_hour == 2.5
    assert price("x1.large", region="us-west-2", as_of=date(2026, 1, 1)) is None


def test_a_stated_region_goes_before_a_newer_price_that_only_lets_one_guess(book):
    book(
        ("us-east-1", "on-demand", 1.5, "2022-08-10"),
        ("us-east-1? (not stated)", "on-demand", 9.5, "2023-08-10"),
    )
    assert price("x1.large").usd_per_hour == 1.5
    assert price("x1.large", region="us-east-2") is None


def test_the_nearest_price_differs_in_as_little_as_possible(book):
    book(
        ("us-east-2", "on-demand", 1.5, "2022-08-10"),
        ("us-east-1", "spot", 0.5, "2023-08-10"),
        ("us-east-1", "on-demand", 3.5, "2024-08-10"),
        ("us-east-1", "on-demand", 4.5, "2025-08-10"),
    )
    assert nearest("x1.large", "on-demand", "us-east-1", date(2020, 1, 1)).usd_per_hour == 3.5
    assert nearest("x1.large", "on-demand", "us-west-2").kind == "on-demand"
    assert nearest("x1.large", "reserved", "us-east-1").usd_per_hour == 4.5
    assert nearest("x2.large", "on-demand", "us-east-1") is None


def test_every_region_of_the_book_can_be_asked_for():
    assert prices.regions() == ("ap-southeast-4", "us-east-1", "us-east-2", "us-west-2")

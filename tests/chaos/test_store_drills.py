"""Short versions of the drills of stores and caches; by hand they are longer."""

from __future__ import annotations

import pytest

from tests.chaos import bit_flips, bucket_crowd, crowd


def test_no_flipped_bit_is_read_as_another_value(tmp_path):
    outcomes, misread = bit_flips.drill(80, 1, tmp_path)
    assert misread == []
    assert outcomes["noticed"] > outcomes["harmless"] > 0


@pytest.mark.chaos
def test_writers_compactors_and_readers_at_once_lose_nothing_though_some_are_killed(tmp_path):
    killed, rows, wrong = crowd.drill(3, 15, 4, 1, tmp_path)
    assert wrong == []
    assert (rows, killed.total()) == (45, 4)


@pytest.mark.chaos
def test_hosts_that_share_a_bucket_lose_nothing_though_some_are_killed(tmp_path, bucket):
    found = bucket_crowd.drill(2, 12, 3, 1, tmp_path, f"{bucket}/team/results")
    assert found["wrong"] == []
    assert (found["rows"], found["missing"], found["unreadable objects"]) == (24, 0, 0)

"""The peak of a CPU: which products count, and when the host was too busy."""

from __future__ import annotations

import pytest

from benchmark.errors import Unavailable

pytestmark = pytest.mark.real

MIDDLE, LARGE = 256, 512


@pytest.fixture
def rates(monkeypatch):
    """Measure products whose times and cores are given by size."""
    import torch

    from benchmark.timing import torch_peak

    monkeypatch.setattr(torch_peak, "_LARGEST", LARGE)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    before = torch.get_float32_matmul_precision()

    def measured(cores_of_large):
        by_size = [(4e-5, 1.0), (2e-4, 1.0), (2e-2, cores_of_large)]
        ways = iter(3 * by_size)
        monkeypatch.setattr(torch_peak, "_fastest", lambda *_: next(ways))
        return torch_peak._product_rates("cpu", "bf16", seconds=60)

    yield measured
    torch.set_float32_matmul_precision(before)


def test_a_small_product_on_one_thread_may_be_the_fastest_of_a_quiet_host(rates):
    assert rates(cores_of_large=1.9)["fp32"] == 2 * MIDDLE**3 / 2e-4


def test_a_large_product_that_lacked_a_core_was_disturbed(rates):
    with pytest.raises(Unavailable, match=r"too busy .*2 threads got 60 % of their cores"):
        rates(cores_of_large=1.2)

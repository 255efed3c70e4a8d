"""The second inputs differ from the first in whatever could be dropped unseen."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.real


def test_masks_hide_another_quarter_each_and_constants_vary():
    import torch

    from benchmark.models.composite import unlike

    ones, picture = torch.ones(2, 8, dtype=torch.int64), torch.zeros(1, 1, 2, 2)
    picture[..., :1] = 1.0
    first = {"mask": ones, "other_mask": ones, "start": torch.full((2, 1), 7), "area": picture}
    second = unlike(first, first)
    assert second["mask"].tolist() == [[1] * 6 + [0] * 2] * 2
    assert second["other_mask"].tolist() == [[1] * 4 + [0] * 4] * 2
    assert second["start"].tolist() == [[6], [6]]
    assert second["area"].tolist() == picture.flip(-1).tolist()


def test_numbers_are_shifted_up_and_down_by_item_and_drawn_tokens_stay():
    import torch

    from benchmark.models.composite import unlike

    first = {"pixels": torch.full((2, 2), 2.0), "ids": torch.tensor([[5, 6]])}
    drawn = {"pixels": torch.full((2, 2), 4.0), "ids": torch.tensor([[7, 8]])}
    second = unlike(first, drawn)
    assert second["pixels"].tolist() == [[3.0, 3.0], [1.0, 1.0]]
    assert second["ids"].tolist() == [[7, 8]]

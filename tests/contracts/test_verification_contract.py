"""What the check of answers sees: models that are broken on purpose, block by block.

A sample: `python -m tests.benchmarks.mutations` breaks every twin.
"""

from __future__ import annotations

import pytest

from tests.benchmarks import mutations

pytestmark = pytest.mark.real

SAMPLE = ("vit_tiny", "t5_tiny", "xlnet_tiny", *mutations.OURS)


def broken_models():
    """In a child: every mutation of the sample; then of those made here, without drawn weights."""
    found = [one for name in SAMPLE for one in mutations.try_one(name)]
    with mutations.undrawn_weights():
        return found, [one for name in mutations.OURS for one in mutations.try_one(name)]


@pytest.fixture(scope="module")
def broken(in_a_child):
    """Every mutation of the sample, with drawn weights and without."""
    return in_a_child(broken_models)


def test_what_is_right_is_accepted(broken):
    assert {one.model for one in broken[0] if one.mutation.kind == "unbroken"} == {*SAMPLE}
    assert [one for one in broken[0] if one.mutation.kind == "unbroken" and one.refusal] == []


def test_what_is_broken_is_refused_or_has_a_reason(broken):
    unseen = [one for one in broken[0] if one.mutation.kind != "unbroken" and one.refusal is None]
    assert [one for one in unseen if mutations.explanation(one) is None] == []
    assert {one.mutation.kind for one in broken[0] if one.refusal} == {*mutations.COLUMNS}


@pytest.mark.parametrize("model", mutations.OURS)
def test_one_cosine_did_not_see_it(broken, model):
    """Undrawn weights and the cosine: the check that this one replaces."""
    blocks = [one for one in broken[1] if one.model == model and one.mutation.kind in mutations.MATRICES]
    assert any(one.quality.cosine >= 0.9999 for one in blocks)

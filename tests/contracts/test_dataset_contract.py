"""What every data set of conf/dataset promises; those that are on this host are read."""

from __future__ import annotations

import pytest

from benchmark.protocols import Dataset
from tests.plugins import CONF

NAMES = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
KNOWN = {
    "bbc": (557, 1668, 5),
    "digits": (450, 1347, 10),
    "mnist": (1000, 4000, 10),
    "newsgroups": (7528, 11293, 20),
    "reuters": (2189, 5485, 8),
    "movies": (5036, 5036, 2),
}
"""Items to answer, items to fit on and classes of those that come as packages. Of newsgroups and Reuters as
Cardoso-Cachopo (2007) counts them."""


@pytest.fixture(params=NAMES)
def dataset(compose, request):
    return compose(f"dataset={request.param}").dataset


def test_a_data_set_fits_its_seam_and_bears_the_name_of_its_yaml(dataset):
    assert isinstance(dataset, Dataset)
    assert dataset.name in NAMES
    assert dataset.digest() == dataset.digest()


def test_a_data_set_that_is_not_here_says_what_to_do(dataset):
    if missing := dataset.missing():
        assert missing.startswith(f"dataset={dataset.name}: ")
        assert "pip " in missing or "give another path" in missing


@pytest.mark.parametrize("name", KNOWN)
def test_a_packaged_data_set_has_the_known_items(compose, name):
    pytest.importorskip("sklearn", reason="scikit-learn divides items")
    dataset = compose(f"dataset={name}").dataset
    if missing := dataset.missing():
        pytest.skip(missing)
    test, train = dataset.items("test"), dataset.items("train")
    assert (len(test.items), len(train.items), len(test.classes)) == KNOWN[name]
    assert test.classes == train.classes
    assert len({item.id for item in (*test.items, *train.items)}) >= len(train.items)

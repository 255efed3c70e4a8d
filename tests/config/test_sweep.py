"""From the overrides of a command to its experiments: YAML's algebra, what is excluded, what is refused."""

from __future__ import annotations

import pytest

from benchmark.config.sweep import compose_grid
from benchmark.errors import ConfigError

SIMULATED = "hardware=simulated"


def sizes(*arguments):
    return [(e.batch, e.seq_len) for e in compose_grid([SIMULATED, *arguments]).experiments]


def test_pairs_are_zipped_and_take_lists_or_sweeps():
    expected = [(1, 512), (2, 256), (3, 128)]
    assert sizes("pair=[{batch:[1,2,3],seq_len:[512,256,128]}]") == expected
    assert sizes("pair=[{batch:'range(1,4)',seq_len:'512,256,128'}]") == expected


def test_single_cells_may_be_added_on_the_command_line():
    assert sizes("batch=1,2", "include=[{batch:64,seq_len:8}]") == [(1, 128), (2, 128)]
    assert sizes("seq_len=8,16", "include=[{batch:64,seq_len:8}]")[-1] == (64, 8)


def test_an_entry_of_include_may_be_a_small_grid():
    four = [(1, 8), (1, 9), (64, 8), (64, 9)]
    assert sizes("include=[{batch:'choice(1,64)',seq_len:'range(8,10)'}]") == four


def test_what_is_excluded_is_said_with_its_reason():
    laid = compose_grid([SIMULATED, "batch=1,64", "exclude=[{batch:'>32',reason:too slow}]"])
    assert [e.batch for e in laid.experiments] == [1]
    (excluded,) = laid.excluded
    assert (excluded.overrides, excluded.reason) == (
        (SIMULATED, "batch=64", *excluded.overrides[2:]),
        "too slow",
    )


def test_conditions_see_what_is_chosen_by_default():
    arguments = ["hardware=simulated,inf2", "exclude=[{compiler:neuronx}]"]
    (experiment,) = compose_grid(arguments).experiments
    assert experiment.hardware.name == "simulated"


def test_single_cells_are_not_excluded():
    assert sizes("batch=1,2", "include=[{seq_len:8}]", "exclude=[{seq_len:'<100'}]")[-1] == (2, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exclude=[{bacth:1}]"], r"^exclude\[0\]\.bacth: no cell has this key; did you mean 'batch'\?"),
        (["exclude=[{batch:1}]"], r"^the grid has no cell: exclude removes all \(batch=1\)"),
        (["pair=[{batch:[1,2],seq_len:[8]}]"], r"^pair\[0\]: zipped columns .* have: batch 2, seq_len 1"),
        (["pair=[3]"], r"^pair\[0\]: should be columns such as "),
        (["include=[3]"], r"^include\[0\]: should be one cell such as "),
        (["include=[{batch:'choice(1,,2)'}]"], r"^include\[0\]: batch=choice\(1,,2\) can't be read"),
        (["pair=[{batch:'1,['}]"], r"^pair\[0\]: batch=1,\[ can't be read"),
        (["batch=interval(1,2)"], r"^batch=interval\(1,2\): a grid needs single values"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_place(arguments, message):
    with pytest.raises(ConfigError, match=message):
        compose_grid([SIMULATED, *arguments])


def test_texts_of_yaml_are_meant_as_they_stand():
    laid = compose_grid([SIMULATED, "include=[{weights:'a=b, c'},{weights:'1'},{weights:\"it's\"}]"])
    assert [e.weights for e in laid.experiments] == ["a=b, c", "1", "it's"]

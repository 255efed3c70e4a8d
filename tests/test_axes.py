"""One table of axes: it agrees with the schema and with the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmark import axes
from benchmark.records import Shape
from benchmark.store.schema import SCHEMA

CONF = yaml.safe_load((Path(__file__).parents[1] / "conf/config.yaml").read_text(encoding="utf-8"))
GROUPS = {name for line in CONF["defaults"] if isinstance(line, dict) for name in line}


@pytest.mark.parametrize("axis", axes.AXES, ids=axes.COLUMNS)
def test_an_axis_is_a_column_of_the_schema_in_its_unit(axis):
    assert SCHEMA.field(axis.column).metadata[b"unit"].decode() == axis.unit


@pytest.mark.parametrize("axis", [axis for axis in axes.AXES if axis.key], ids=str)
def test_an_axis_is_set_by_a_key_of_the_configuration(axis):
    assert axis.key.partition(".")[0] in {*CONF, *GROUPS}


def test_a_size_is_a_field_of_a_shape():
    assert tuple(Shape.__dataclass_fields__) == axes.SIZES


def test_a_label_leaves_out_what_is_unknown():
    assert (
        axes.label({"model": "bert", "batch_size": 8, "sequence_length": None, "steps": 20})
        == "bert b8 steps20"
    )

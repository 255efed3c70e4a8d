"""The folder conf/ and its YAMLs."""

from __future__ import annotations

import pytest

from benchmark.config.folder import CONF, file_of, first_comment, load_object, options, read
from benchmark.errors import ConfigError
from benchmark.tasks.fill_mask import FillMask


def test_names_of_a_group_are_sorted_and_each_has_its_file():
    assert options("price") == ["on-demand", "reserved", "spot"]
    assert all(file_of("price", name).is_relative_to(CONF) for name in options("price"))


def test_the_first_comment_says_what_a_yaml_is_for():
    assert not first_comment("report", "overview").startswith("#")


def test_an_object_is_made_of_the_class_that_a_yaml_names():
    assert isinstance(load_object(file_of("task", "fill_mask"), FillMask), FillMask)
    assert read(file_of("task", "fill_mask"))["_target_"] == "benchmark.tasks.fill_mask.FillMask"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("_target_: benchmark.tasks.fill_mask.FillMsk\n", "FillMsk"),
        ("_target_: benchmark.tasks.fill_mask.FillMask\nlenght: 1\n", "lenght: Unexpected keyword argument"),
        ("_target_: benchmark.errors.ConfigError\n", "is no fillmask: its _target_ must be one"),
        ("a: [1\n", "while parsing"),
    ],
)
def test_a_yaml_that_describes_no_such_object_is_refused_by_its_path(tmp_path, text, reason):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=reason) as refused:
        load_object(file, FillMask)
    assert str(refused.value).startswith(str(file))

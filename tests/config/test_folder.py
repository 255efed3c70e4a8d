"""The folder conf/ and its YAMLs."""

from __future__ import annotations

import hydra
import pytest

from benchmark.config.folder import (
    CONF,
    file_of,
    first_comment,
    load_object,
    options,
    read,
    read_from,
    search_path,
)
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
        (
            "_target_: benchmark.tasks.image_classification.ImageClassification\n",
            "is no fillmask: its _target_ ",
        ),
        ("_target_: benchmark.errors.ConfigError\n", "is no registered plug-in"),
        ("a: [1\n", "while parsing"),
    ],
)
def test_a_yaml_that_describes_no_such_object_is_refused_by_its_path(tmp_path, text, reason):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=reason) as refused:
        load_object(file, FillMask)
    assert str(refused.value).startswith(str(file))


def test_the_yaml_that_hydra_reads_is_that_of_the_first_folder_of_its_search_path(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("name: mine\n")
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        words = [f"hydra.searchpath=[file://{tmp_path}]"]
        composed = hydra.compose("config", overrides=words, return_hydra_config=True)
    folders = search_path(composed.hydra)
    assert read_from(folders, "model", "mine") == tmp_path / "model" / "mine.yaml"
    assert read_from(folders, "model", "bert_tiny") == file_of("model", "bert_tiny")

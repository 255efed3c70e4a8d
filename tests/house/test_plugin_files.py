"""A plug-in is one file and one YAML that agree: in their names, and in every knob."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from benchmark.config.experiment import ProcessLimits, Verify
from benchmark.records import Sampling

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
FOLDERS = {
    "compiler": "compilers",
    "dataset": "datasets",
    "hardware": "devices",
    "importer": "importers",
    "scenario": "scenarios",
    "task": "tasks",
}
"""Where the YAMLs of a group find their classes."""
SAME_STEM = ["compiler", "importer", "scenario", "task"]
"""Groups whose YAMLs are named as their files are; a device and a format of data have several YAMLs."""


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def stems(folder):
    return {path.stem for path in folder.iterdir() if path.suffix in {".py", ".yaml"}} - {"__init__"}


def knobs(group):
    """File and plug-in mapping of every YAML that names a class for `group`."""
    files = [(path, read(path)) for path in sorted((CONF / group).glob("*.yaml"))]
    named = ((path, raw) for path, raw in files if "_target_" in raw or "defaults" not in raw)
    return [(path, {key: value for key, value in raw.items() if key != "defaults"}) for path, raw in named]


def kind(raw):
    module, _, name = raw["_target_"].rpartition(".")
    return getattr(import_module(module), name)


EVERY_YAML = [
    pytest.param(group, raw, id=f"{group}-{path.stem}") for group in FOLDERS for path, raw in knobs(group)
]


@pytest.mark.parametrize("group", SAME_STEM)
def test_a_file_has_a_yaml_of_its_stem_and_a_yaml_a_file(group):
    assert stems(CONF / group) == stems(ROOT / "benchmark" / FOLDERS[group])
    for path, raw in knobs(group):
        assert raw["_target_"].rpartition(".")[0] == f"benchmark.{FOLDERS[group]}.{path.stem}"


@pytest.mark.parametrize("group", FOLDERS)
def test_every_file_is_named_by_a_yaml(group):
    named = {raw["_target_"].rpartition(".")[0] for _, raw in knobs(group)}
    folder = FOLDERS[group]
    assert named == {f"benchmark.{folder}.{stem}" for stem in stems(ROOT / "benchmark" / folder)}


@pytest.mark.parametrize(("group", "raw"), EVERY_YAML)
def test_a_yaml_shows_every_knob_of_its_class_and_no_other(group, raw):
    assert set(raw) - {"_target_"} == {field.name for field in fields(kind(raw))}


@pytest.mark.parametrize("group", ["compiler", "scenario"])
def test_a_plugin_bears_the_name_of_its_file(group):
    for path, raw in knobs(group):
        assert kind(raw).name == path.stem


def test_a_task_bears_the_name_of_its_file_as_hugging_face_spells_it():
    for path, raw in knobs("task"):
        assert kind(raw).name.replace("-", "_") == path.stem


def test_a_model_chooses_a_task_that_it_has_and_that_there_is():
    tasks = stems(CONF / "task")
    for path in (CONF / "model").glob("*.yaml"):
        model = read(path)
        (chosen,) = (line["override /task@_global_.task"] for line in model["defaults"])
        assert chosen in model["parameters"], path.stem
        assert set(model["parameters"]) <= tasks, path.stem


@pytest.mark.parametrize("group", ["model", "hardware"])
def test_a_yaml_with_a_name_bears_that_of_its_file(group):
    for path in (CONF / group).glob("*.yaml"):
        assert read(path)["name"] == path.stem


@pytest.mark.parametrize("path", sorted((CONF / "sampling").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sampling_yaml_shows_every_knob(path):
    assert set(read(path)) == {field.name for field in fields(Sampling)}


@pytest.mark.parametrize(("section", "typed"), [("verify", Verify), ("limits", ProcessLimits)])
def test_a_section_of_the_main_yaml_shows_every_knob(section, typed):
    assert set(read(CONF / "config.yaml")[section]) == {field.name for field in fields(typed)}


@pytest.mark.parametrize(
    "path", sorted(CONF.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_yaml_begins_by_saying_what_it_is_for(path):
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_shows_its_command(path):
    assert path.read_text(encoding="utf-8").splitlines()[:2] == [
        "# @package _global_",
        f"# python -m benchmark experiment={path.stem}",
    ]

"""YAMLs of others: of installed packages, and of the working folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.config.folder import CONF

MODEL = (CONF / "model" / "bert_tiny.yaml").read_text(encoding="utf-8")
COMPILER = """\
# A compiler of a package.
_target_: their_package.Theirs
call_ms: 3.0
"""
PYTHON = """\
from typing import ClassVar

from benchmark.compilers.simulated import Simulated
from benchmark.records import frozen


@frozen
class Theirs(Simulated):
    name: ClassVar[str] = "theirs"
"""
KEYS = (
    "its keys are searchpath, a list of folders laid out as conf/ is, and plugins, a list of modules whose "
    "classes a YAML may name"
)
GRID = ("hardware=simulated", "sampling=quick", "sampling.repeats=1", "campaign=others")


@pytest.fixture
def package(tmp_path):
    """A package with a model and a compiler, as pip leaves it; returns the folder for PYTHONPATH."""
    site = tmp_path / "site"
    for place, text in {
        "their_package/__init__.py": PYTHON,
        "their_package/conf/model/their_model.yaml": MODEL.replace("bert_tiny", "their_model"),
        "their_package/conf/compiler/theirs.yaml": COMPILER,
        "theirs-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n",
        "theirs-1.0.dist-info/entry_points.txt": "[benchmark.conf]\nours = their_package.conf\n",
    }.items():
        file = site / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return site


def path(folder):
    return os.pathsep.join([str(folder), str(Path(CONF).parent), str(Path(CONF).parent / "benchmark")])


@pytest.fixture
def run(command, package):
    """Run a command that sees the package."""
    return lambda *words: command(*words, env={"PYTHONPATH": path(package)})


@pytest.mark.commands
def test_a_model_and_a_compiler_of_an_installed_package_run(run):
    ran = run("model=their_model", "compiler=theirs", *GRID)
    assert ran.returncode == 0, ran.stderr
    assert "their_model simulated theirs none b1 s128: ok p50 3.50 ms" in ran.stdout


@pytest.mark.commands
def test_verbs_know_them_too(run):
    ran = run("plan", "model=their_model", "compiler=theirs", *GRID)
    assert ran.returncode == 0, ran.stderr
    assert "their_model" in ran.stdout


@pytest.mark.commands
def test_a_package_that_cannot_be_imported_is_named(run, package):
    (package / "their_package" / "__init__.py").write_text("import no_such_module")
    ran = run("model=bert_tiny", *GRID)
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: the entry point ours of theirs names their_package.conf, which can't be imported "
        "(ModuleNotFoundError: No module named 'no_such_module'): mend or uninstall theirs\n"
    )


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "conf" / "model"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(MODEL.replace("bert_tiny", "mine"))
    (tmp_path / "benchmark.yaml").write_text("searchpath: [conf]\n")
    return folder


@pytest.mark.commands
def test_the_working_folder_names_its_own(command, own):
    ran = command("model=mine", "compiler=simulated", *GRID)
    assert ran.returncode == 0, ran.stderr
    assert "mine simulated simulated none b1 s128: ok" in ran.stdout


@pytest.mark.commands
def test_a_name_of_ours_is_reported(command, own):
    (own / "bert.yaml").write_text(MODEL)
    ran = command("plan", "model=bert", *GRID)
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line == (
        f"warning: {own / 'bert.yaml'} (benchmark.yaml) is not used: model=bert is a name of this program; "
        "give it another name"
    )


@pytest.mark.commands
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("searchpath: [nowhere]", "searchpath: {}/nowhere is no folder"),
        ("searchpath: conf", "searchpath: write a list: [conf]"),
        ("folders: [conf]", KEYS),
    ],
)
def test_a_mistake_in_benchmark_yaml_is_one_line(command, own, tmp_path, text, words):
    (tmp_path / "benchmark.yaml").write_text(text)
    ran = command("plan", "model=mine", *GRID)
    assert (ran.returncode, ran.stderr) == (
        1,
        f"error: {tmp_path / 'benchmark.yaml'}: {words.format(tmp_path)}\n",
    )


@pytest.fixture
def module(own, tmp_path):
    """A compiler in a module of the working folder, and its YAML."""
    (tmp_path / "their_package.py").write_text(PYTHON)
    (own.parent / "compiler").mkdir()
    (own.parent / "compiler" / "theirs.yaml").write_text(COMPILER)
    return tmp_path / "benchmark.yaml"


@pytest.mark.commands
def test_a_module_of_the_working_folder_is_used_where_benchmark_yaml_registers_it(command, module):
    module.write_text("searchpath: [conf]\nplugins: [their_package]\n")
    ran = command("model=mine", "compiler=theirs", *GRID, env={"PYTHONPATH": path(module.parent)})
    assert ran.returncode == 0, ran.stderr
    assert "mine simulated theirs none b1 s128: ok p50 3.50 ms" in ran.stdout


@pytest.mark.commands
def test_a_module_that_is_not_registered_is_not_imported(command, module, tmp_path):
    (tmp_path / "their_package.py").write_text("open('imported', 'w')")
    ran = command("plan", "model=mine", "compiler=theirs", *GRID, env={"PYTHONPATH": path(tmp_path)})
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: compiler._target_=their_package.Theirs: is no registered plug-in: if the code is yours, "
        "write `plugins: [their_package]` into benchmark.yaml in this folder\n"
    )
    assert not (tmp_path / "imported").exists()


@pytest.mark.commands
def test_a_class_that_is_typed_on_the_command_line_is_used(command, module, tmp_path):
    ran = command("plan", "compiler._target_=their_package.Theirs", *GRID, env={"PYTHONPATH": path(tmp_path)})
    assert ran.returncode == 0, ran.stderr
    assert "theirs" in ran.stdout

"""`compare --git`: two commits of a repository, measured in turns on the simulated device."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmark.cli import git_builds

ROOT = Path(__file__).parents[2]
CELL = ("--cell", "hardware=simulated compiler=simulated")
SHORT = ("--pairs", "3", "--turns", "3", "--calls", "5")
SLOWER = """

_honest = Simulated.load


def _slower(self, workload, folder):
    session = _honest(self, workload, folder)
    return dataclasses.replace(session, clock=lambda: 11 * session.clock() // 10)


Simulated.load = _slower
"""


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Three commits of this program: as it is, the same with another comment, and 10 % slower."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("repository")
    for name in ("benchmark", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    simulated = folder / "benchmark" / "compilers" / "simulated.py"
    honest = simulated.read_text(encoding="utf-8")
    git(folder, "init", "-q")
    for name, text in {
        "honest": honest,
        "same": honest + "# the same\n",
        "slower": honest.replace("import ctypes\n", "import ctypes\nimport dataclasses\n", 1) + SLOWER,
    }.items():
        simulated.write_text(text, encoding="utf-8")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", name)
        git(folder, "tag", name)
    return folder


@pytest.fixture
def compare(repository, command_server, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "builds"

    def ran(*words):
        everything = {**os.environ, "NO_COLOR": "1", "XDG_CACHE_HOME": str(cache), "COLUMNS": "200"}
        return command_server.run(["compare", *words], repository, everything, 120)

    return ran


def test_a_slow_down_between_two_commits_is_exit_code_3(compare):
    ran = compare("--git", "honest", "slower", *CELL, *SHORT)
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert "(slower)" in ran.stdout
    assert "slower" in ran.stdout.splitlines()[-1]


def test_a_commit_that_changes_no_speed_is_not_slower(compare):
    ran = compare("--git", "honest", "same", *CELL, *SHORT)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--git", "honest", "nowhere"), "--git nowhere: no such commit here"),
        (("--git", "honest", "--evil"), ""),
        (("honest", "slower", "--cell", "batch=1"), "--cell is for --git"),
    ],
)
def test_a_mistake_is_one_line(compare, words, message):
    ran = compare(*words)
    assert ran.returncode == 1
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_folder_without_a_repository_is_named(command, monkeypatch, tmp_path):
    ran = command("compare", "--git", "a", "b", env={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    assert (ran.returncode, ran.stderr.splitlines()[0][:13]) == (1, "error: --git:")


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("constraints.txt", "ruff==", "ruff==9.", True),  # what only developers install
        ("constraints.txt", "torch==", "torch==9.", False),
        ("constraints.txt", "openvino==", "openvino==9.", False),
        ("pyproject.toml", "pyarrow>=", "pyarrow>=9.", False),
        ("pyproject.toml", "onnxscript>=", "onnxscript>=9.", False),
        ("pyproject.toml", "line-length = ", "line-length = 1", True),
    ],
)
def test_a_commit_borrows_our_libraries_where_it_depends_on_the_same(tmp_path, file, old, new, same):
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    assert (git_builds.depends_on(tmp_path) == git_builds.depends_on(ROOT)) is same

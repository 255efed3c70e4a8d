"""What a cluster refuses, one line each with the mend: another token, another version, a host without Ray."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytestmark = pytest.mark.chaos
ROOT = Path(__file__).parents[2]
GRID = ("-m", "hydra/launcher=ray", "hardware=simulated", "batch=1,2", "campaign=test")


@pytest.fixture
def refused(ended, tmp_path):
    """The line of a command that is refused; it leaves no row."""

    def run(**environment):
        ran = ended(*GRID, **environment)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        assert not (tmp_path / "outputs" / "results").exists()
        return [line for line in ran.stderr.splitlines() if line.startswith("error:")]

    return run


def test_another_token_is_one_line_without_its_value(refused, tokens):
    (line,) = refused(RAY_AUTH_TOKEN_PATH=str(tokens / "wrong"))
    assert "the head refuses this command, most likely for its token: give this command the token" in line
    assert "0123456789" not in line


def test_no_token_is_one_line(refused, tmp_path):
    (line,) = refused(RAY_AUTH_TOKEN_PATH=str(tmp_path / "none"))
    assert "RAY_AUTH_TOKEN_PATH=" in line


def test_another_version_is_refused_with_both_named(refused, tmp_path):
    """The command's own: a copy that differs from the nodes' in one line of code."""
    other = tmp_path / "other"  # not the working folder, which Ray adds to the path of its processes
    for name in ("benchmark", "conf"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "benchmark" / "cell.py").open("a") as file:
        file.write("\n# changed\n")
    first, *_ = refused(PYTHONPATH=str(other))
    assert "has another version of benchmark: 0.1.0 (code " in first
    assert " here; code must be the same: bring both hosts to one commit" in first


def test_a_command_without_a_cluster_says_how_to_start_one(refused):
    (line,) = refused(RAY_ADDRESS="127.0.0.1:1")
    assert "launcher.address=127.0.0.1:1: no head of a Ray cluster answers there" in line


def test_a_host_without_ray_gets_the_command_that_installs_it(refused, tmp_path):
    absent = tmp_path / "absent" / "ray"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('no ray')")
    (line,) = refused(PYTHONPATH=str(absent.parent))
    assert "hydra/launcher=ray needs ray, which isn't installed here: pip install" in line
    assert "[ray]'" in line

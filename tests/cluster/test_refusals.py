"""What a cluster refuses, one line each with the mend: another token, another version, a host without Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.nodes import SIMULATED, TestCluster

pytest.importorskip("ray")
pytestmark = pytest.mark.chaos
ROOT = Path(__file__).parents[2]
GRID = ("-m", "hydra/launcher=ray", "hardware=simulated", "batch=1,2", "campaign=test")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    for name in ("right", "wrong"):
        (folder / name).write_text(f"{name}-" + "0123456789abcdef" * 3)
    return folder


@pytest.fixture(scope="module")
def cluster(tokens, tmp_path_factory):
    """With a token, and a node whose program differs in one line of code."""
    other = tmp_path_factory.mktemp("other")
    for name in ("benchmark", "conf"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "benchmark" / "cell.py").open("a") as file:
        file.write("\n# changed\n")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tokens / "right")}
    running = TestCluster(SIMULATED, environment={**token, "PYTHONPATH": str(other)})
    yield running
    assert running.close() == []


@pytest.fixture
def refused(cluster, tmp_path):
    """The line of a command that is refused; it leaves no row."""

    def run(**environment):
        ran = subprocess.run(
            [sys.executable, "-m", "benchmark", *GRID],
            cwd=tmp_path,
            env={**os.environ, "RAY_ADDRESS": cluster.address, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 1, ran.stdout + ran.stderr
        assert not (tmp_path / "outputs" / "results").exists()
        return [line for line in ran.stderr.splitlines() if line.startswith("error:")]

    return run


def test_another_token_is_one_line_without_its_value(refused, tokens):
    (line,) = refused(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(tokens / "wrong"))
    assert "the head refuses this command, most likely for its token: give this command the token" in line
    assert "0123456789" not in line


def test_no_token_is_one_line(refused, tmp_path):
    (line,) = refused(RAY_AUTH_MODE="token", HOME=str(tmp_path))
    assert "RAY_AUTH_TOKEN_PATH=" in line


def test_another_version_is_refused_with_both_named(refused, tokens):
    (line,) = refused(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(tokens / "right"))
    assert "has another version of benchmark: 0.1.0 (code " in line
    assert " here; code must be the same: bring both hosts to one commit" in line


def test_a_host_without_ray_gets_the_command_that_installs_it(refused, tmp_path):
    absent = tmp_path / "absent" / "ray"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('no ray')")
    (line,) = refused(PYTHONPATH=str(absent.parent))
    assert "hydra/launcher=ray needs ray, which isn't installed here: pip install" in line
    assert "[ray]'" in line

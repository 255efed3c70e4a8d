"""The wheel: it has all that the checkout has, and runs in an empty folder without it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
GRID = ("hardware=simulated", "sampling=quick", "sampling.repeats=1", "campaign=first")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files, as pip lays them out."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as files:
        files.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def run(installed, tmp_path):
    """Run a command of the wheel in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1", "COLUMNS": "200"}
    environment.pop("BENCHMARK_HOME", None)
    environment.pop("HYDRA_FULL_ERROR", None)  # `main` sets it, also where a test calls it

    def ran(*words, **more):
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *words],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return ran


def test_it_has_every_file_of_conf_and_of_the_package(installed):
    def files(folder):
        paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder).as_posix() for path in paths}

    assert files(installed / "benchmark" / "conf") == files(ROOT / "conf")
    plugins = files(ROOT / "benchmark" / "plugins" / "hydra_plugins")
    assert files(installed / "hydra_plugins") == plugins
    package = {path for path in files(installed / "benchmark") if not path.startswith("conf/")}
    assert package == files(ROOT / "benchmark") - {f"plugins/hydra_plugins/{path}" for path in plugins}


@pytest.mark.commands
def test_a_grid_runs_in_an_empty_folder_and_says_where_its_rows_are(run, tmp_path):
    first = run("-m", "batch=1,2", *GRID)
    assert first.returncode == 0, first.stderr
    rows = f"rows go to {tmp_path}/outputs/results, artefacts to {tmp_path}/compile_cache"
    assert first.stdout.startswith(rows)
    again = run("-m", "batch=1,2", *GRID)
    assert "2 done before" in again.stdout
    assert "rows go to" not in again.stdout
    assert str(ROOT) not in first.stdout + again.stdout
    assert "2 rows" in run("results", "--simulated").stdout


@pytest.mark.commands
def test_benchmark_home_is_where_rows_are_from_every_folder(run, tmp_path):
    home = tmp_path / "home"
    ran = run(*GRID, BENCHMARK_HOME=str(home))
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in home.iterdir()) == ["compile_cache", "outputs"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert "bert_tiny" in run("results", "--simulated", BENCHMARK_HOME=str(home)).stdout
    assert "first: done" in run("status", BENCHMARK_HOME=str(home)).stdout


@pytest.mark.commands
def test_advice_names_the_wheel_and_no_checkout(run):
    ran = run("plan", "model=bert_tiny", "hardware=cuda", "compiler=tensorrt")
    assert "pip install 'benchmark-orchestrator[" in ran.stdout
    assert "pip install -e" not in ran.stdout


@pytest.mark.commands
@pytest.mark.parametrize("name", ["benchmark", "__main__.py"])
def test_help_and_advice_call_the_program_as_it_was_called(installed, tmp_path, name):
    """`uvx` has no Python that could run it as a module."""
    script = tmp_path / name
    script.write_text("import sys\nfrom benchmark.__main__ import main\nsys.exit(main())\n")
    called = "benchmark" if name == "benchmark" else "python -m benchmark"

    def ran(*words):
        environment = {**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1", "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, script, *words], env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    assert f" {called} model=bert_tiny compiler=openvino" in ran("--help")
    assert f"Usage: {called} plan" in ran("plan", "--help")
    assert f" {called} --help lists them" in ran("zzz")


@pytest.mark.commands
def test_a_folder_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "outputs").write_text("a file")
    ran = run(*GRID)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert len(ran.stderr.splitlines()) == 1


def test_hydras_plug_ins_of_an_editable_install_are_those_of_the_checkout():
    """With force-include `pip install -e` copies them, and a copy stays as it is after a pull."""
    from hydra_plugins.benchmark_searchpath import others

    assert Path(others.__file__).is_relative_to(ROOT)


def test_no_package_inside_ours_is_a_top_level_one():
    """An editable install once put benchmark/ on the search path: `import datasets` found our own."""
    inside = [file.parent.name for file in (ROOT / "benchmark").glob("*/__init__.py")]
    found = {name: find_spec(name) for name in inside}
    places = {name: spec.origin or [*spec.submodule_search_locations] for name, spec in found.items() if spec}
    assert not [name for name, place in places.items() if str(ROOT / "benchmark") in str(place)]

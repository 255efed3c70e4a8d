"""Programs of an interpreter's environment come first on PATH, as if it were activated."""

from __future__ import annotations

import os

import pytest

from benchmark.host import path


@pytest.fixture
def python(tmp_path):
    """A virtual environment whose python is a link to another folder."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "python3").touch()
    (tmp_path / "chip" / "bin").mkdir(parents=True)
    (tmp_path / "chip" / "pyvenv.cfg").touch()
    link = tmp_path / "chip" / "bin" / "python"
    link.symlink_to(tmp_path / "usr" / "python3")
    return link


def test_its_folder_comes_first_and_no_link_is_resolved(python):
    found = path.environment_of(str(python), {"PATH": f"/bin{os.pathsep}{python.parent}", "A": "b"})
    assert found["PATH"].split(os.pathsep) == [str(python.parent), "/bin"]
    assert found["VIRTUAL_ENV"] == str(python.parents[1])
    assert found["A"] == "b"


def test_a_path_from_here_becomes_a_whole_one(python, monkeypatch):
    monkeypatch.chdir(python.parents[1])
    assert path.environment_of("bin/python", {})["PATH"].startswith(f"{python.parent}{os.pathsep}")


def test_outside_of_an_environment_none_is_named(python):
    other = {"VIRTUAL_ENV": "/another", "PYTHONHOME": "/another"}
    found = path.environment_of(str(python.resolve()), other)
    assert not found.keys() & other.keys()


def test_the_tools_of_neuron_come_next_where_they_are(python, tmp_path, monkeypatch):
    (tmp_path / "tools").mkdir()
    monkeypatch.setattr(path, "NEURON_TOOLS", tmp_path / "tools")
    first, second, *_ = path.environment_of(str(python), {"PATH": "/bin"})["PATH"].split(os.pathsep)
    assert (first, second) == (str(python.parent), str(tmp_path / "tools"))

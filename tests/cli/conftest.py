"""The program run in this process, for tests of what it prints and of its exit code."""

from __future__ import annotations

import logging
import sys

import pytest
from hydra._internal.hydra import Hydra
from hydra.core.singleton import Singleton

from benchmark import __main__ as program
from benchmark.cli import error_messages


@pytest.fixture(autouse=True)
def _logs_are_closed():
    """Take away, and close, the log files that a run in this process has opened."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers).difference(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def main(tmp_path, monkeypatch, capsys):
    """Run the program here, in tmp_path; return its exit code and its lines on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(error_messages, "TRACEBACKS", False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    hydra_state = Singleton.get_state()
    read_mode = Hydra.get_mode

    def get_mode(hydra, config_name, overrides):
        """Hydra composes everything once more for this; only these can set it."""
        setters = ("experiment=", "hydra.mode=", "+", "hydra.searchpath=")
        if any(word.startswith(setters) for word in overrides):
            return read_mode(hydra, config_name, overrides)
        return None

    monkeypatch.setattr(Hydra, "get_mode", get_mode)

    def ran(*arguments):
        # Without its snapshots Hydra is twice as fast.
        monkeypatch.setattr(sys, "argv", ["benchmark", *arguments, "hydra.output_subdir=null"])
        with pytest.raises(SystemExit) as stopped:
            program.main()
        return stopped.value.code, capsys.readouterr().err.splitlines()

    yield ran
    Singleton.set_state(hydra_state)


@pytest.fixture
def outcome_text(main, tmp_path):
    """The one or two lines of a command that has to be refused, and must not leave a row."""

    def refused(*arguments):
        code, lines = main(*arguments)
        assert code == 1, lines
        assert 1 <= len(lines) <= 2, lines
        assert lines[0].startswith("error: ")
        assert list(tmp_path.rglob("run-*.parquet")) == []
        return "\n".join(lines).removeprefix("error: ")

    return refused

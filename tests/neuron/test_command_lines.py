"""What the Neuron compilers are given for published cells: as in the golden file, each flag with a reason."""

from __future__ import annotations

import pytest

from benchmark.published import printed_figures
from tests.neuron import command_lines

CELLS = command_lines.cells()


def test_the_golden_file_is_what_conf_composes_today():
    assert command_lines.GOLDEN.read_text(encoding="utf-8") == command_lines.text(), (
        "python tests/neuron/command_lines.py, and review the difference"
    )


def test_every_published_cell_is_there():
    counts = {seed: sum(cell["seed"] == seed for cell in CELLS) for seed in command_lines.SEEDS}
    assert counts == {"000": 72, "002": 20, "003": 100}
    assert {cell["table"] for cell in CELLS if cell["seed"] == "003"} == {
        f"{goal}_data_{kind}.csv"
        for goal in ("latency", "throughput")
        for kind in ("encoder", "vision", "vision_cnn", "vision_transformers")
    }


def test_no_flag_is_given_without_a_reason():
    for words in {command_lines.overrides(cell)[1] for cell in CELLS}:
        flags = {word for word in command_lines.command_line(words).split() if word.startswith("-")}
        assert flags <= set(command_lines.FLAGS)


def test_every_model_has_a_yaml():
    known = {path.stem for path in (command_lines.CONF / "model").glob("*.yaml")}
    assert {printed_figures.model(cell["model"]) for cell in CELLS} <= known


@pytest.mark.real
def test_every_cell_composes_as_a_whole_to_the_same_line():
    """Slow for a core test: fifty compositions."""
    for cell in CELLS:
        whole, deciding = command_lines.overrides(cell)
        e = command_lines.experiment(whole)
        assert command_lines.command_line(whole) == command_lines.command_line(deciding)
        assert e.compiler.refuse(e.hardware.kind) is None
        assert e.task.name.replace("-", "_") in e.model.parameters

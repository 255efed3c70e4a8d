"""What the Neuron compilers are given for published cells: as in the golden file, each flag with a reason."""

from __future__ import annotations

import pytest

from benchmark.cell import cell_of
from benchmark.importers.neuron_docs import NeuronDocs
from benchmark.published import printed_figures
from benchmark.published.documents import FOLDER
from benchmark.stages.plan import refuse
from tests.neuron import command_lines

CELLS = command_lines.cells()


def test_the_golden_file_is_what_conf_composes_today():
    assert command_lines.GOLDEN.read_text(encoding="utf-8") == command_lines.text(), (
        "python tests/neuron/command_lines.py, and review the difference"
    )


def test_every_published_cell_is_there():
    counts = {seed: sum(cell["seed"] == seed for cell in CELLS) for seed in command_lines.SEEDS}
    assert counts == {"000": 72, "002": 20, "003": 108}
    assert {cell["table"] for cell in CELLS if cell["seed"] == "003"} == {
        f"{goal}_data_{kind}.csv"
        for goal in ("latency", "throughput")
        for kind in ("encoder", "vision", "vision_cnn", "vision_dit", "vision_transformers")
    }


def test_no_flag_or_variable_is_given_without_a_reason():
    for words in {command_lines.overrides(cell)[1] for cell in CELLS}:
        for _, line in command_lines.compiled(words).lines:
            given = {word for word in line.split() if word.startswith("-")}
            given |= {word.partition("=")[0] for word in line.split() if "=" in word}
            assert given <= set(command_lines.FLAGS)


def test_the_experiments_have_the_casts_of_the_tables():
    for cell in CELLS:
        hardware = cell["instance"].partition(".")[0]
        cast = command_lines.CASTS[cell["seed"], hardware][cell["cast"]]
        assert command_lines.experiment(command_lines.overrides(cell)[1]).compiler.fast_math == cast


def published():
    """Model, batch and image size of each row of both snapshots to its copies, callers and steps."""
    found = {}
    for file in sorted(FOLDER.glob("inf2_performance*/*.csv")):
        if not file.name.endswith(("data_decoder.csv", "prices.csv")):
            for one in NeuronDocs().read(file).figures:
                key = tuple(one.values.get(name) for name in ("model", "batch_size", "image_size"))
                found[key] = tuple(
                    one.values.get(name) for name in ("replicas", "workers", "steps", "outlier")
                )
    return found


def test_the_experiment_runs_every_row_of_the_tables_with_its_copies_callers_and_steps():
    rows, lines = published(), command_lines.include()
    for (model, batch, size), (replicas, workers, steps, outlier) in rows.items():
        line = command_lines.line_of(model, batch, size)
        assert (line["model"], line["batch"]) == (model, batch)
        if "image_size" in line or model == "sd21":
            assert line.get("image_size", 768) == size
        assert line.get("steps") == steps
        if replicas and not outlier:
            assert (line.get("scenario.replicas", 1), line.get("scenario.workers", 1)) == (replicas, workers)
    assert {(line["model"], line["batch"]) for line in lines} == {key[:2] for key in rows}


def test_every_model_has_a_yaml():
    known = {path.stem for path in (command_lines.CONF / "model").glob("*.yaml")}
    assert {printed_figures.model(cell["model"]) for cell in CELLS} <= known


@pytest.mark.real
def test_every_cell_composes_as_a_whole_to_the_same_line():
    """Slow for a core test: fifty compositions."""
    for cell in CELLS:
        whole, deciding = command_lines.overrides(cell)
        e = command_lines.experiment(whole)
        assert command_lines.compiled(whole).lines == command_lines.compiled(deciding).lines
        assert refuse(cell_of(e)) is None
        assert e.task.name.replace("-", "_") in e.model.parameters

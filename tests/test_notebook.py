"""What a notebook does, on the simulated device."""

from __future__ import annotations

import pytest

import benchmark
from benchmark.errors import ConfigError

GRID = ("hardware=simulated", "compiler=simulated", "sampling=quick", "campaign=notes")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lines(folder):
    return benchmark.run(*GRID, model=["bert_tiny", "vit_tiny"], batch=[4, 1])


@pytest.mark.usefixtures("folder")
def test_a_grid_is_a_frame_with_a_line_for_each_cell_in_their_order(lines):
    assert [*zip(lines["model"], lines["batch_size"], strict=True)] == [
        ("bert_tiny", 4),
        ("bert_tiny", 1),
        ("vit_tiny", 4),
        ("vit_tiny", 1),
    ]
    assert (lines["status"] == "ok").all()
    assert (lines["processes"] >= 3).all()
    command = "python -m benchmark -m " + " ".join(GRID) + " model=bert_tiny,vit_tiny batch=4,1"
    assert set(lines["command"]) == {command}


def test_rows_of_a_store_are_the_measured_ones_unless_others_are_asked_for(lines):
    assert benchmark.results.load().empty
    assert len(benchmark.results.load(simulated=True)) == lines["processes"].sum()
    assert not benchmark.results.load(where="simulated=true model=vit_tiny batch<=1").empty


@pytest.mark.usefixtures("folder")
def test_sides_are_compared_by_cell_with_an_interval_and_a_verdict():
    benchmark.run(*GRID, "compiler.jitter=0.01", "compiler.fast_math=none,all", batch=[1, 2])
    found = benchmark.compare("fast_math=all", "fast_math=none", simulated=True)
    assert found["batch_size"].tolist() == [1, 2]
    assert found["ratio"].tolist() == pytest.approx([2, 2], rel=0.05)
    assert (found["ratio_lo"] < found["ratio"]).all()
    assert (found["ratio_hi"] > found["ratio"]).all()
    assert found["verdict"].tolist() == ["regression", "regression"]
    assert found["confirmed"].all()
    assert "sequence_length" in found
    assert "image_size" not in found  # no cell has one


@pytest.mark.usefixtures("lines")
def test_sides_without_a_common_cell_are_one_sentence():
    with pytest.raises(ConfigError, match="no row with status ok"):
        benchmark.compare("model=bert_tiny", "model=bert", simulated=True)


@pytest.mark.real
def test_a_figure_is_drawn_by_an_axis_with_its_interval_machine_and_date(lines):
    chart = benchmark.plot(lines).to_dict()
    assert chart["facet"]["field"] == "panel"
    marks = [layer["mark"]["type"] for layer in chart["spec"]["layer"]]
    assert marks == ["line", "rule"]
    assert chart["spec"]["layer"][0]["encoding"]["x"]["scale"] == {"base": 2, "type": "log"}
    day = lines["finished_at"].dt.date.astype(str).iloc[0]
    assert chart["title"]["subtitle"] == f"{lines['device_name'].iloc[0]}, {day}"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"y": "latency"}, "latency: no such column"), ({"y": "qps_under_slo"}, "no line has it")],
)
def test_what_cannot_be_drawn_says_why(lines, change, words):
    pytest.importorskip("altair")
    with pytest.raises(ConfigError, match=words):
        benchmark.plot(lines, **change)


@pytest.mark.usefixtures("lines")
def test_a_report_shows_itself_and_writes_its_files(folder):
    pytest.importorskip("duckdb")
    page = benchmark.make_report("overview", "model=vit_tiny", simulated=True)
    assert "<html" in page._repr_html_()
    assert "python -m benchmark report overview model=vit_tiny" in page._repr_html_()
    page.write(folder / "report", only="md")
    assert "vit_tiny" in (folder / "report" / "overview.md").read_text()


@pytest.mark.usefixtures("folder")
def test_a_mistake_is_one_sentence():
    with pytest.raises(ConfigError, match="did you mean 'bert_tiny'"):
        benchmark.run("hardware=simulated", model=["bert_tiny", "bert_tny"])


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'runs'"):
        _ = benchmark.runs

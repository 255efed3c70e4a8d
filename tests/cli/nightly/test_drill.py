"""A month of simulated nights with a planted slow-down: found, confirmed by fresh runs, printed and drawn."""

from __future__ import annotations

import sys

import pytest
import typer
from typer.testing import CliRunner

from benchmark.cli.nightly import app
from tests.benchmarks import nightly_history

pytestmark = (
    pytest.mark.real
)  # seconds: a thousand rows are made up, and suspects run in processes of their own

PROGRAM = typer.Typer()
PROGRAM.add_typer(app.app, name="nightly")
FEW = ("--trust", "--turns", "2", "--calls", "5")


def typed(*arguments):
    """Exit code and standard output of `nightly` with these arguments."""
    result = CliRunner().invoke(PROGRAM, ["nightly", *map(str, arguments)], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value or 0, result.stdout


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """Thirty nights of twelve series, of which one is 6 % slower from the 27th on, and where it lies."""
    folder = tmp_path_factory.mktemp("month")
    store = nightly_history.made(folder / "outputs" / "results", slower=True)
    return store, folder, nightly_history.new_build(folder / "python")


@pytest.fixture(scope="module")
def night_27(month):
    """Exit code, output and files of the check of the first slow night, as a job on GitHub runs it."""
    store, folder, candidate = month
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GITHUB_ACTIONS", "true")
        builds = ("--accepted-python", sys.executable, "--candidate-python", candidate)
        places = ("--store", store.paths.root, "--md", "summary.md", "--plot", "report")
        code, outcome_text = typed("check", *places, "--night", nightly_history.name(27), *builds, *FEW)
    return code, outcome_text, folder


def test_a_planted_slow_down_is_confirmed_the_night_it_comes(night_27):
    code, outcome_text, _ = night_27
    assert code == 3
    assert "Simulated: 1 of 12 series is slower: " in outcome_text


def test_a_confirmed_slow_down_is_marked_in_a_job(night_27):
    (mark,) = [line for line in night_27[1].splitlines() if line.startswith("::")]
    assert mark.startswith(
        "::error title=bert_tiny simulated simulated none b3 s128 is 6.0%25 slower::new / "
    )


def test_the_summary_says_first_what_is_slower(night_27):
    lines = (night_27[2] / "summary.md").read_text().splitlines()
    slower = "<code>bert_tiny simulated simulated none b3 s128</code> by 6.0%"
    assert lines[2].startswith(f"**Simulated: 1 of 12 series is slower: {slower}")
    assert lines[6].startswith("| bert_tiny simulated simulated none b3 s128 |")
    assert "<details><summary>All other series (11)</summary>" in lines
    assert "Accepted build: commit" in lines[-2]
    assert "Hardware: simulated" in lines[-2]


def test_the_slower_series_is_drawn_with_a_page_that_shows_it(night_27):
    page = (night_27[2] / "report" / "timeline.md").read_text()
    (picture,) = (night_27[2] / "report").glob("*.png")
    assert f"]({picture.name})" in page
    assert picture.read_bytes().startswith(b"\x89PNG")
    drawing = picture.with_suffix(".svg").read_text()
    assert "<desc>bert_tiny simulated simulated none b3 s128 (simulated): p50 and p95 of 81" in drawing
    assert "+6.0% (95 %: +5.9%" in drawing


def test_nights_before_and_after_a_slow_down_are_silent(night_27, month, monkeypatch):
    store, folder, candidate = month
    monkeypatch.chdir(folder)
    builds = ("--accepted-python", sys.executable, "--candidate-python", candidate)
    for night in (26, 28):
        name = nightly_history.name(night)
        code, outcome_text = typed("check", "--store", store.paths.root, "--night", name, *builds, *FEW)
        assert code == 0
        assert "Simulated: No slow-down: 12 series, compared with " in outcome_text


def test_a_month_without_a_slow_down_is_silent(tmp_path, monkeypatch):
    store = nightly_history.made(tmp_path / "outputs" / "results", slower=False)
    monkeypatch.chdir(tmp_path)
    for night in (27, 30):
        where = ("--store", store.paths.root, "--night", nightly_history.name(night))
        code, outcome_text = typed(
            "check", *where, "--accepted-python", sys.executable, "--md", "-", "--plot", "none", *FEW
        )
        assert code == 0
        verdict = outcome_text.splitlines()[2]
        assert verdict.startswith(f"**Simulated: No slow-down: 12 series, compared with {night - 1} earlier")
    assert not (tmp_path / "none").exists()


def test_a_timeline_without_conditions_shows_what_its_night_suspected(night_27, month, tmp_path):
    store = month[0]
    _, outcome_text = typed(
        "timeline", "--store", store.paths.root, "--night", "night-27", "--out", tmp_path / "t"
    )
    assert [line.rpartition(".")[2] for line in outcome_text.splitlines()] == ["png", "svg", "md"]


def test_a_timeline_with_conditions_shows_those_series_beside_each_other(month, tmp_path):
    typed("timeline", "batch<=2", "--store", month[0].paths.root, "--out", tmp_path / "t")
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [
        "all-series.png",
        "all-series.svg",
        "timeline.md",
    ]
    assert "b1 s128" in (tmp_path / "t" / "timeline.md").read_text()

"""A model named as markup and an error of terminal codes are harmless in everything that a report writes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from benchmark.cli import report
from benchmark.cli.results import results
from benchmark.report import files
from benchmark.store.results import ResultsStore
from tests.report.rows import store_of

NAME = "<script>alert(1)</script>"
ERROR = (
    "\x1b[31m**bold** [x](javascript:alert(1)) | `code` <img src=x onerror=alert(2)>\x1b]0;title\x07\nsecond"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    store_of(
        root / "rows",
        {"model": NAME, "batch_size": 1},
        {"model": NAME, "batch_size": 4, "latency_p50_ms": 20.0},
        {"model": NAME, "batch_size": 8, "status": "crashed", "stage": "measure", "error": ERROR},
    )
    page = report.made(report.composed("overview", []), ResultsStore(root / "rows"), "again", simulated=False)
    files.write(page, root / "out", files.FORMATS)
    return root / "out"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_no_file_holds_a_terminal_code(folder):
    texts = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert len(texts) > 4
    for path in texts:
        assert b"\x1b" not in path.read_bytes(), path.name


def test_the_html_file_has_no_element_and_no_attribute_of_theirs(folder):
    tags = Tags((folder / "overview.html").read_text(encoding="utf-8")).found
    assert not [one for one in tags if one[0] == "img" or "onerror" in one[1]]
    text = (folder / "overview.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_markdown_shows_their_characters_and_no_more(folder):
    text = (folder / "overview.md").read_text(encoding="utf-8")
    made = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    assert not {tag for tag, _ in Tags(made).found} & {"script", "a"}
    assert all("onerror" not in attrs for _, attrs in Tags(made).found)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in made


def test_a_picture_has_no_script(folder):
    pictures = sorted(folder.glob("charts/*.svg"))
    assert pictures
    for path in pictures:
        assert "<script" not in path.read_text(encoding="utf-8")


def test_latex_and_csv_hold_them_as_text(folder):
    tex = (folder / "overview.tex").read_text(encoding="utf-8")
    assert "**bold**" in re.sub(r"\\[a-z]+\{\}|[{}]", "", tex)
    for path in (folder / "tables").glob("*.csv"):
        assert not re.search(r"^[=+@]", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_results_as_markdown_is_harmless_too(folder, capsys):
    results(store=str(folder.parent / "rows"), columns="model,error", as_md=True)
    made = MarkdownIt("gfm-like", {"linkify": False}).render(capsys.readouterr().out)
    assert not {tag for tag, _ in Tags(made).found} & {"script", "a", "img"}


def test_the_terminal_is_said_no_code(folder, capsys):
    report.report("overview", store=str(folder.parent / "rows"))
    assert "\x1b]0" not in capsys.readouterr().out

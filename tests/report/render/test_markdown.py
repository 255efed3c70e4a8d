"""Markdown pages: aligned, and whatever comes from outside stays text when GitHub renders it."""

from __future__ import annotations

import re
from dataclasses import replace

from markdown_it import MarkdownIt

from benchmark.report.document import Field, Head, Section, Span, Table
from benchmark.report.render import markdown
from tests.report.render import sample

PICTURES = {"latency_by_length": "pictures/latency by length.png"}


def rendered(text):
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def test_hostile_texts_render_as_text():
    html = rendered(markdown.page(sample.document(), PICTURES))
    assert re.findall(r"<(?:script|img(?! src=\"pictures)|iframe)", html) == []
    assert re.findall(r'href="(?!https://huggingface\.co)', html) == []
    assert "<h1>heading" not in html
    assert "<strong>NCC_EVRF001" not in html
    assert "**NCC_EVRF001** `aten::x` | [click](javascript:alert(1))" in html
    assert sum("NCC_EVRF001" in line for line in html.splitlines()) == 1, "a pipe parts no cell"
    assert "\x1b" not in html


def test_mentions_addresses_and_issue_numbers_are_parted():
    page = markdown.page(
        replace(sample.document(), findings=("@octocat #12 https://evil.example www.evil.example a@b.c",))
    )
    text = page.replace("&#8203;", "\u200b")
    assert re.findall(r"@octocat|#12|https://evil|www\.evil|a@b", text) == []


def test_a_paragraph_opens_no_block():
    for text in ("# head", "- item", "+ item", "1. item", "2) item", "> quote", "=====", "```sh", "    code"):
        page = markdown.page(replace(sample.document(), intro=(text,)))
        html = rendered(page).split("<p>Plain: measured")[0]
        assert re.findall("<(?:ul|ol|pre|blockquote|h2)", html) == [], text


def test_a_heading_has_names_as_code_and_links():
    page = markdown.page(sample.document())
    assert "## `BERT` [bert-base-uncased](https://huggingface.co/bert-base-uncased) / p95 latency\n" in page
    assert "### `<script>alert(1)</script>` / costs\n" in page
    section = Section(title=(Span(text="a`b", code=True), Span(text="x", link="javascript:alert(1)")))
    assert "## ``a`b`` x\n" in markdown.page(replace(sample.document(), sections=(section,)))


def test_columns_are_padded_and_figures_stand_right():
    heads = (Head(text="Sequence Length"), Head(text="CPU (c6i.2xlarge)", figures=True))
    lines = (
        (Field(text="8"), Field(text="19.9ms", value=19.9)),
        (Field(text="16"), Field(text="", word=True)),
    )
    assert markdown.table(Table(name="t", caption="", heads=heads, lines=lines)).splitlines() == [
        "| Sequence Length | CPU (c6i.2xlarge) |",
        "| --------------- | ----------------: |",
        "| 8               |            19.9ms |",
        "| 16              |                   |",
    ]


def test_published_figures_are_italic_only_beside_others():
    page = markdown.page(sample.document())
    assert "*3.9ms*" in page
    assert "2.0ms (simulated)" in page
    assert "*Italic*: published by others" in page
    published = replace(sample.latency_table(), lines=sample.latency_table().lines[:1])
    heads = tuple(replace(head, origin="published") for head in published.heads[1:])
    line = tuple(replace(field, origin="published", best=False) for field in published.lines[0][1:])
    alone = replace(published, heads=heads, lines=(line,))
    page = markdown.page(
        replace(sample.document(), sections=(Section(title=(Span(text="A"),), tables=(alone,)),))
    )
    assert "*" not in page.split("## A")[1].split("## Failures")[0]


def test_pictures_stand_beside_the_page_with_what_they_show():
    page = markdown.page(sample.document(), PICTURES)
    assert re.search(r"!\[Lines of p95 latency .+\]\(pictures/latency%20by%20length\.png\)", page)
    assert page.count("![") == 1


def test_front_matter_is_yaml_of_plain_texts():
    page = markdown.page(
        replace(sample.document(), front_matter={"layout": "scalebench", "title": "a: b\n---"})
    )
    assert page.startswith('---\nlayout: scalebench\ntitle: "a: b ---"\n---\n\n# ')


def test_commands_stay_inside_their_fence():
    page = markdown.page(replace(sample.document(), reproduce=("echo ```", "make report")))
    assert page.endswith("````sh\necho ```\nmake report\n````\n")

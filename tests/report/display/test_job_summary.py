"""Summaries in Markdown: harmless whatever names and errors hold, and never longer than GitHub takes."""

from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt

from benchmark.report.display.job_summary import (
    MOST_CHARACTERS,
    Summary,
    annotation,
    escaped,
    gallery,
    markdown,
)
from benchmark.report.document import Chart, Field, Head, Span, Table

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b",
    "`code` ``more``",
    "two\nlines\r\n\r\n# heading",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "**bold** _slanted_ ~~gone~~",
    "[link](http://evil.example) ![picture](http://evil.example/x.png)",
    "<!-- </details> <img src=x onerror=alert(1)>",
    "\\| backslash \\",
    "&lt;b&gt; &#60;b&#62;",
    "$x^2$ @everyone www.evil.example",
]
GFM = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OUR_TAGS = re.compile(r"</?(?:details|summary|sub|code)>|<br>")


def table(texts, name="t"):
    return Table(
        name=name,
        caption="Caption",
        heads=(Head(text="name"), Head(text="figure", figures=True)),
        lines=tuple((Field(text=text), Field(text="+1.0%")) for text in texts),
    )


def summary(text, **more):
    message = {"changes": table([text]), "notes": (text,), "folded": (table([text]),), "footer": (text,)}
    verdict = (Span(text="It is "), Span(text=text, code=True), Span(text=f" {text}."))
    return Summary(title=text, verdict=verdict, **{**message, **more})


def texts(tokens):
    """What a reader sees, and any HTML that isn't ours."""
    for token in tokens:
        if token.type in {"text", "code_inline", "fence", "code_block"}:
            yield token.content
        elif token.type.startswith("html"):
            assert not OUR_TAGS.sub("", token.content).strip("\n").count("<"), token.content
            yield html.unescape(OUR_TAGS.sub("", token.content))
        yield from texts(token.children or ())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_shows_its_characters_and_does_nothing(text):
    tokens = GFM.parse(markdown(summary(text)))
    kinds = {token.type for token in tokens} | {
        child.type for token in tokens for child in token.children or ()
    }
    assert not kinds & {"image", "link_open", "em_open", "s_open", "code_inline", "fence", "code_block"}
    assert sum(token.type == "heading_open" for token in tokens) == 1
    assert sum(token.type == "tr_open" for token in tokens) == 4  # two tables of a head and a line
    shown = "".join(texts(tokens)).replace("\u200b", "")
    plain = " ".join(re.sub(r"\x1b\[\d+m|\x1b\]0;title\x07", "", text).split())
    assert shown.count(plain) >= 5
    assert "\x1b" not in shown


def test_nothing_becomes_an_address_by_itself():
    assert not re.search(r"://|www\.|@[a-z]", escaped("http://a.example www.b.example @c"))


def test_the_verdict_comes_first_and_the_rest_is_folded():
    lines = markdown(summary("x")).splitlines()
    assert lines[0] == "### x"
    assert lines[2] == "**It is <code>x</code> x.**"
    assert lines.index("<details><summary>Caption (1)</summary>") > lines.index("| x | +1.0% |")
    assert lines[-1] == "<sub>x</sub>"


def test_a_long_summary_is_cut_where_github_would_refuse_it_and_says_so():
    many = summary("x", changes=table(["changed"] * 9), folded=(table([f"series {'|' * 90}"] * 5000),))
    text = markdown(many)
    assert len(text) <= MOST_CHARACTERS
    assert len(text) > 0.98 * MOST_CHARACTERS
    left = int(re.search(r"(\d+) more: too long for a summary", text)[1])
    assert text.count("| series ") == 5000 - left
    assert text.count("| changed |") == 9
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.endswith("<sub>x</sub>\n")


def test_an_endless_name_is_cut():
    assert len(html.unescape(escaped("x" * 10_000))) == 300


def test_a_word_keeps_its_underscores():
    assert escaped("bert_tiny fast_math") == "bert_tiny fast_math"


def test_an_annotation_is_one_line_whatever_it_says():
    message = annotation("a: b, c", "100 % slower\n::warning::x\r\n")
    assert message == "::error title=a%3A b%2C c::100 %25 slower ::warning::x"


def test_a_gallery_shows_each_picture_with_its_words():
    chart = Chart(name="a-1", title="a | b", alt="shows ] a", spec={})
    page = GFM.render(gallery("t", [chart]))
    assert '<a href="a-1.svg"><img src="a-1.png" alt="shows ] a" /></a>' in page
    assert "<h2>a | b</h2>" in page

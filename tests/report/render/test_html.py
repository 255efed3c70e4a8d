"""The HTML file: whole, small, without addresses, and no text of it is ever markup or script."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import string
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from benchmark.report.charts import PALETTE
from benchmark.report.files import html_page
from benchmark.report.render import html
from tests.report.render import sample

VEGA = 'window.vegaEmbed = "a stand-in: bundling Vega takes seconds, test_html_in_chromium does";'
UNSHIFTED = str.maketrans("/.,:", "<>&`")


class Reader(HTMLParser):
    """What a browser would see: elements with their attributes, headings, and text by element."""

    def __init__(self):
        super().__init__()
        self.elements, self.headings, self.scripts, self.text = [], [], [], []
        self.inside = ""

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag
        if tag in {"script", "style"}:
            self.scripts.append((dict(attributes), tag, ""))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_data(self, data):
        if self.inside in {"script", "style"}:
            attributes, tag, text = self.scripts[-1]
            self.scripts[-1] = (attributes, tag, text + data)
        else:
            self.text.append(data)

    def handle_endtag(self, _):
        self.inside = ""


@cache
def page():
    return html_page(sample.document())


def test_every_chart_is_drawn_before_any_script_runs():
    """For print, for a browser without scripts, and for one that can't run Vega."""
    charts = [chart for section in sample.document().sections for chart in section.charts]
    whole = re.compile(r'data-chart="([^"]+)"><svg[^>]* aria-hidden="true">.*?</svg></div>', re.DOTALL)
    assert whole.findall(page()) == [chart.name for chart in charts]
    assert "<path" in page()


@cache
def read():
    reader = Reader()
    reader.feed(page())
    return reader


@pytest.fixture(autouse=True)
def _without_vega(monkeypatch):
    monkeypatch.setattr(html, "_bundle", lambda: VEGA)


def unpacked(letters):
    return gzip.decompress(base64.b85decode(letters.translate(UNSHIFTED))).decode()


def block(identity):
    return next(text for attributes, _, text in read().scripts if attributes.get("id") == identity)


def test_it_has_no_external_address():
    for tag, attributes in read().elements:
        for name, value in attributes.items():
            assert name not in {"src", "srcset", "action", "formaction"}, tag
            assert name != "href" or value.startswith("#") or value == "data:,"
            assert not name.startswith("on"), f"{tag} has a handler"
            assert name != "style", f"{tag} has a style of its own, which the policy forbids"
    styles = [text for _, tag, text in read().scripts if tag == "style"]
    assert not re.search(r"url\(|@import", "".join(styles))
    assert "https://huggingface.co" not in page()


def test_the_policy_knows_just_the_scripts_and_the_style_that_are_there():
    policy = next(one["content"] for tag, one in read().elements if one.get("http-equiv"))
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    runs = [text for attributes, tag, text in read().scripts if tag == "style" or "type" not in attributes]
    assert len(runs) == 2
    assert unpacked(block("data-vega")) == VEGA
    for text in [*runs, VEGA]:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.count("sha256-") == 3


def test_hostile_texts_are_texts():
    tags = {tag for tag, _ in read().elements}
    assert not tags & {"img", "iframe", "object", "embed", "b"}
    assert sum(tag == "script" for tag, _ in read().elements) == 4, "charts, rows, Vega and ours"
    text = "".join(read().text)
    assert sample.SCRIPT in text
    assert "<img src=x onerror=alert(1)>" in text
    assert "\x1b" not in page()
    assert "\x07" not in page()


def test_data_blocks_close_nothing():
    rows = [{"batch_size": 1, "sequence_length": 8, "throughput": 1.0, "shown": "</script><!--\u2028&"}]
    hostile = sample.chart("heat_map", "t", "a", rows)
    section = replace(sample.document().sections[0], charts=(hostile,))
    whole = html_page(replace(sample.document(), sections=(section,)))
    data = re.search(r'id="data-charts">(.*?)</script>', whole, re.DOTALL)[1]
    assert not re.search("[<>&\u2028]", data)
    assert json.loads(data)["heat_map"]["datasets"]["rows"][0]["shown"] == "</script><!-- &"


def test_headings_are_in_order_and_tables_read_without_a_script():
    assert read().headings[0] == 1
    assert read().headings.count(1) == 1
    steps = [after - before for before, after in zip(read().headings, read().headings[1:], strict=False)]
    assert max(steps) <= 1
    assert {"13.6ms", "compile_error", "abc1234"} <= {*read().text}


def test_the_parts_stand_in_the_order_in_which_they_are_read():
    ids = [one["id"] for tag, one in read().elements if tag == "section"]
    assert ids == [
        *("findings", "warnings", "s1", "s2", "s3", "s4"),
        *("coverage", "failures", "rows", "provenance", "reproduce"),
    ]


def test_charts_have_names_and_their_data_as_text():
    charts = [one for _, one in read().elements if "data-chart" in one]
    assert [one["role"] for one in charts] == ["img"] * 9
    assert all(one["aria-label"] for one in charts)
    assert {*json.loads(block("data-charts"))} == {one["data-chart"] for one in charts}
    assert "Data of this chart as a table" in page()


def test_origins_are_said_in_heads_fields_and_words():
    assert re.search(r'Inf1 \(inf1.2xlarge\) <span class="badge published">published</span>', page())
    assert re.search('<td class="figures published" [^>]*>3.9ms</td>', page())
    assert '<span class="unseen"> (published)</span>' in page()
    assert '<span class="badge simulated">simulated</span>' in page()
    measured = replace(sample.cost_table(), lines=sample.cost_table().lines[2:])
    section = replace(sample.document().sections[0], tables=(measured,), charts=())
    plain = html_page(replace(sample.document(), sections=(section,)))
    assert 'class="key' not in plain


def test_a_status_is_a_word_and_the_best_is_more_than_a_colour():
    assert re.search('<td class="figures published word" [^>]*>compile_error</td>', page())
    assert re.search(r'★ </span><span class="unseen">best: </span>0.7ms', page())


def test_a_figure_names_the_rows_it_was_made_of():
    assert re.search('<td class="figures measured" [^>]*title="rows 9f3c">13.6ms</td>', page())


def test_rows_come_back_as_they_were():
    frame = sample.all_rows(50)
    message = json.loads(unpacked(html.packed(frame)))
    assert message["count"] == 50
    columns = {one["name"]: one for one in message["columns"]}
    for name in ("model", "batch_size", "sequence_length", "status"):
        column = columns[name]
        values = [None if code < 0 else column["words"][code] for code in column["codes"]]
        assert values == [None if pd.isna(one) else one for one in frame[name]]
    assert columns["batch_size"]["figures"]
    assert columns["run_id"]["values"] == [*frame["run_id"]]
    assert columns["started_at"]["values"][0] == f"{frame['started_at'][0]:%Y-%m-%d %H:%M:%S}"
    assert "\x1b" not in json.dumps(message, ensure_ascii=False)


def test_figures_are_rounded_by_digits_and_keep_what_is_missing():
    values = [123456.789, 0.000123456, np.nan, np.inf, -1.5, 0.0, 1e300, 5e-324, 12345678.0]
    frame = pd.DataFrame({"ms": np.resize(values, 3000) + np.r_[np.zeros(9), np.arange(2991) / 7]})
    message = json.loads(unpacked(html.packed(frame)))["columns"][0]["values"]
    assert message[:6] == [123460, 0.00012346, None, None, -1.5, 0]
    assert message[6] == pytest.approx(1e300)
    assert message[8] == 12345678


def joined(column):
    """What the page's script makes of figures without points; the real one runs in test_html_in_chromium."""
    figures = []
    for row, letter in enumerate(column["kinds"]):
        power = column["marks"][string.ascii_letters.index(letter)]
        whole = int(column["digits"][row * column["width"] : (row + 1) * column["width"]])
        sign, power = (-1, power + 5000) if power < -2500 else (1, power)
        figures.append(None if power == 9999 else sign * float(f"{whole}e{power}"))
    return figures


def test_many_figures_lose_point_and_comma_but_no_digit():
    values = np.random.default_rng(1).lognormal(2, 3, 1000)
    values[::10], values[1::10], values[2::50] = np.nan, -values[1::10], 0.0
    (column,) = json.loads(unpacked(html.packed(pd.DataFrame({"ms": values}))))["columns"]
    figures = joined(column)
    assert [one is None for one in figures] == [*np.isnan(values)]
    assert [one for one in figures if one is not None] == [
        float(f"{one:.5g}") for one in values[~np.isnan(values)]
    ]


def test_whole_numbers_keep_all_their_digits():
    frame = pd.DataFrame({"bytes": np.arange(1000) * 1_234_567})
    (column,) = json.loads(unpacked(html.packed(frame)))["columns"]
    assert column["values"] == frame["bytes"].tolist()


def test_figures_kept_as_objects_are_figures():
    frame = pd.DataFrame({"ms": pd.Series([2.5, None, 10.0], dtype=object), "word": ["a", None, True]})
    ms, word = json.loads(unpacked(html.packed(frame)))["columns"]
    assert (ms["figures"], ms["words"], ms["codes"]) == (True, [2.5, 10], [0, -1, 1])
    assert (word["figures"], word["words"], word["codes"]) == (False, ["a", "True"], [0, -1, 1])


def luminance(colour):
    """WCAG 2.2, "relative luminance"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio_test(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_stand_out_as_wcag_aa_asks(scheme):
    blocks = re.findall(r":root \{(.*?)\}", page(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[scheme]))
    texts = ("ink", "faint", "link", "bad", "published", "loud", "best")
    pairs = [(text, ground) for text in texts for ground in ("paper", "panel", "hatch")]
    low = {
        (text, ground): ratio_test(colours[text], colours[ground])
        for text, ground in [*pairs, ("ink", "warn")]
    }
    assert {pair: round(one, 2) for pair, one in low.items() if one < 4.5} == {}


@pytest.mark.parametrize("ground", ["#ffffff", "#14171a"])
def test_colours_of_charts_stand_out_from_light_and_dark_pages(ground):
    assert {one for one in PALETTE if ratio_test(one, ground) < 2} == set()


def test_no_rows_and_no_sections_make_a_page_too():
    empty = replace(sample.document(), rows=sample.all_rows(0), sections=(), findings=(), warnings=())
    assert '<h2 id="failures-head">' in html_page(empty)


def test_columns_that_are_the_same_in_all_lines_are_said_once_for_cards_and_print():
    table = sample.cost_table()
    words = [at for at, head in enumerate(table.heads) if at and not head.figures]
    line = table.lines[0]
    made = replace(table, lines=(line,) * 4)
    section = replace(sample.document().sections[0], tables=(made,), charts=())
    whole = html_page(replace(sample.document(), sections=(section,)))
    assert words
    for at in words:
        assert f"{table.heads[at].text} {line[at].text}" in re.search('note once">([^<]*)<', whole)[1]
    assert len(re.findall('<td class="[^"]* same"', whole)) == 4 * len(words)


def test_a_link_to_it_has_a_title_and_the_first_finding():
    metas = {one["property"]: one["content"] for tag, one in read().elements if one.get("property")}
    assert metas["og:title"] == sample.document().title
    assert metas["og:description"] == sample.document().findings[0]


@pytest.mark.parametrize("colour", PALETTE)
def test_every_colour_of_charts_has_a_bright_twin_on_dark_pages(colour):
    twins = re.findall(rf'\[(?:fill|stroke)="{colour}"\] {{ (?:fill|stroke): (#[0-9a-f]{{6}}); }}', page())
    assert len(twins) == 2
    assert min(ratio_test(twin, "#14171a") for twin in twins) >= 4.5

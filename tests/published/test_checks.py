"""Every known error of the shipped pages is found, and a page without errors has none."""

from __future__ import annotations

import pytest

from benchmark.published.checks import RULES, compared, differences, published_rows
from tests.importers import shipped

KNOWN = [
    ("encoder_latency", "instance type not in the catalogue", "inf2.2xlarge", "inf2.xlarge"),
    ("encoder_latency", "mean under a percentile's heading", "14 of its 21", "7 fit both"),
    ("encoder_latency", "matches no file of its version", "DistilBERT CPU: 6 of 7", "earlier version"),
    ("encoder_latency", "differs from its file", "379.43", "379.42"),
    ("encoder_latency", "mixed number of decimals", "BERT-large CPU", "131.30ms"),
    ("encoder_latency", "same figure for two models", "BERT and RoBERTa CPU", "19.9ms, 23.1ms, 27.7ms"),
    ("encoder_latency", "latency falls while work grows", "BERT-large Inf2", "3.5ms to 3ms"),
    ("encoder_latency", "no figure and no reason", "15 of its cells", "7 of BERT-large, 7 of AlBERT"),
    ("encoder_latency", "truncated, not rounded", "4.4ms", "4.5ms"),
    (
        "bert_scaling",
        "caption contradicts its file",
        "bert-throughput-script-False.png",
        "BERT Latency HT=False",
    ),
    ("vision_inferentia", "cost doesn't follow from throughput", "$10.88", "$10.78"),
    ("vision_inferentia", "truncated, not rounded", "$0.78", "$0.79"),
    ("vision_inferentia", "printed twice, differently", "536.718", "536.18"),
    ("vision_inferentia", "percentage of the wrong base", "297 % more", "75 % cheaper"),
    ("vision_inferentia", "wrong cost in a sentence", "$0.13", "$0.652 against $0.786"),
    ("vision_inferentia", "difference within noise", "76.92%", "p = 0.85"),
    ("vision_inferentia", "difference within noise", "83.97%", "p = 0.93"),
    (
        "vision_inferentia",
        "price not stated",
        "$0.362 an hour of inf1.2xlarge",
        "$1.006 an hour of g5.xlarge",
    ),
    ("inf2_performance", "throughput doesn't fit latency", "41.24005048", "xlm-roberta-base"),
    (
        "inf2_performance",
        "same figure for two models",
        "bert-large-cased and bert-large-uncased",
        "2.77757645",
    ),
    ("inf2_performance", "numbers sorted as text", "Llama-3-8B", "$11.657 before $9.636"),
    ("inf2_performance", "numbers sorted as text", "Llama-2-7b", "$10.731 before $9.978"),
    ("inf2_performance", "wrong unit", "t5-3b", "212 tokens"),
    ("transformers_benchmarks", "mean without spread", "4 runs", "without any spread"),
]
MOST = {"encoder_latency": 18, "bert_scaling": 4, "vision_inferentia": 9, "inf2_performance": 6}
"""Differences of each page: one more is either a mistake of a rule or news."""


@pytest.mark.parametrize(("name", "kind", "printed", "computed"), KNOWN)
def test_a_known_error_is_found_with_both_figures(name, kind, printed, computed):
    sentences = [one.sentence for one in differences(shipped.frame(name)) if one.kind == kind]
    assert any(printed in sentence and computed in sentence for sentence in sentences), sentences


EQUAL = {
    "encoder_latency": (58, 35),
    "bert_scaling": (2112, 0),
    "vision_inferentia": (32, 3),
    "inf2_performance": (642, 0),
    "transformers_benchmarks": (21, 0),
}
"""Printed figures of each page that are the rows' own, and those that are not."""


@pytest.mark.parametrize(("name", "counts"), EQUAL.items())
def test_every_printed_figure_is_the_rows_own_or_named_in_a_difference(name, counts):
    rows = shipped.frame(name)
    found, sentences = compared(rows), " ".join(one.sentence for one in differences(rows))
    assert (found.equal, len(found.unequal)) == counts
    assert [text for _, text, _ in found.unequal if text not in sentences] == []


@pytest.mark.parametrize(("name", "most"), MOST.items())
def test_nothing_else_is_found(name, most):
    assert len(differences(shipped.frame(name))) == most


def test_the_list_of_differences_is_up_to_date():
    assert shipped.GOLDEN.read_text(encoding="utf-8") == shipped.text(), (
        "tests/importers/shipped.py writes it"
    )


def test_every_rule_finds_an_error_of_a_shipped_page():
    rows = published_rows(shipped.frame(*shipped.NAMES))
    silent = [rule.kind for rule in RULES if not list(rule.find(rows))]
    assert silent == []


def test_image_sizes_that_are_sorted_as_text_are_found():
    rows = shipped.frame("inf2_performance")
    sizes = iter(["512x512", "1024x1024"])
    sd = rows[rows["model"] == "sd21"].iloc[:2].copy()
    sd["as_printed"] = [{**said, "Image Size": next(sizes)} for said in sd["as_printed"]]
    (found,) = [one for one in differences(sd) if "image sizes" in one.sentence]
    assert "1024x1024 before 512x512" in found.sentence


def test_a_page_whose_figures_are_right_has_no_differences():
    rows = shipped.frame("bert_scaling").copy()
    rows["as_printed"] = [
        {name: text for name, text in said.items() if "picture" not in name} for said in rows["as_printed"]
    ]
    assert differences(rows) == []


def test_measured_rows_are_not_looked_at():
    rows = shipped.frame("vision_inferentia").assign(source=None)
    assert differences(rows) == []

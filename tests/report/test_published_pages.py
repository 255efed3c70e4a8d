"""The published pages come out of the store again, each table as the page's code makes it of its files."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cli import report
from benchmark.published import documents
from benchmark.report.render import markdown
from benchmark.store.results import ResultsStore
from tests.importers import shipped

FIGURES = Path(report.__file__).parents[1] / "published" / "figures" / "inf2_performance"
PRICES = pd.DataFrame(
    {
        "Inst. Type": ["Inf2.xlarge", "Inf2.8xlarge", "Inf2.24xlarge", "Inf2.48xlarge"],
        "rate": [0.328, 0.85, 2.804, 5.608],
    }
)
"""inf2_instance_prices.csv of the same commit."""
TABLES = {
    "encoder-throughput": ("throughput_data_encoder", "Throughput (inference/second)"),
    "encoder-latency": ("latency_data_encoder", "Throughput (inference/second)"),
    "encoder-decoder-throughput": ("throughput_data_encoder_decoder", "Throughput (tokens/second)"),
    "encoder-decoder-latency": ("latency_data_encoder_decoder", "Throughput (tokens/second)"),
    "decoder-throughput": ("throughput_data_decoder", "Output Token Throughput (tokens/sec)"),
    "decoder-latency": ("latency_data_decoder", "Output Token Throughput (tokens/sec)"),
    "vision-throughput": ("throughput_data_vision_transformers", "Throughput (inference/sec)"),
    "vision-latency": ("latency_data_vision_transformers", "Throughput (inference/sec)"),
    "cnn-throughput": ("throughput_data_vision_cnn", "Throughput (inference/sec)"),
    "cnn-latency": ("latency_data_vision_cnn", "Throughput (inference/sec)"),
    "stable-diffusion-throughput": ("throughput_data_vision_sd", "Throughput (inference/sec)"),
    "stable-diffusion-latency": ("latency_data_vision_sd", "Throughput (inference/sec)"),
    "diffusion-transformer-throughput": ("throughput_data_vision_dit", "Throughput (inference/sec)"),
    "diffusion-transformer-latency": ("latency_data_vision_dit", "Throughput (inference/sec)"),
}
"""Our table to the file behind the page's, and its throughput's name."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = ResultsStore(tmp_path_factory.mktemp("published"))
    made.prepare()
    for name in shipped.NAMES:
        found = documents.rows(shipped.document(name), shipped.reading(name).figures, shipped.DAY)
        made.append(*found)
    return made


@pytest.fixture(scope="module")
def made(store):
    found = {}

    def of(name):
        if name not in found:
            found[name] = report.made(
                report.composed(name, ["source=published"]), store, "again", simulated=False
            )
        return found[name]

    return of


def tables(document):
    return {table.name: table for section in document.sections for table in section.tables}


def by_the_page(file, throughput):
    """What the page's directive makes of its file: merged, priced, rounded; in the order of numbers.

    Texts stay texts: pandas' defaults, which the page takes, make SDK 2.20 a 2.2 and the cast None a NaN.
    """
    texts = {"keep_default_na": False, "dtype": {"Neuron Version": str}}
    frame = pd.read_csv(FIGURES / f"{file}.csv", **texts).merge(PRICES, on="Inst. Type")
    frame["cost"] = 1.0e6 / frame[throughput] * frame["rate"] / 3.6e3
    frame["size"] = frame["Image Size"].str.partition("x")[2].str.len() if "Image Size" in frame else 0
    return frame.sort_values(["Model", "cost"])


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_neuron_documentation_has_every_cell_of_the_page(made, name):
    file, throughput = TABLES[name]
    table, page = tables(made("inf2_performance"))[name], by_the_page(file, throughput)
    heads = [head.text for head in table.heads]
    ours = [dict(zip(heads, (field.text for field in line), strict=True)) for line in table.lines]
    cost = next(head for head in heads if head.startswith("Cost per 1M"))
    assert len(ours) == len(page)
    figures = [throughput, *(head for head in heads if "Latency" in head)]
    theirs = page.assign(**{"Inst. Type": page["Inst. Type"].str.lower()})
    words = [head for head in heads if head in page and head not in figures]
    expected = [
        {
            **{head: str(row[head]).strip('"') for head in words},
            **{head: f"{row[head]:.2f}" for head in figures},
            cost: f"${row['cost']:,.3f}",
        }
        for row in theirs.to_dict("records")
    ]
    kept = [{head: row[head] for head in expected[0]} for row in ours]
    assert sorted(map(str, kept)) == sorted(map(str, expected))


def test_rows_whose_figures_do_not_fit_together_are_listed_and_not_compared(made):
    found = tables(made("inf2_performance"))["outliers"]
    reasons = {(line[1].text, line[3].text): line[6].text for line in found.lines}
    assert {key: reason.partition(" by ")[0] for key, reason in reasons.items()} == {
        ("bert-base-cased", "1"): "0.0419 calls in flight",
        ("xlm-roberta-base", "1"): "2 of 24 cores busy",
        ("xlm-roberta-base", "16"): "2 of 24 cores busy",
        ("openai/clip-vit-base-patch32", "64"): "4.41 calls in flight",
    }


def test_costs_of_one_model_stand_in_the_order_of_numbers(made):
    found = tables(made("inf2_performance"))
    for name, table in {name: found[name] for name in TABLES}.items():
        heads = [head.text for head in table.heads]
        cost = next(at for at, head in enumerate(heads) if head.startswith("Cost per 1M"))
        keys = [
            (line[0].text, line[1].text if heads[1] == "Image Size" else "", line[cost].value)
            for line in table.lines
        ]
        models = [key[0] for key in keys]
        assert models == sorted(models), name
        assert all(a[2] <= b[2] for a, b in itertools.pairwise(keys) if a[:2] == b[:2]), name


def test_a_figure_of_an_encoder_is_the_pages_wherever_the_page_is_right(made):
    table = tables(made("encoder_latency"))["bert"]
    assert [head.text for head in table.heads] == [
        "Sequence Length",
        "CPU (c6i.2xlarge)",
        "Inf1 (inf1.2xlarge)",
        "Inf2 (inf2.xlarge)",
    ]
    assert [line[1].text for line in table.lines] == [
        *("19.90ms", "23.11ms", "27.72ms", "36.22ms", "54.31ms", "108.62ms", "226.07ms")
    ]
    assert {
        field.text for field in [line[2] for line in tables(made("encoder_latency"))["albert"].lines]
    } == {"not published"}


def test_the_gallery_has_all_26_pictures_and_says_in_each_alt_text_what_its_name_says(made):
    document = made("bert_scaling")
    charts = [chart for section in document.sections for chart in section.charts]
    page = markdown.page(document, {chart.name: f"{chart.name}.png" for chart in charts})
    shown = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page)
    assert page.startswith("---\nlayout: scalebench\n")
    assert len(shown) == len({path for _, path in shown}) == 26
    for alt, path in shown:
        figure, which = re.match(r"bert-(latency|throughput)-(.+)\.png", path).groups()
        assert figure in alt.lower()
        assert f"batch {which}:" in alt or f"{which.replace('HT-', 'HT=')}:" in alt.replace("\\", "")


@pytest.mark.parametrize(
    "sentence",
    [
        "vit costs 75% less on inf1.2xlarge than on g5.xlarge ($0.187 against $0.743 per million, on-demand",
        "vit takes 1.3x as long on inf1.2xlarge as on g5.xlarge (lowest p90 9.01 against 7.14 ms, batch",
        "vit: inf1.2xlarge reaches 536.7 images/s at batch 3, 43% more than the 375.9 of g5.xlarge at batch",
        "vit on ImageNet validation: 76.92% on inf1.2xlarge fast-math none, 76.87% on inf1.2xlarge fast-math",
        "0.05 points, no measurable difference (z = 0.19, n = 50,000",
        "beit on inf1.2xlarge, batch 1: p90 37.568 ms with fast-math, 49.000 ms without",
        "inf1.2xlarge: beit 83.95%, +7.57 points against the 76.38% of resnet50",
        "vit on inf1.2xlarge: 76.87%, -1.04 points against the 77.91% of its paper",
    ],
)
def test_a_sentence_of_the_analysis_states_its_base_and_direction(made, sentence):
    document = made("vision_inferentia")
    said = [*document.findings, *(one for section in document.sections for one in section.sentences)]
    assert any(sentence in one for one in said)


def test_what_did_not_compile_is_listed_with_its_reason(made):
    lines = tables(made("vision_inferentia"))["not-compiled"].lines
    assert [(line[0].text, line[3].text) for line in lines] == [
        ("detr", "compile_error"),
        ("layoutlmv3", "unavailable"),
        ("timesformer", "compile_error"),
    ]


def test_training_speed_ups_tell_whether_compile_time_is_in_them(made):
    table = tables(made("transformers_benchmarks"))["training-speed-up"]
    said = {(line[0].text, line[3].text): (line[5].text, line[6].text) for line in table.lines}
    assert said["XLA", "excluded"] == ("-", "2.7x")
    assert said["XLA", "included"] == ("1.4x", "-")
    assert said["Combined", "excluded"] == ("-", "9.1x")


def test_what_moved_between_two_snapshots_of_a_page_is_in_a_row_with_both_figures(made):
    found = tables(made("inf2_snapshots"))
    heads = [head.text for head in found["moved"].heads]
    rows = [
        dict(zip(heads, [field.text for field in line], strict=True))
        for line in (*found["moved"].lines, *found["the-same"].lines)
    ]
    (bert,) = [
        row for row in rows if (row["Model"], row["Table"]) == ("bert-base-uncased", "encoder, throughput")
    ]
    assert (bert["per s 2024"], bert["per s 2026"], bert["Moved"]) == ("2756.19", "2674.19", "slower")
    (clip,) = [
        row
        for row in rows
        if row["Model"] == "openai/clip-vit-base-patch32" and row["Table"].endswith(", throughput")
    ]
    assert (clip["Ratio"], clip["Moved"]) == ("-", "not comparable")
    assert clip["Not comparable"].startswith("13.8 calls in flight by its figures")
    assert {row["Moved"] for row in rows} == {
        *("faster", "slower", "within 2 %", "gone", "the same", "not comparable")
    }
    files = [pd.read_csv(file) for file in FIGURES.glob("*.csv") if "data_vision.csv" not in file.name]
    assert sum(row["per s 2024"] != "-" for row in rows) == sum(map(len, files))

"""What each format reads, and what it says about data by which nothing can be scored."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmark.datasets.class_folders import ClassFolders
from benchmark.datasets.hub import Hub
from benchmark.datasets.pixel_table import PixelTable
from benchmark.datasets.rated_sentences import RatedSentences
from benchmark.datasets.squad import Squad
from benchmark.datasets.text_table import TextTable
from benchmark.errors import Unavailable


def text_table(tmp_path, content, suffix=".csv", **options):
    (tmp_path / f"items{suffix}").write_text(content, encoding="utf-8")
    return TextTable(name="mine", path=str(tmp_path / f"items{suffix}"), **options)


def test_a_csv_of_texts_and_labels(tmp_path):
    found = text_table(tmp_path, 'label,text\nb,"one, two"\na,three\n').items("test")
    assert found.classes == ("a", "b")
    assert [item[:3] for item in found.items] == [("1", "one, two", "b"), ("2", "three", "a")]


def test_a_parquet_of_pairs(tmp_path):
    lines = {"q": ["x", "y"], "p": ["u", "v"], "label": [1, 0], "key": ["k1", "k2"]}
    pq.write_table(pa.table(lines), tmp_path / "items.parquet")
    data = TextTable(
        name="mine", path=str(tmp_path / "items.parquet"), text="q", pair="p", id="key", labels=("no", "yes")
    )
    assert data.kind == "pair"
    assert [item[:3] for item in data.items("test").items] == [
        ("k1", ("x", "u"), "yes"),
        ("k2", ("y", "v"), "no"),
    ]


def test_glues_cola_has_no_names_of_columns_and_no_quotation(tmp_path):
    options = {
        "columns": ("source", "label", "mark", "sentence"),
        "text": "sentence",
        "labels": ("bad", "good"),
        "quoted": False,
    }
    data = text_table(tmp_path, 'gj04\t1\t\tHe said "go.\ngj04\t0\t*\tGo he.\n', ".tsv", **options)
    assert [(item.content, item.label) for item in data.items("test").items] == [
        ('He said "go.', "good"),
        ("Go he.", "bad"),
    ]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("", {}, "has no items"),
        ("text,label\n", {}, "has no items"),
        ("text,class\nx,a\n", {}, "has no column label: its columns are text, class"),
        ("text,label\nx,a\ny,\n", {}, "item 2 of .* has no label"),
        ("text,label\nx,a\ny\n", {}, "item 2 of .* has no text"),
        ("text,label,id\nx,a,\n", {"id": "id"}, "item 1 of .* has no id"),
        ("text,label,id\nx,a,7\ny,a,7\n", {"id": "id"}, "2 items of .* have the id 7"),
        ("text,label\nx,2\n", {"labels": ("no", "yes")}, "label '2', which is none of 0 to 1"),
        ("text,label\nx,-1\n", {"labels": ("no", "yes")}, "label '-1', which is none of 0 to 1"),
        ("text,label\nx,c\n", {"classes": ("a", "b")}, "labels that dataset.classes lacks: c"),
    ],
)
def test_a_table_by_which_nothing_can_be_scored_is_refused(tmp_path, content, options, said):
    with pytest.raises(Unavailable, match=said):
        text_table(tmp_path, content, **options).items("test")


def test_a_parquet_without_a_label_says_so(tmp_path):
    pq.write_table(pa.table({"text": ["x", "y"], "label": [1.0, float("nan")]}), tmp_path / "items.parquet")
    with pytest.raises(Unavailable, match=r"item 2 of .* has no label"):
        TextTable(name="mine", path=str(tmp_path / "items.parquet")).items("test")


def test_half_readable_lines_are_skipped_and_counted_only_if_asked(tmp_path):
    found = text_table(tmp_path, "text,label\nx,a\ny\nz,b\n", broken="skip").items("test")
    assert ([item.id for item in found.items], found.skipped) == (["1", "3"], 1)


def test_a_file_that_is_no_parquet_and_one_that_is_no_text_are_refused(tmp_path):
    for name in ("items.parquet", "items.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00nothing")
        with pytest.raises(Unavailable, match=r"can't be read|no Parquet"):
            TextTable(name="mine", path=str(tmp_path / name)).items("test")


def test_items_are_divided_alike_in_each_class_and_limits_draw_from_them(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn divides items")
    lines = "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(40))
    data = text_table(tmp_path, "text,label\n" + lines, test_share=0.25, limit=4)
    test, train = data.items("test"), data.items("train")
    assert (len(test.items), len(train.items)) == (4, 30)
    assert not {item.id for item in test.items} & {item.id for item in train.items}
    assert sorted(item.label for item in train.items) == ["a"] * 15 + ["b"] * 15
    assert data.items("test").digest == test.digest != train.digest


def test_a_table_without_others_to_fit_on_says_so(tmp_path):
    with pytest.raises(
        Unavailable, match=r"no items to fit on: give dataset.train_path, or dataset.test_share"
    ):
        text_table(tmp_path, "text,label\nx,a\n").items("train")


def folder(tmp_path, **images):
    for name, image in images.items():
        label, _, file = name.partition("__")
        (tmp_path / label).mkdir(exist_ok=True)
        image.save(tmp_path / label / f"{file}.png")
    return tmp_path


def test_a_folder_for_each_class(tmp_path):
    grey = Image.new("L", (4, 4))
    folder(tmp_path, n02__b=grey, n01__a=grey, n01__c=grey)
    (tmp_path / "n01" / "notes.txt").write_text("no image")
    found = ClassFolders(name="mine", path=str(tmp_path)).items("test")
    assert found.classes == ("n01", "n02")
    assert [(item.id, item.label) for item in found.items] == [
        ("n01/a.png", "n01"),
        ("n01/c.png", "n01"),
        ("n02/b.png", "n02"),
    ]


def test_a_csv_of_labels_for_one_folder(tmp_path):
    folder(tmp_path, images__a=Image.new("RGB", (4, 4)), images__b=Image.new("RGB", (4, 4)))
    (tmp_path / "labels.csv").write_text("file,class\na.png,cat\nb.png,dog\n")
    data = ClassFolders(name="mine", path=str(tmp_path / "images"), labels=str(tmp_path / "labels.csv"))
    assert [(item.id, item.label) for item in data.items("test").items] == [
        ("a.png", "cat"),
        ("b.png", "dog"),
    ]


def test_a_broken_image_is_named_and_skipped_only_if_asked(tmp_path):
    folder(tmp_path, n01__a=Image.new("RGB", (64, 64), "red"), n01__b=Image.new("RGB", (4, 4)))
    whole = (tmp_path / "n01" / "a.png").read_bytes()
    (tmp_path / "n01" / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unavailable, match=r"n01/a\.png can't be read: .*dataset.broken=skip"):
        ClassFolders(name="mine", path=str(tmp_path)).items("test")
    found = ClassFolders(name="mine", path=str(tmp_path), broken="skip").items("test")
    assert ([item.id for item in found.items], found.skipped) == (["n01/b.png"], 1)


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(Unavailable, match="has no items"):
        ClassFolders(name="mine", path=str(tmp_path)).items("test")
    with pytest.raises(Unavailable, match="is not on this host: give another path"):
        ClassFolders(name="mine", path=str(tmp_path / "none")).items("test")


def test_texts_in_folders_are_read_in_either_encoding(tmp_path):
    (tmp_path / "money").mkdir()
    (tmp_path / "money" / "1.txt").write_bytes("price: £5".encode("latin-1"))
    (tmp_path / "money" / "2.txt").write_text("price: £6", encoding="utf-8")
    found = ClassFolders(name="mine", path=str(tmp_path), content="text").items("test")
    assert [item.content for item in found.items] == ["price: £5", "price: £6"]


def test_lines_of_pixels_are_images_and_the_class_comes_last(tmp_path):
    with gzip.open(tmp_path / "items.csv.gz", "wt") as stream:
        stream.write("0,16,8,4,7\n16,0,0,0,3\n")
    found = PixelTable(name="mine", path=str(tmp_path / "items.csv.gz"), brightest=16.0).items("test")
    assert [item.label for item in found.items] == ["7", "3"]
    assert found.items[0].content.tolist() == [[0, 255], [128, 64]]


def test_pixels_that_are_no_square_or_no_numbers_are_refused(tmp_path):
    for content, said in (
        ("1,2,3,7\n", "3 pixels a line, which are no square"),
        ("1,x\n", "no table of numbers"),
        ("", "no items"),
    ):
        (tmp_path / "items.csv").write_text(content)
        with pytest.raises(Unavailable, match=said):
            PixelTable(name="mine", path=str(tmp_path / "items.csv")).items("test")


def archive(tmp_path, lines):
    def packed(name, data):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as inside:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            inside.addfile(member, io.BytesIO(data))
        return stream.getvalue()

    inner = packed("hutto/movieReviewSnippets_GroundTruth.txt", lines.encode())
    file = tmp_path / "vader.tar.gz"
    file.write_bytes(packed("vader-3/additional_resources/hutto_ICWSM_2014.tar.gz", inner))
    return RatedSentences(name="movies", path=str(file))


def test_rated_sentences_are_positive_or_negative_and_the_lukewarm_are_left_out(tmp_path):
    found = archive(tmp_path, "1_1\t2.5\tgreat\n1_2\t-0.2\tmeh\n1_3\t-1.0\tbad\n").items("test")
    assert [item[:3] for item in found.items] == [("1_1", "great", "positive"), ("1_3", "bad", "negative")]


def test_another_archive_is_refused(tmp_path):
    (tmp_path / "other.tar.gz").write_bytes(b"nothing")
    with pytest.raises(Unavailable, match="has no movieReviewSnippets"):
        RatedSentences(name="movies", path=str(tmp_path / "other.tar.gz")).items("test")


def test_squads_questions_with_all_accepted_answers(tmp_path):
    answers = [
        {"text": "two", "answer_start": 0},
        {"text": "two", "answer_start": 0},
        {"text": "2", "answer_start": 9},
    ]
    questions = [
        {"id": "q1", "question": "How many?", "answers": answers},
        {"id": "q2", "question": "Who?", "answers": []},
    ]
    content = {"data": [{"paragraphs": [{"context": "two or 2", "qas": questions}]}]}
    (tmp_path / "dev.json").write_text(json.dumps(content))
    with pytest.raises(Unavailable, match=r"question q2 .* has no answer"):
        Squad(name="mine", path=str(tmp_path / "dev.json")).items("test")
    found = Squad(name="mine", path=str(tmp_path / "dev.json"), broken="skip").items("test")
    assert found.items[0] == ("q1", ("How many?", "two or 2"), "", ("two", "2"))
    assert found.skipped == 1


def test_a_json_of_another_shape_is_refused(tmp_path):
    (tmp_path / "dev.json").write_text('{"data": [1]}')
    with pytest.raises(Unavailable, match=r"is no JSON as SQuAD's"):
        Squad(name="mine", path=str(tmp_path / "dev.json")).items("test")


def test_a_package_that_is_not_installed_names_the_command():
    missing = TextTable(name="mine", path="pkg://no-such-package/data.csv").missing()
    assert missing.endswith("come with the package no-such-package: pip install --no-deps no-such-package")


def test_a_package_without_the_file_says_so():
    assert "has no nothing.csv" in TextTable(name="mine", path="pkg://numpy/nothing.csv").missing()


def test_other_content_is_another_data_set(tmp_path):
    data = text_table(tmp_path, "text,label\nx,a\n")
    before, digest = data.digest(), data.items("test").digest
    text_table(tmp_path, "text,label\nxy,a\n")
    assert data.digest() != before
    assert data.items("test").digest != digest


def test_a_branch_of_the_hub_is_no_pin():
    with pytest.raises(ValueError, match="revision"):
        Hub(name="mine", path="nyu-mll/glue", revision="main")


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the library `datasets` that gives these lines, with two named classes."""

    class Lines(list):
        column_names = ("sentence", "label", "idx")

        @property
        def features(self):
            return {"label": SimpleNamespace(names=["negative", "positive"])}

    def made(*labels):
        def load_dataset(path, config, *, split, revision):
            assert (path, config, split, revision) == ("nyu-mll/glue", "sst2", "validation", "a" * 40)
            return Lines(
                {"sentence": f"text {place}", "label": label, "idx": place}
                for place, label in enumerate(labels)
            )

        monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
        monkeypatch.setattr("benchmark.datasets.hub.libraries.versions", lambda *_, **__: {})
        options = {"config": "sst2", "text": "sentence", "id": "idx"}
        return Hub(name="hub", path="nyu-mll/glue", revision="a" * 40, **options)

    return made


def test_labels_of_the_hub_have_their_names(hub):
    found = hub(1, 0).items("test")
    assert [item[:3] for item in found.items] == [("0", "text 0", "positive"), ("1", "text 1", "negative")]
    assert found.classes == ("negative", "positive")


def test_items_of_the_hub_whose_labels_are_kept_back_are_refused(hub):
    with pytest.raises(Unavailable, match="item 2 has no label"):
        hub(1, -1).items("test")


def test_the_library_of_the_hub_is_one_that_is_installed(monkeypatch):
    """A folder of this name on the search path is not it."""
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace())
    monkeypatch.setattr("importlib.metadata.version", missing_distribution)
    said = Hub(name="hub", path="a/b", revision="a" * 40).missing()
    assert said == "dataset=hub: datasets is not installed: pip install datasets"


def missing_distribution(name):
    raise PackageNotFoundError(name)

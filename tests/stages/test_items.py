"""A real model answers images with planted labels, in children: exact scores, one artefact, resumed runs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmark.compilers.torchscript import TorchScript
from benchmark.execution.interpreters import Interpreters
from benchmark.execution.server_connection import CORE
from benchmark.labelled.answers import Blocks
from benchmark.store.results import ResultsStore
from benchmark.tasks.image_classification import ImageClassification

pytestmark = pytest.mark.real

MODES = ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16"]
SIZES = [(32, 32), (7, 90), (200, 3), (64, 48)]
COUNT, LABELS = 37, 10  # 37 is no multiple of a batch


def images(folder):
    """Images of every mode and odd sizes."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(COUNT):
        mode, (width, height) = MODES[number % len(MODES)], SIZES[number % len(SIZES)]
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        image = Image.fromarray(pixels)
        image = Image.fromarray(pixels[..., 0] * np.uint16(257)) if mode == "I;16" else image.convert(mode)
        image.save(folder / f"{number:03d}.{'tif' if mode == 'CMYK' else 'png'}")
    return sorted(folder.iterdir())


def answered_by_hand(architecture, weights, files):
    """In a child: save a random model; return its logits by a plain loop, an image at a time."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**architecture)).eval()
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(weights)
    logits = []
    for file in files:
        image = Image.open(file)
        if image.mode == "I;16":
            image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
        pixels = np.asarray(image.convert("RGBA").convert("RGB").resize((32, 32), Image.BILINEAR), np.float32)
        with torch.inference_mode():
            logits.append(
                model(torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)[None]).logits[0].numpy()
            )
    return np.stack(logits)


@pytest.fixture(scope="module")
def interpreters():
    """Where children come from, with all that these cells need: else each imports torch by itself."""
    modules = (*ImageClassification.preload, *TorchScript.preload, "benchmark.labelled.questions")
    stages = (f"benchmark.stages.{stage}" for stage in ("build", "compile", "items", "measure"))
    children = Interpreters({*modules, *stages, *CORE}, {})
    yield children
    children.close()


@pytest.fixture(scope="module")
def planted(tmp_path_factory, in_a_child):
    """Weights, and images in ImageNet's layout: 20 are of the model's first class, 8 of its third."""
    folder = tmp_path_factory.mktemp("planted")
    files = images(folder / "images")
    logits = in_a_child(answered_by_hand, VIT, folder / "weights", files)
    order = np.argsort(-logits, axis=1)
    for number in range(LABELS):
        (folder / "val" / f"n{number:08d}").mkdir(parents=True)
    for number, file in enumerate(files):
        rank = 0 if number < 20 else 2 if number < 28 else 9
        file.rename(folder / "val" / f"n{order[number, rank]:08d}" / file.name)
    return folder


VIT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "image_size": 32,
    "patch_size": 8,
    "num_channels": 3,
    "num_labels": LABELS,
}
"""As conf/model/vit_tiny.yaml."""


@pytest.fixture
def cell(compose, planted):
    names = ",".join(f"n{number:08d}" for number in range(LABELS))

    def composed(*overrides, scenario="accuracy"):
        return compose(
            f"scenario={scenario}",
            "model=vit_tiny",
            f"weights={planted / 'weights'}",
            "dataset=class_folders",
            f"dataset.path={planted / 'val'}",
            f"dataset.classes=[{names}]",
            "batch=8",
            "hardware.threads=1",
            "sampling=quick",
            *overrides,
        )

    return composed


def test_planted_labels_give_exact_scores_and_the_artefact_is_that_of_latency(cell, run_cells):
    eager, scripted, timed = run_cells(
        cell("compiler=eager"),
        cell("compiler=torchscript"),
        cell("compiler=torchscript", scenario="latency"),
    )
    for row in (eager, scripted):
        assert row["status"] == "ok", row["error"]
        assert (row["accuracy"], row["accuracy_n"]) == (20 / COUNT, COUNT)
        assert dict(row["metrics"])["top5"] == pytest.approx(28 / COUNT)
        assert (row["accuracy_lost"], row["accuracy_won"], row["reference_agreement"]) == (0, 0, 1.0)
        assert row["samples"] == 5  # of 8 images each, the last padded
        assert row["accuracy_verdict"] == "no measurable difference"
    assert scripted["artifact_key"] == timed["artifact_key"] is not None
    assert timed["accuracy"] is None
    answers = ResultsStore(cell().store_root).answers(eager["run_id"]).to_pylist()
    assert sum(line["right"] for line in answers) == 20
    assert len({line["id"] for line in answers}) == COUNT


def test_answers_of_a_stopped_run_are_kept_and_count_in_the_next(cell, run_cells, monkeypatch):
    kept, discard = [], Blocks.discard
    monkeypatch.setattr(Blocks, "discard", lambda blocks: kept.append(blocks.folder))
    (first,) = run_cells(cell("compiler=eager", "batch=2"))
    (block,) = kept[-1].glob("block-*.npz")
    written = block.stat().st_mtime_ns
    monkeypatch.setattr(
        Blocks, "discard", lambda blocks: written == block.stat().st_mtime_ns and discard(blocks)
    )
    (again,) = run_cells(cell("compiler=eager", "batch=2", "run=all"))
    assert not kept[-1].exists()  # it was not written again, and its answers are in the store
    assert (again["accuracy"], again["samples"]) == (first["accuracy"], first["samples"]) == (20 / COUNT, 19)


@pytest.mark.parametrize(
    ("override", "status", "said"),
    [
        ("dataset.classes=[]", "incompatible", "doesn't know the label"),
        ("dataset.path=/nowhere", "unavailable", "/nowhere is not on this host"),
        ("head=linear_probe", "incompatible", "image-classification has a head of its own"),
    ],
)
def test_what_cannot_be_answered_is_a_row_with_its_reason(cell, run_cells, override, status, said):
    (row,) = run_cells(cell(override))
    assert row["status"] == status
    assert said in (row["error"] or "")

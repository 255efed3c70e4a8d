"""A real decoder is scored along texts by its two compiled networks: perplexity against a loop by hand."""

from __future__ import annotations

import csv
import math

import pytest

from benchmark.compilers.torchscript import TorchScript
from benchmark.execution.interpreters import Interpreters
from benchmark.execution.server_connection import CORE
from benchmark.models.real_inputs import sentences
from benchmark.store.results import ResultsStore
from benchmark.tasks.text_generation import TextGeneration

pytestmark = pytest.mark.real

PROMPT, SCORED = 4, 8
TEXTS = [*sentences()[:9], "Short"]


@pytest.fixture(scope="module")
def interpreters():
    stages = (f"benchmark.stages.{stage}" for stage in ("build", "compile", "items", "measure"))
    modules = (*TextGeneration.preload, *TorchScript.preload, "benchmark.labelled.questions")
    children = Interpreters({*modules, *stages, *CORE}, {})
    yield children
    children.close()


def scored_by_hand(architecture, folder, texts):
    """In a child: save a model and a tokenizer; return the perplexity by one forward of each text."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    raw = Tokenizer(models.WordLevel(unk_token="[UNK]"))  # noqa: S106 - no password
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.train_from_iterator(
        texts, trainers.WordLevelTrainer(vocab_size=900, special_tokens=["[PAD]", "[UNK]"])
    )
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]")  # noqa: S106
    words.save_pretrained(folder)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = {name: value for name, value in architecture.items() if name != "model_type"}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config)).eval()
    torch.nn.init.normal_(model.transformer.wte.weight, std=0.3)
    model.save_pretrained(folder)
    nats, count = 0.0, 0
    for text in texts:
        ids = words(text)["input_ids"][: PROMPT + SCORED]
        if len(ids) > PROMPT:
            with torch.inference_mode():
                logits = model(torch.tensor([ids])).logits[0]
            own, given = logits[PROMPT - 1 : -1], torch.tensor(ids[PROMPT:])
            nats += float(torch.nn.functional.cross_entropy(own, given, reduction="sum"))
            count += len(given)
    return math.exp(nats / count), count


def test_the_perplexity_is_that_of_a_loop_by_hand(compose, run_cells, interpreters, tmp_path):
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *((text, "any") for text in TEXTS)])
    e = compose(
        "scenario=accuracy",
        "model=gpt2_tiny",
        f"weights={tmp_path / 'weights'}",
        "dataset=text_table",
        f"dataset.path={tmp_path / 'texts.csv'}",
        "compiler=torchscript",
        f"input_length={PROMPT}",
        f"output_length={SCORED}",
        "batch=4",
        "hardware.threads=1",
        "sampling=quick",
    )
    call = interpreters.call_in(None)
    from benchmark.execution.forkserver import ChildLimits

    limits = ChildLimits(log=tmp_path / "child.log", timeout_s=120)
    by_hand, count = call(limits, scored_by_hand, dict(e.model.architecture), tmp_path / "weights", TEXTS)
    (row,) = run_cells(e)
    assert row["status"] == "ok", row["error"]
    assert row["metric"] == "perplexity"
    assert row["metric_value"] == pytest.approx(by_hand, rel=1e-4)
    assert row["reference_agreement"] == 1.0
    assert row["accuracy"] is None
    answers = ResultsStore(e.store_root).answers(row["run_id"]).to_pylist()
    assert sum(line["tokens"] for line in answers) == count
    assert answers[-1]["tokens"] == 0  # the prompt is longer than the text
    assert len(answers[0]["next_tokens"]) == SCORED

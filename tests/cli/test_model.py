"""`model new` writes a YAML from a configuration, `model check` says what is known of a model."""

from __future__ import annotations

import json

import pytest
import yaml
from hydra.errors import MissingConfigException
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.config.sweep import compose_grid
from tests.benchmarks import new_architectures

pytestmark = pytest.mark.real

BERT = {
    "architectures": ["BertForTokenClassification"], "model_type": "bert", "hidden_size": 32,
    "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 200,
    "hidden_act": "gelu", "id2label": {"0": "a", "1": "b", "2": "c"}, "torch_dtype": "float16",
    "transformers_version": "4.1.0",
}  # fmt: skip
"""A config.json as the hub has them: defaults, labels and keys that say nothing of the architecture."""


@pytest.fixture
def verb(tmp_path, monkeypatch):
    """Run `model` with these words; return its output, or the message of its error."""
    monkeypatch.chdir(tmp_path)

    def ran(*words):
        outcome = CliRunner().invoke(app, ["model", *words])
        return str(outcome.exception) if outcome.exception and outcome.exit_code == 1 else outcome.output

    return ran


@pytest.fixture
def folder(tmp_path):
    """A folder with the config.json of a model."""
    made = tmp_path / "My-Bert.v2"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(BERT))
    return made


def written(tmp_path, name):
    return yaml.safe_load((tmp_path / "out" / "model" / f"{name}.yaml").read_text())


def test_a_yaml_states_what_differs_and_counts_every_task(verb, folder, tmp_path):
    printed = verb("new", str(folder), "--out", "out")
    content = written(tmp_path, "my_bert_v2")
    assert content["defaults"] == [{"override /task@_global_.task": "token_classification"}]
    assert content["architecture"] == {
        "model_type": "bert", "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64,
        "num_hidden_layers": 3, "vocab_size": 200, "num_labels": 3,
    }  # fmt: skip
    assert next(iter(content["parameters"])) == "token_classification"
    assert {"feature_extraction", "fill_mask", "text_classification"} < {*content["parameters"]}
    assert "text_generation" not in content["parameters"]  # an encoder
    assert "python -m benchmark model check my_bert_v2" in printed
    search = f"hydra.searchpath=[file://{tmp_path}/out]"
    (e,) = compose_grid(["model=my_bert_v2", "compiler=eager", search]).experiments
    assert e.model.max_sequence_length == 512  # of the configuration


def test_it_overwrites_only_when_said(verb, folder):
    assert "a bert with" in verb("new", str(folder), "--out", "out", "--name", "mine")
    assert "out/model/mine.yaml: is there already: add --force" in verb(
        "new", str(folder), "--out", "out", "--name", "mine"
    )
    assert "a bert with" in verb("new", str(folder), "--out", "out", "--name", "mine", "--force")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--architecture", "bertt"], "did you mean 'bert'?"),
        (["--architecture", "wav2vec2"], "Wav2Vec2Model) can't be called with input_ids"),
        (["--architecture", "sam3_mask_decoder"], "it is a part of other models"),
        ([], "give a folder or a hub id, or --architecture MODEL_TYPE"),
        (["above"], "use above/0_Transformer"),
        (["pipe"], "is a pipeline of diffusers"),
        (["code"], "can't read its config.json"),
        (["--architecture", "vit", "--task", "image_clasification"], "did you mean 'image_classification'?"),
    ],
)
def test_what_it_cannot_write_is_said_by_its_cause(verb, folder, tmp_path, words, reason):
    (tmp_path / "above").mkdir()
    folder.rename(tmp_path / "above" / "0_Transformer")
    for name, file, content in (
        ("pipe", "model_index.json", {}),
        ("code", "config.json", {"model_type": "mine"}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(json.dumps(content))
    assert reason in verb("new", *words, "--out", "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("architecture", "task", "heads"),
    [
        ("dinov2", "image_classification", 12),
        ("gpt_neo", "text_generation", 16),
        ("fnet", "text_classification", None),
    ],
)
def test_a_small_twin_keeps_heads_and_proportions(verb, tmp_path, architecture, task, heads):
    import transformers

    verb("new", "--architecture", architecture, "--shrink", "--out", "out")
    content = written(tmp_path, f"{architecture}_tiny")
    assert task in content["parameters"]
    fields = dict(content["architecture"])
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    assert config.num_hidden_layers == 2
    assert heads in {None, config.num_attention_heads if heads else None}
    assert min(content["parameters"].values()) < 10_000_000


def test_check_shows_counts_inputs_limits_and_compilers(verb):
    found = json.loads(verb("check", "vit_tiny", "batch=3", "--json"))
    by_task = {one["name"]: one for one in found["tasks"]}
    assert (
        by_task["image_classification"]["parameters"] == by_task["image_classification"]["stated"] == 114250
    )
    assert by_task["feature_extraction"]["parameters"] > 0
    assert found["inputs"] == [{"name": "pixel_values", "dtype": "float32", "shape": [3, 3, 32, 32]}]
    assert found["limits"] == [{"name": "pixels", "most": 32, "field": "image_size"}]
    compilers = {one["name"]: one for one in found["compilers"]}
    assert compilers["eager"]["takes"] == "yes"
    assert compilers["neuronx"] == {
        "name": "neuronx", "takes": "no", "reason": "runs on neuroncore-v2 or neuroncore-v3 only",
    }  # fmt: skip


def test_check_finds_a_wrong_number_and_the_nearest_name(verb, folder, tmp_path):
    verb("new", str(folder), "--out", "out", "--name", "mine")
    file = tmp_path / "out" / "model" / "mine.yaml"
    content = yaml.safe_load(file.read_text())
    content["parameters"]["token_classification"] += 1
    file.write_text(yaml.safe_dump(content))
    search = f"hydra.searchpath=[file://{tmp_path}/out]"
    assert app(["model", "check", "mine", search], standalone_mode=False) == 2
    with pytest.raises(MissingConfigException) as absent:  # `explained` adds the nearest name, as for a run
        app(["model", "check", "mne", search], standalone_mode=False)
    assert "mine" in absent.value.options


def test_architectures_without_a_yaml_run_or_are_refused_in_our_words(tmp_path):
    """A sample of what `python -m tests.benchmarks.new_architectures` tries with forty."""
    names = ["fnet", "dinov2", "wav2vec2"]
    ends = {name: new_architectures.write(name, tmp_path) for name in names}
    assert {name: end.word for name, end in ends.items() if end} == {"wav2vec2": "refused"}
    outcomes = new_architectures.run(["fnet", "dinov2"], tmp_path, ("eager", "torchscript"))
    assert {outcome.word for outcome in outcomes.values()} == {"ok"}

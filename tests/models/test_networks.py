"""Local weights are held to the YAML; what transformers says becomes a mistake of the configuration."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.errors import ConfigError
from benchmark.records import Model

pytestmark = pytest.mark.real

SIZES = {
    "vocab_size": 100,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}
TASK, AUTO = "text_classification", "AutoModelForSequenceClassification"
MODEL = Model(name="mine", architecture={"model_type": "bert", **SIZES}, file="/conf/model/mine.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Save a configuration's network as a user would have it, once each."""
    import transformers

    made = {}

    def saved(kind, **fields):
        if (key := (kind, str(fields))) not in made:
            network = getattr(transformers, kind)
            made[key] = tmp_path_factory.mktemp("weights")
            network(network.config_class(**{**SIZES, **fields})).save_pretrained(made[key])
        return str(made[key])

    return saved


def write(model, weights, folder, task=TASK, auto_class=AUTO):
    from benchmark.models import networks

    return networks.write_weights(auto_class, model, task, weights, 0, folder)


def test_a_folder_that_holds_the_model_is_taken_and_counted(folder, tmp_path):
    made = write(MODEL, "random", tmp_path)
    assert write(MODEL, folder("BertForSequenceClassification"), tmp_path) == made
    stated = replace(MODEL, parameters={TASK: made["parameters"]})
    assert write(stated, folder("BertForSequenceClassification"), tmp_path) == made


def test_a_folder_that_has_only_bin_files_is_held_to_the_yaml_too(folder, tmp_path):
    import torch
    from safetensors.torch import load_file

    old = Path(shutil.copytree(folder("BertForSequenceClassification"), tmp_path / "old"))
    tensors = load_file(old / "model.safetensors")
    (old / "model.safetensors").unlink()
    torch.save(tensors, old / "pytorch_model.bin")
    made = write(MODEL, str(old), tmp_path)
    assert made == write(MODEL, folder("BertForSequenceClassification"), tmp_path)
    torch.save(
        {name: tensor for name, tensor in tensors.items() if "classifier" not in name},
        old / "pytorch_model.bin",
    )
    with pytest.raises(ConfigError, match=r"it lacks classifier\.bias and 1 more"):
        write(MODEL, str(old), tmp_path)
    other = replace(MODEL, architecture={**MODEL.architecture, "model_type": "roberta"})
    with pytest.raises(ConfigError, match="a bert is no roberta"):
        write(other, str(old), tmp_path)


def test_the_head_of_another_task_may_be_left_over(folder, tmp_path):
    write(MODEL, folder("BertForSequenceClassification"), tmp_path, "feature_extraction", "AutoModel")


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("BertModel", {}, "it lacks classifier.bias and 1 more"),
        ("BertForSequenceClassification", {"num_hidden_layers": 3}, "num_hidden_layers is 3, the YAML's 2"),
        (
            "BertForSequenceClassification",
            {"num_attention_heads": 4},
            "num_attention_heads is 4, the YAML's 2",
        ),
        ("BertForSequenceClassification", {"num_labels": 3}, "parameters, and the YAML"),
        ("BertForSequenceClassification", {"num_labels": 3}, "num_labels is 3, the YAML's 2"),
        ("RobertaForSequenceClassification", {}, "a roberta is no bert"),
    ],
)
def test_a_folder_with_another_model_is_refused_with_the_difference(folder, tmp_path, kind, fields, reason):
    with pytest.raises(ConfigError) as refused:
        write(MODEL, folder(kind, **fields), tmp_path)
    assert reason in str(refused.value)
    assert "correct /conf/model/mine.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ({"hidden_size": 15}, "transformers can't build this architecture"),
        ({"hidden_size": "many"}, "transformers can't build this architecture"),
        ({"model_type": "bertt"}, "transformers can't build this architecture"),
    ],
    ids=str,
)
def test_what_transformers_refuses_is_a_mistake_in_the_yaml(tmp_path, architecture, reason):
    model = replace(MODEL, architecture={**MODEL.architecture, **architecture})
    with pytest.raises(ConfigError, match=reason) as refused:
        write(model, "random", tmp_path)
    assert "correct `architecture` in /conf/model/mine.yaml" in str(refused.value)


def test_another_number_of_parameters_names_the_yaml_and_a_field_that_is_misspelled(tmp_path):
    model = replace(MODEL, parameters={TASK: 1}, architecture={**MODEL.architecture, "num_hiden_layers": 3})
    with pytest.raises(
        ConfigError, match=r"num_hiden_layers: did you mean 'num_hidden_layers'\? correct /conf"
    ):
        write(model, "random", tmp_path)


def test_published_weights_without_the_head_are_counted_as_untrained(folder, tmp_path):
    made = write(replace(MODEL, hub_id=folder("BertModel")), "pretrained", tmp_path)
    assert made["untrained"] == ["classifier.bias", "classifier.weight"]

"""Models are the published ones: their architectures have as many parameters as their YAMLs state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

MODELS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))
}
PUBLISHED_ENCODERS = {
    "albert": 11_683_584,
    "bert": 109_482_240,
    "bert_large": 335_141_888,
    "distilbert": 66_362_880,
    "roberta": 124_645_632,
}
"""Parameters of the checkpoints on the hub as AutoModel loads them, without a head."""
PUBLISHED_CLASSIFIERS = {"beit": 86_530_984, "vit": 86_567_656}
"""Parameters of the checkpoints on the hub, with their head of 1000 labels."""

COUNT = """
import json, sys
from importlib import import_module

import torch, transformers

counts = {}
for name, model in json.load(sys.stdin).items():
    architecture = model["architecture"]
    kind = architecture.pop("model_type")
    auto_class = import_module(model["task"]["_target_"].rpartition(".")[0])._AUTO_CLASS
    with torch.device("meta"):
        for auto in (auto_class, "AutoModel"):
            config = transformers.AutoConfig.for_model(kind, **architecture)
            network = getattr(transformers, auto).from_config(config)
            counts.setdefault(name, []).append(sum(parameter.numel() for parameter in network.parameters()))
print(json.dumps(counts))
"""

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def counted():
    command = [sys.executable, "-W", "ignore", "-c", COUNT]
    ran = subprocess.run(
        command, input=json.dumps(MODELS), capture_output=True, text=True, timeout=240, check=True
    )
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", MODELS)
def test_an_architecture_has_the_parameters_its_yaml_states(counted, name):
    assert counted[name][0] == MODELS[name]["parameters"]


@pytest.mark.parametrize("name", PUBLISHED_ENCODERS)
def test_an_encoder_has_the_parameters_that_were_published(counted, name):
    assert counted[name][1] == PUBLISHED_ENCODERS[name]


@pytest.mark.parametrize("name", PUBLISHED_CLASSIFIERS)
def test_a_classifier_has_the_parameters_that_were_published(counted, name):
    assert counted[name][0] == PUBLISHED_CLASSIFIERS[name]

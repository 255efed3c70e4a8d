"""Models are the published ones: their architectures have as many parameters as their YAMLs state."""

from __future__ import annotations

from importlib import import_module

import pytest
import yaml

from benchmark.config.folder import CONF
from benchmark.records import Model


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def auto_class(task):
    """Name of the transformers class that a task loads; null for one that is made of several."""
    module, _, name = read(CONF / "task" / f"{task}.yaml")["_target_"].rpartition(".")
    return getattr(getattr(import_module(module), name), "auto_class", None)


MODELS = {path.stem: read(path) for path in sorted((CONF / "model").glob("*.yaml"))}
CLASSES = {path.stem: auto_class(path.stem) for path in sorted((CONF / "task").glob("*.yaml"))}
STATED = {
    (name, task): count
    for name, model in MODELS.items()
    for task, count in model["parameters"].items()
    if CLASSES[task]
}
"""Models of several networks aren't among them: those are counted when they are built."""
PUBLISHED = {
    # Checkpoints on the hub as AutoModel loads them, without a head.
    ("albert", "feature_extraction"): 11_683_584,
    ("bert", "feature_extraction"): 109_482_240,
    ("bert_cased", "feature_extraction"): 108_310_272,
    ("bert_large", "feature_extraction"): 335_141_888,
    ("bert_large_cased", "feature_extraction"): 333_579_264,
    ("camembert", "feature_extraction"): 110_621_952,
    ("distilbert", "feature_extraction"): 66_362_880,
    ("distilbert_cased", "feature_extraction"): 65_190_912,
    ("electra", "feature_extraction"): 108_891_648,
    ("openai_gpt", "feature_extraction"): 116_534_784,
    ("roberta", "feature_extraction"): 124_645_632,
    ("roberta_large", "feature_extraction"): 355_359_744,
    ("xlm_roberta", "feature_extraction"): 278_043_648,
    ("xlnet", "feature_extraction"): 116_718_336,
    # With their head.
    ("beit", "image_classification"): 86_530_984,
    ("bert_mrpc", "text_classification"): 108_311_810,
    ("clip", "zero_shot_image_classification"): 151_277_313,
    ("clip_large", "zero_shot_image_classification"): 427_616_513,
    ("deit", "image_classification"): 86_567_656,
    ("deit_distilled", "image_classification"): 87_338_192,
    ("distilbert_squad", "question_answering"): 65_192_450,
    ("resnet18", "image_classification"): 11_689_512,
    ("resnet34", "image_classification"): 21_797_672,
    ("resnet50", "image_classification"): 25_557_032,
    ("resnet101", "image_classification"): 44_549_160,
    ("resnet152", "image_classification"): 60_192_808,
    ("llama31_8b", "text_generation"): 8_030_261_248,
    ("llama32_1b", "text_generation"): 1_235_814_400,
    ("qwen25_05b", "text_generation"): 494_032_768,
    ("qwen3_06b", "text_generation"): 596_049_920,
    ("smollm2_135m", "text_generation"): 134_515_008,
    ("smollm2_360m", "text_generation"): 361_821_120,
    ("tinyllama", "text_generation"): 1_100_048_384,
    ("unet", "image_segmentation"): 31_037_698,
    ("vgg11", "image_classification"): 132_863_336,
    ("vgg16", "image_classification"): 138_357_544,
    ("vit", "image_classification"): 86_567_656,
}
"""Parameters of models as their authors or the hub tell them."""
MILLIONS = {
    ("perceiver_fourier", "image_classification"): 48.4,
    ("perceiver_learned", "image_classification"): 62.3,
    ("yolos", "object_detection"): 30.7,
}
"""Those of which only the papers tell, in millions: Perceiver IO 2021, YOLOS 2021."""

pytestmark = pytest.mark.real


def count(stated):
    """In the child: parameters of each architecture, none of which is made."""
    import torch

    from benchmark.models import convnets, networks

    convnets.register()
    counts = {}
    for name, task in stated:
        with torch.device("meta"):
            model = Model(name=name, architecture=MODELS[name]["architecture"])
            config = networks.configuration(model)
            network = networks.network_class(CLASSES[task], config)._from_config(config)
        counts[name, task] = network.num_parameters()
    return counts


@pytest.fixture(scope="module")
def counted(in_a_child):
    return in_a_child(count, list(STATED))


@pytest.mark.parametrize("stated", STATED, ids="-".join)
def test_an_architecture_has_the_parameters_its_yaml_states(counted, stated):
    assert counted[stated] == STATED[stated]


@pytest.mark.parametrize("stated", PUBLISHED, ids="-".join)
def test_a_model_states_the_parameters_that_were_published(stated):
    assert STATED[stated] == PUBLISHED[stated]


@pytest.mark.parametrize("stated", MILLIONS, ids="-".join)
def test_a_model_states_about_the_parameters_of_its_paper(stated):
    assert round(STATED[stated] / 1e6, 1) == MILLIONS[stated]

"""What is read from the source of transformers: defaults, limits, sizes, names, classes by task."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from benchmark.models import architectures

pytestmark = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")


@pytest.mark.parametrize(
    ("architecture", "most"),
    [
        ({"model_type": "bert"}, 512),
        ({"model_type": "bert", "max_position_embeddings": 64}, 64),
        ({"model_type": "gpt2"}, 1024),
        ({"model_type": "gpt2", "n_positions": 64}, 64),
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 130, "pad_token_id": 1}, 128),
        ({"model_type": "mistral"}, 131072),
        ({"model_type": "clip", "text_config": {"max_position_embeddings": 16}}, 16),
        ({"model_type": "t5"}, None),
        ({"model_type": "bloom"}, None),
        ({"model_type": "vgg"}, None),
        ({"pipeline": "StableDiffusionPipeline"}, None),
    ],
    ids=str,
)
def test_most_tokens_are_those_of_the_position_embeddings(architecture, most):
    assert architectures.most_tokens(architecture) == most


@pytest.mark.parametrize(
    ("architecture", "edge"),
    [
        ({"model_type": "vit"}, 224),
        ({"model_type": "vit", "image_size": 32}, 32),
        ({"model_type": "vit", "image_size": [48, 48]}, 48),
        ({"model_type": "yolos", "image_size": [512, 864]}, None),
        ({"model_type": "layoutlmv3"}, 224),
        ({"model_type": "siglip"}, 224),
        ({"model_type": "clip", "vision_config": {"image_size": 32}}, 32),
        ({"model_type": "resnet"}, None),
        ({"model_type": "bert"}, None),
    ],
    ids=str,
)
def test_the_size_of_images_is_that_of_the_configuration(architecture, edge):
    assert architectures.image_edge(architecture) == edge


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (
            {"model_type": "bertt"},
            "model.architecture.model_type=bertt: transformers has no such architecture; ",
        ),
        ({"model_type": "bertt"}, "did you mean 'bert'?"),
        (
            {"model_type": "clip", "text_config": {"model_type": "clip_txt_model"}},
            "model.architecture.text_config.",
        ),
        ({"vocab_size": 10}, "model.architecture.model_type: is missing"),
    ],
    ids=str,
)
def test_an_unknown_architecture_is_refused_with_the_nearest_name(architecture, reason):
    assert reason in architectures.refuse(architecture, "AutoModel")


def test_an_architecture_without_a_class_for_the_task_is_refused_with_the_classes_it_has():
    refusal = architectures.refuse({"model_type": "wav2vec2"}, "AutoModelForSpeechSeq2Seq")
    assert "transformers has no AutoModelForSpeechSeq2Seq for it" in refusal
    assert "AutoModelForCTC" in refusal


@pytest.mark.parametrize(
    ("model_type", "auto_class"),
    [
        ("bert", "AutoModelForSequenceClassification"),
        ("whisper", "AutoModelForSpeechSeq2Seq"),
        ("perceiver", "AutoModelForImageClassification"),
        ("perceiver", "PerceiverForMultimodalAutoencoding"),
        ("unet", "AutoModelForSemanticSegmentation"),
    ],
)
def test_an_architecture_that_has_the_class_is_taken(model_type, auto_class):
    assert architectures.refuse({"model_type": model_type}, auto_class) is None


@pytest.mark.parametrize(
    ("model_type", "auto_class", "feeds", "reason"),
    [
        ("wav2vec2", "AutoModel", ("input_ids",), "it reads input_values"),
        (
            "bert",
            "AutoModelForSequenceClassification",
            ("input_ids", "bbox"),
            "can't be called with input_ids, bbox",
        ),
        (
            "siglip2_vision_model",
            "AutoModel",
            ("pixel_values",),
            "it needs pixel_attention_mask, spatial_shapes too",
        ),
    ],
)
def test_inputs_that_a_class_lacks_or_needs_are_refused_by_name(model_type, auto_class, feeds, reason):
    refusal = architectures.refuse_inputs({"model_type": model_type}, auto_class, feeds)
    assert reason in refusal
    assert refusal.endswith("choose another task")


@pytest.mark.parametrize(
    ("model_type", "auto_class", "feeds"),
    [
        ("fnet", "AutoModel", ("input_ids", "attention_mask")),  # it has no mask
        (
            "llama",
            "AutoModelForSequenceClassification",
            ("input_ids", "attention_mask"),
        ),  # an inherited forward
        ("dinov2", "AutoModel", ("pixel_values",)),
        ("unet", "AutoModelForSemanticSegmentation", ("pixel_values",)),
    ],
)
def test_inputs_that_fit_are_taken(model_type, auto_class, feeds):
    assert architectures.refuse_inputs({"model_type": model_type}, auto_class, feeds) is None


def test_a_class_of_one_architecture_is_refused_for_others():
    refusal = architectures.refuse({"model_type": "bert"}, "PerceiverForMultimodalAutoencoding")
    assert "transformers has no PerceiverForMultimodalAutoencoding for it" in refusal


@pytest.mark.parametrize(
    ("architecture", "most", "field"),
    [
        ({"model_type": "bert"}, 512, "max_position_embeddings 512"),
        ({"model_type": "roberta"}, 510, "max_position_embeddings 512, less 2 for pad_token_id 1"),
        ({"model_type": "clip"}, 77, "text_config.max_position_embeddings 77"),
        ({"model_type": "bert"}, 100, "max_sequence_length 100"),  # the YAML's own
    ],
)
def test_a_limit_names_the_field_that_it_comes_from(architecture, most, field):
    assert architectures.explain_limit(architecture, most) == field

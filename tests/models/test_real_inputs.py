"""Real inputs: passages of the lengths people write, photographs, a clear answer where there are none."""

from __future__ import annotations

import pytest

from benchmark.errors import Unavailable
from benchmark.models import real_inputs
from benchmark.records import Model

MODEL = Model(name="mine", architecture={"model_type": "bert"})


def test_passages_are_of_many_lengths():
    words = sorted(len(passage.split()) for passage in real_inputs.sentences())
    assert len(words) > 32
    assert words[0] == 1
    assert words[len(words) // 2] < 40 < words[-1]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    """A tokenizer trained on the passages, saved as one lies beside a model."""
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel(unk_token="[UNK]"))  # noqa: S106 - no password
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.train_from_iterator(
        real_inputs.sentences(), trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]"])
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=raw, **special).save_pretrained(folder)
    return folder


@pytest.mark.real
def test_text_is_padded_to_the_length_and_cut_beyond_it(tokenizer_folder):
    found = real_inputs.tokens(MODEL, tokenizer_folder, 8, 32, 0)
    assert found["input_ids"].shape == found["attention_mask"].shape == (8, 32)
    lengths = found["attention_mask"].sum(dim=1)
    assert lengths.min() < 32 == lengths.max()


@pytest.mark.real
def test_a_prompt_is_running_text_without_padding(tokenizer_folder):
    ids = real_inputs.prompt(MODEL, tokenizer_folder, 2, 3000, 1)
    assert ids.shape == (2, 3000)
    assert (ids[0, 1:] == ids[1, :-1]).all()


@pytest.mark.real
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_photographs_normalised_about_zero(tmp_path, channels):
    pytest.importorskip("skimage")
    found = real_inputs.pixels(tmp_path, 5, channels, 24, 0)
    assert found.shape == (5, channels, 24, 24)
    assert -1 <= found.min() < 0 < found.max() <= 1
    assert (found[0] == found[4]).all()
    assert (found[0] != found[1]).any()


@pytest.mark.real
def test_a_model_without_a_tokenizer_is_unavailable_with_advice(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "vocab_size": 30522}')
    with pytest.raises(Unavailable, match=r"mine has no tokenizer in .* names no hub_id: use inputs=random"):
        real_inputs.tokens(MODEL, tmp_path, 1, 8, 0)


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.875}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
        ("DetrImageProcessor", {"size": {"shortest_edge": 800, "longest_edge": 1333}}),
        ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}),
    ],
)
def test_a_processor_prepares_squares_whatever_it_calls_its_sizes(tmp_path, kind, fields):
    import transformers

    pytest.importorskip("skimage")
    getattr(transformers, kind)(**fields).save_pretrained(tmp_path)
    found = real_inputs.pixels(tmp_path, 2, 3, 48, 0)
    assert found.shape == (2, 3, 48, 48)
    assert found.min() < 0 < found.max()

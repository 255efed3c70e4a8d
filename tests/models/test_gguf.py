"""GGUF files: the plan reads their first lines, a child converts them once."""

from __future__ import annotations

import struct

import pytest

from benchmark.cell import cell_of
from benchmark.models import architectures, gguf_header
from benchmark.stages.plan import plan, refuse

LLAMA = {"model_type": "llama"}


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def header(architecture, *, magic=b"GGUF", version=3, key="general.architecture"):
    """A header with a number and a list of texts before the architecture."""
    before = text("a") + struct.pack("<II", 4, 7) + text("b") + struct.pack("<IIQ", 9, 8, 2) + text("x") * 2
    named = text(key) + struct.pack("<I", 8) + text(architecture)
    return magic + struct.pack("<IQQ", version, 0, 3) + before + named


@pytest.mark.parametrize(
    ("content", "stated", "words"),
    [
        (header("llama"), "llama", None),
        (header("llama"), "mistral", None),
        (header("gemma3"), "gemma3_text", None),
        (header("qwen2"), "llama", "a qwen2 is no llama"),
        (header("grok"), "llama", "a GGUF of architecture grok, which transformers can't read: it reads"),
        (header("llama", magic=b"GGML"), "llama", "it doesn't begin with GGUF"),
        (header("llama", version=1), "llama", "version 1"),
        (header("llama", key="general.name"), "llama", "it has no general.architecture"),
        (header("llama")[:30], "llama", "is no GGUF file that can be read"),
        (b"", "llama", "it doesn't begin with GGUF"),
    ],
)
def test_a_header_is_held_to_the_model(tmp_path, content, stated, words):
    file = tmp_path / "some.gguf"
    file.write_bytes(content)
    found = gguf_header.refuse(file, {"model_type": stated})
    assert (found is None) if words is None else (words in found)


def test_transformers_says_what_it_reads():
    assert {"llama", "qwen2", "qwen3", "phi3"} <= architectures.read_from_gguf()
    assert "tokenizer" not in architectures.read_from_gguf()


def test_the_plan_refuses_a_file_of_another_model_and_asks_for_a_missing_package(compose, tmp_path):
    file = tmp_path / "some.gguf"
    file.write_bytes(header("qwen2"))
    assert "a qwen2 is no llama" in refuse(cell_of(compose("model=llama_tiny", f"weights={file}")))
    assert "no such folder or file" in refuse(
        cell_of(compose("model=llama_tiny", f"weights={tmp_path / 'absent.gguf'}"))
    )
    absent = compose("model=llama_tiny", "weights=pkg://no-such-package/x.gguf")
    (run,) = plan([absent], lambda _: {}).runs[:1]
    assert run.fate == "unavailable"
    assert "pip install --no-deps no-such-package" in run.reason


def written(file, network):
    """In a file: a small Llama as llama.cpp has it, with its rotated rows in another order."""
    gguf = pytest.importorskip("gguf", reason="pip install gguf")
    config = network.config
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in network.state_dict().items():
        part = name.split(".")[-2]
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if part in heads:
            rows, columns = tensor.shape
            halves = tensor.reshape(heads[part], 2, rows // heads[part] // 2, columns)
            tensor = halves.swapaxes(1, 2).reshape(rows, columns)  # noqa: PLW2901 - the same, in its order
        writer.add_tensor(names.get_name(name, (".weight",)), tensor.numpy().copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_a_converted_file_is_the_model_that_it_was_made_of(compose, tmp_path):
    import torch

    from benchmark.errors import ConfigError
    from benchmark.models import networks

    e = compose("model=llama_tiny")
    for folder in ("own", "converted", "other"):
        (tmp_path / folder).mkdir()
    e.task.make_weights(e.model, "random", 0, tmp_path / "own")
    own = networks.read_network(e.task.auto_class, tmp_path / "own")
    written(tmp_path / "tiny.gguf", own)
    facts = e.task.make_weights(e.model, str(tmp_path / "tiny.gguf"), 0, tmp_path / "converted")
    assert facts["parameters"] == own.num_parameters()
    converted = networks.read_network(e.task.auto_class, tmp_path / "converted")
    tokens = torch.arange(5, 25)[None]
    with torch.inference_mode():
        assert torch.allclose(converted(tokens).logits, own(tokens).logits, atol=1e-4)
    other = compose("model=tinyllama")
    with pytest.raises(ConfigError, match=r"tiny\.gguf: not those of model=tinyllama"):
        other.task.make_weights(other.model, str(tmp_path / "tiny.gguf"), 0, tmp_path / "other")

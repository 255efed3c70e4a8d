"""optimum-benchmark's reports: layout of 0.2 to 0.7, with invented figures."""

from __future__ import annotations

import json

import pytest

from benchmark.errors import ConfigError
from benchmark.importers.optimum_benchmark import OptimumBenchmark


def latency(*seconds):
    return {"unit": "s", "count": len(seconds), "mean": sum(seconds) / len(seconds), "values": list(seconds)}


CONFIG = {
    "name": "pytorch_bert",
    "backend": {
        "name": "pytorch",
        "version": "2.3.0",
        "model": "google-bert/bert-base-uncased",
        "task": "text-classification",
        "device": "cpu",
        "no_weights": True,
        "torch_dtype": "bfloat16",
        "intra_op_num_threads": 4,
    },
    "scenario": {
        "name": "inference",
        "warmup_runs": 10,
        "input_shapes": {"batch_size": 2, "sequence_length": 16},
        "generate_kwargs": {},
    },
    "environment": {
        "cpu": " A CPU",
        "platform": "Linux-6",
        "python_version": "3.11",
        "transformers_version": "4.44",
    },
}
FORWARD = {
    "memory": {"unit": "MB", "max_ram": 900.5},
    "latency": latency(0.010, 0.012, 0.011),
    "throughput": {"unit": "samples/s", "value": 181.8},
    "efficiency": {"unit": "samples/kWh", "value": 3.6e6},
}


@pytest.fixture
def read(tmp_path):
    def read(whole, name="benchmark.json", **others):
        for other, content in {name: whole, **others}.items():
            (tmp_path / other).write_text(content if isinstance(content, str) else json.dumps(content))
        return OptimumBenchmark().read(tmp_path / name)

    return read


def only(reading):
    assert reading.rejected == ()
    (one,) = reading.figures
    return one


def test_a_forward_pass_has_all_samples_and_their_percentiles(read):
    values = only(read({"config": CONFIG, "report": {"load": {}, "forward": FORWARD}})).values
    assert values["latency_ns"] == [10_000_000, 12_000_000, 11_000_000]
    assert (values["latency_p50_ms"], values["latency_min_ms"], values["samples"]) == (11.0, 10.0, 3)
    assert values["latency_p95_ms"] == pytest.approx(11.9)
    assert (values["throughput_per_s"], values["throughput_unit"]) == (181.8, "items")
    assert (values["peak_host_bytes"], values["energy_j_per_inference"]) == (900_500_000, 1.0)
    assert (values["model"], values["weights"], values["compiler"]) == ("bert", "random", "eager")
    assert (values["batch_size"], values["sequence_length"], values["model_dtype"]) == (2, 16, "bf16")
    assert (values["threads"], values["hardware"], values["cpu_model"]) == (4, "cpu", "A CPU")
    assert ("pytorch", "2.3.0") in values["framework_versions"]


def test_a_report_finds_its_configuration_beside_it(read):
    reading = read({"forward": FORWARD}, "benchmark_report.json", **{"benchmark_config.json": CONFIG})
    assert only(reading).values["model"] == "bert"
    assert only(reading).as_printed["config.backend.version"] == "2.3.0"


def test_a_generation_is_its_first_token_and_the_rest(read):
    generation = {
        **CONFIG,
        "backend": {**CONFIG["backend"], "model": "openai-community/gpt2", "task": "text-generation"},
        "scenario": {**CONFIG["scenario"], "generate_kwargs": {"max_new_tokens": 100}},
    }
    report = {
        "prefill": {"latency": {**latency(0.1), "p50": 0.1, "p95": 0.1, "p99": 0.1}},
        "decode": {"latency": latency(0.9), "throughput": {"unit": "tokens/s", "value": 220.0}},
        "per_token": {"latency": {**latency(0.009), "p50": 0.009, "p99": 0.009}},
        "generate": {"latency": latency(1.0), "throughput": {"unit": "samples/s", "value": 198.0}},
    }
    values = only(read({"config": generation, "report": report})).values
    assert (values["first_token_p50_ms"], values["first_token_p99_ms"]) == (100.0, 100.0)
    assert (values["token_latency_p50_ms"], values["output_tokens_per_s"]) == (9.0, 220.0)
    assert (values["input_length"], values["output_length"]) == (16, 100)
    assert values["throughput_per_s"] == 2.0, "2 items in a second: the 198 are tokens, called samples"


def test_pictures_of_a_pipeline_are_counted_in_images(read):
    call = {"latency": latency(2.0), "throughput": {"unit": "images/s", "value": 0.5}}
    values = only(read({"config": CONFIG, "report": {"call": call}})).values
    assert (values["throughput_per_s"], values["throughput_unit"]) == (0.5, "images")


def test_a_report_that_cannot_be_mapped_is_rejected(read):
    reading = read({"config": CONFIG, "report": {"forward": {"memory": {"max_ram": 1.0}}}})
    assert [one.reason for one in reading.rejected] == [
        "ValueError: neither latency nor throughput in any target"
    ]
    hours = {**FORWARD, "latency": {**FORWARD["latency"], "unit": "h"}}
    (message,) = read({"config": CONFIG, "report": {"forward": hours}}).rejected
    assert "latency is in h, not in seconds" in message.reason


@pytest.mark.parametrize("whole", ["{", "[]", {"report": {"load": {}}}])
def test_a_file_that_is_none_of_its_own_is_refused(read, whole):
    with pytest.raises(ConfigError, match=r"benchmark\.json"):
        read(whole)


def backend(**changed):
    return {**CONFIG, "backend": {**CONFIG["backend"], **changed}}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"quantization_scheme": None, "quantization_config": {}}, None),
        ({"quantization_scheme": "gptq", "quantization_config": {"bits": 2}}, "gptq bits=2"),
        (
            {
                "quantization_scheme": "torchao",
                "quantization_config": {"quant_type": "int4", "group_size": 8},
            },
            "torchao group_size=8 quant_type=int4",
        ),
        ({"name": "openvino", "quantization": True, "quantization_config": {"bits": 4}}, "quantized bits=4"),
        ({"name": "onnxruntime", "auto_quantization": "avx512_vnni"}, "avx512_vnni"),
        ({"name": "vllm", "quantization": "awq"}, "awq"),
    ],
)
def test_quantisation_has_a_column(read, changed, text):
    values = only(read({"config": backend(**changed), "report": {"forward": FORWARD}})).values
    assert values.get("quantization") == text


def test_settings_without_a_column_are_flags_and_unset_ones_are_none(read):
    changed = {"attn_implementation": "sdpa", "autocast_enabled": False, "model_kwargs": {"a": {"b": 1}}}
    values = only(read({"config": backend(**changed), "report": {"forward": FORWARD}})).values
    assert values["compiler_flags"] == ["attn_implementation=sdpa", "model_kwargs.a.b=1"]


@pytest.mark.parametrize(
    ("device", "ids", "name"),
    [
        ("cuda", "1", "B"),
        ("cuda", 0, "A"),
        ("cuda", "0,2", "2 x A"),
        ("cuda", "0, 1", "A, B"),
        ("cuda:1", None, "B"),
        ("cuda", None, "2 x A, B"),
        ("cuda", "7", "2 x A, B"),
        ("cpu", None, None),
    ],
)
def test_the_device_is_the_card_of_the_index(read, device, ids, name):
    config = backend(device=device, device_ids=ids) | {"environment": {"gpu": ["A", "B", "A"]}}
    values = only(read({"config": config, "report": {"forward": FORWARD}})).values
    assert values.get("device_name") == name
    assert values["hardware"] == device.partition(":")[0]


def test_a_generation_of_prefill_and_decode_has_the_latency_of_both(read):
    report = {
        "prefill": {"latency": latency(0.1, 0.1)},
        "decode": {"latency": latency(0.9, 1.1), "throughput": {"unit": "tokens/s", "value": 220.0}},
    }
    one = only(read({"config": CONFIG, "report": report}))
    assert (one.values["latency_p50_ms"], one.values["samples"]) == (pytest.approx(1100), 2)
    assert (one.values["throughput_per_s"], one.values["throughput_unit"]) == (
        pytest.approx(2 / 1.1),
        "items",
    )
    assert one.values["output_tokens_per_s"] == 220.0
    assert not [name for name in one.as_printed if name.startswith("report.generate")], "it is not printed"


def test_a_configuration_of_another_shape_is_rejected_in_words(read):
    (rejected,) = read({"config": {"backend": "pytorch"}, "report": {"forward": FORWARD}}).rejected
    assert rejected.reason.startswith("AttributeError")


TRAINING = {
    **CONFIG,
    "scenario": {
        "name": "training",
        "max_steps": 5,
        "warmup_steps": 1,
        "dataset_shapes": {"sequence_length": 16},
        "training_arguments": {
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 3,
            "learning_rate": 5e-5,
            "optim": "adamw_torch",
            "bf16": True,
        },
    },
}
STEPS = (0.1, 0.2, 0.1, 0.2)


def training_report(steps, volume):
    """As `Throughput.from_latency` computes it."""
    whole = latency(*steps)
    return {"latency": whole, "throughput": {"unit": "samples/s", "value": volume / whole["mean"]}}


def test_the_rate_of_a_training_is_corrected_and_the_correction_is_said(read):
    report = {"overall": training_report((9.0, *STEPS), 30), "train": training_report(STEPS, 24)}
    reading = read({"config": TRAINING, "report": report})
    values = only(reading).values
    assert values["throughput_per_s"] == pytest.approx(6 / 0.15)
    assert values["throughput_per_s"] * values["latency_mean_ms"] == pytest.approx(1000 * 6)
    assert (values["scenario"], values["batch_size"], values["global_batch_size"]) == ("training", 2, 6)
    assert (values["accumulation"], values["data_parallel"], values["samples"]) == (3, 1, 4)
    assert (values["fast_math"], values["optimizer"], values["learning_rate"]) == ("all", "adamw", 5e-5)
    assert only(reading).as_printed["printed throughput_per_s"].startswith(("160.0", "159.999"))
    (correction,) = reading.corrections
    assert correction == (
        "it prints 160 samples/s; a step of 6 samples takes 150 ms, which is 40 samples/s: "
        "the row has the latter, 4 times less"
    )


def test_processes_of_torchrun_add_their_samples(read):
    config = {**TRAINING, "launcher": {"name": "torchrun", "nproc_per_node": 2}}
    reading = read({"config": config, "report": {"train": training_report((*STEPS, *STEPS), 24)}})
    values = only(reading).values
    assert (values["global_batch_size"], values["data_parallel"], values["strategy"]) == (12, 2, "ddp")
    assert values["throughput_per_s"] == pytest.approx(12 / 0.15)
    assert "2 times less" in reading.corrections[0]


def test_a_rate_that_is_right_is_no_correction(read):
    reading = read({"config": TRAINING, "report": {"train": training_report(STEPS, 6)}})
    assert reading.corrections == ()
    assert only(reading).values["throughput_per_s"] == pytest.approx(40)


def test_a_training_without_its_configuration_is_rejected(read):
    (line,) = read({"train": training_report(STEPS, 24)}).rejected
    assert "no per_device_train_batch_size: put benchmark_config.json beside" in line.reason

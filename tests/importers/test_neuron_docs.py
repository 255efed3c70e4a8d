"""Tables of the Neuron documentation, whatever their headers are called."""

from __future__ import annotations

import pytest

from benchmark.errors import ConfigError
from benchmark.importers.neuron_docs import NeuronDocs

ENCODER = (
    "Model,Scripts,Framework,Inst. Type,Task,{rate},Latency P50 (ms),Latency P99 (ms),Application Type,"
    "Neuron Version,Run Mode,Batch Size,Sequence Length,Model Data Type,"
    "Compilation Autocast Data Type,OS Type\n"
    "roberta-base,s,PyTorch 2.1,Inf2.xlarge,Raw Output (AutoModel),2000.5,1.01,1.1,Real Time,"
    "2.20.0,Data Parallel,1,128,FP32,Matmult-BF16,U22\n"
)


@pytest.fixture
def read(tmp_path):
    def read(text, folder="inf2", **options):
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / "table.csv"
        file.write_text(text, encoding="utf-8")
        return NeuronDocs(**options).read(file)

    return read


def only(reading):
    assert reading.rejected == ()
    (one,) = reading.figures
    return one.values


@pytest.mark.parametrize(
    "rate", ["Throughput (inference/second)", "Throughput (inference/sec)", "Throughput (/sec)"]
)
def test_headers_of_throughput_differ_and_mean_the_same(read, rate):
    values = only(read(ENCODER.format(rate=rate)))
    assert (values["throughput_per_s"], values["throughput_unit"]) == (2000.5, "items")
    assert (values["latency_p50_ms"], values["latency_p99_ms"]) == (1.01, 1.1)
    assert (values["model"], values["model_id"], values["task"]) == (
        "roberta",
        "roberta-base",
        "feature-extraction",
    )
    assert (values["instance_type"], values["hardware"], values["compiler"]) == (
        "inf2.xlarge",
        "inf2",
        "neuronx",
    )
    assert (values["fast_math"], values["matmul_dtype"], values["model_dtype"]) == ("matmult", "bf16", "fp32")
    assert values["framework_versions"] == [("neuron-sdk", "2.20.0"), ("torch", "2.1")]
    assert (values["scenario"], values["replicas"], values["workers"]) == ("throughput", 2, 1)
    assert values["os"] == "Ubuntu 22.04"


FIGURES = (
    "Model,Image Size,Framework,Inst. Type,Task,Throughput (inference/sec),Latency P50 (ms),Application Type,"
    "Run Mode,Batch Size,Model Data Type,Compilation Autocast Data Type\n"
    "{model},224x224,PyTorch 2.5,{instance},Image Classification,{rate},{p50},{application},"
    "Data Parallel,{batch},FP32,Matmult-BF16\n"
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("Inf2.xlarge", 1, 1044.93, 0.95), ("latency", 1, 1, None)),
        (("Inf2.xlarge", 1, 2034.7, 0.9756), ("throughput", 2, 1, None)),
        (("Inf2.xlarge", 1, 126.5, 14.14), ("throughput", 2, 1, None)),
        (("Inf2.xlarge", 8, 4269.12, 7.49), ("throughput", 2, 2, None)),
        (("Inf2.8xlarge", 1, 0.078, 12651.9), ("latency", 1, 1, None)),
        (("Inf2.24xlarge", 8, 2 * 8 / 7.5e-3 * 12, 7.5), ("throughput", 12, 2, None)),
        (("Inf2.xlarge", 64, 6509.83, 135.806), (None, None, None, "13.8 calls in flight")),
        (("Inf2.xlarge", 64, 5078.0, 55.6), (None, None, None, "4.41 calls in flight")),
        (("Inf2.xlarge", 1, 41.24, 1.0166), (None, None, None, "0.0419 calls in flight")),
        (("Inf2.xlarge", 1, 3000.0, 1.0), (None, None, None, "3 calls in flight")),
        (("Inf2.48xlarge", 16, 51.14, 625.66), (None, None, None, "2 of 24 cores busy by its figures")),
        (("Inf2.7xlarge", 1, 1044.93, 0.95), (None, None, None, None)),
    ],
)
def test_copies_and_callers_are_those_of_the_rows_own_figures(read, row, expected):
    given = dict(zip(("instance", "batch", "rate", "p50"), row, strict=True))
    values = only(read(FIGURES.format(model="resnet50", application="Real Time", **given)))
    scenario, replicas, workers, outlier = expected
    assert (values.get("replicas"), values.get("workers")) == (replicas, workers)
    assert values["scenario"] == (scenario or "latency")
    assert str(values.get("outlier")).startswith(str(outlier))


@pytest.mark.parametrize(
    ("model", "graph", "steps"),
    [("Stable Diffusion 2.1", "patched", 50), ("PixArt Alpha", "patched", 20), ("resnet50", None, None)],
)
def test_a_row_says_what_its_script_does_and_its_table_does_not(read, model, graph, steps):
    given = {"instance": "Inf2.xlarge", "batch": 1, "rate": 0.549, "p50": 1794.5}
    values = only(read(FIGURES.format(model=model, application="Real Time", **given)))
    assert (values.get("graph"), values.get("steps")) == (graph, steps)


def test_latency_beside_a_rate_of_tokens_is_that_of_a_token(read):
    values = only(read(ENCODER.format(rate="Throughput (tokens/second)")))
    assert (values["token_latency_p50_ms"], values["throughput_unit"]) == (1.01, "tokens")
    assert "latency_p50_ms" not in values


def test_a_table_of_inf1_has_replicas_workers_and_the_length_in_its_details(read):
    header = "Model,Inst. Type,Num Cores,Avg Throughput (/sec),Latency P50 (ms),Latency P95 (ms)"
    line = 'BERT base (bert-base-cased),inf1.xlarge,4,125.7,7.9,,1,4,2,"fp32, sequence-length=128",Real Time'
    values = only(
        read(
            f"{header},Batch Size,N Models,Workers per Model,Model details,Application Type\n{line}\n", "inf1"
        )
    )
    assert (values["replicas"], values["workers"], values["sequence_length"]) == (4, 2, 128)
    assert (values["model"], values["compiler"], values["model_dtype"]) == ("bert_cased", "neuron", "fp32")
    assert "latency_p95_ms" not in values


def test_training_is_counted_in_sequences_on_the_machine_of_the_folder(read):
    text = "Model,Microbatch, Performance [seq/sec],Neuron Version\nLlama2-7B pre-training,1,82,2.15.0\n"
    values = only(read(text, "trn1"))
    assert (values["scenario"], values["throughput_per_s"], values["hardware"]) == ("training", 82, "trn1")
    assert "instance_type" not in values


@pytest.mark.parametrize(
    ("size", "pixels"), [("224x224", 224), ("16x224x224", 224), ("936x624", None), ("1024x1024", 1024)]
)
def test_an_image_size_is_that_of_a_square(read, size, pixels):
    header = "Model,Image Size,Inst. Type,Throughput (inference/sec),Application Type,Model Data Type"
    values = only(read(f'{header}\nm,{size},Inf2.xlarge,1.5,Batch,"""FP32, BF16"""\n'))
    assert (values.get("image_size"), values["throughput_unit"]) == (pixels, "images")
    assert values["model_dtype"] == "fp32, bf16"


def test_a_model_that_is_not_ours_keeps_its_name(read):
    header = "Model,Inst. Type,Throughput (inference/sec)"
    assert only(read(f"{header}\nLlama-9,inf2.xlarge,1\n"))["model"] == "Llama-9"


def test_lines_that_cannot_be_mapped_are_rejected_with_number_and_reason(read):
    header = "Model,Inst. Type,Throughput (inference/sec),Latency P50 (ms),Application Type"
    lines = [
        "a,inf2.xlarge,fast,1,Batch",
        "b,inf2.xlarge,1,1",
        "c,inf2.xlarge,,,Batch",
        "d,inf2.xlarge,1,1,2.21.0",
        ",inf2.xlarge,1,1,Batch",
        "f,inf2.xlarge,1,1,Batch",
    ]
    reading = read("\n".join([header, *lines]))
    assert reading.lines == 6
    assert [one.values["model"] for one in reading.figures] == ["f"]
    assert {one.line: one.reason for one in reading.rejected} == {
        2: "Throughput (inference/sec): 'fast' is no figure",
        3: "4 fields under 5 headers",
        4: "neither throughput nor latency",
        5: "Application Type: '2.21.0' is neither Real Time nor Batch",
        6: "no model",
    }


def test_a_line_without_an_instance_type_outside_such_a_folder_says_what_to_give(read):
    text = "Model,Throughput (inference/sec)\nm,1\n"
    (message,) = read(text, "other").rejected
    assert message.reason.endswith("give `hardware`")
    assert only(read(text, "other", hardware="inf1"))["compiler"] == "neuron"


@pytest.mark.parametrize("text", ["Inst. Type,RI-Effective hourly rate\nInf2.xlarge,0.328\n", ""])
def test_a_file_without_figures_is_refused(read, text):
    with pytest.raises(ConfigError, match=r"table\.csv is (no benchmark table|empty)"):
        read(text)

"""Write command_lines.md: what the Neuron compilers would be given for every published cell, and why.

`python tests/neuron/command_lines.py` writes it anew. `cells.csv` has those columns of the published tables
that say what was compiled; their sources stand in SEEDS. Nothing is compiled: each cell is composed as the
experiment of its page has it, and its command line is what `plan` prints.
"""

from __future__ import annotations

import copy
import csv
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import hydra
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from benchmark import placement
from benchmark.cli import plan
from benchmark.config import experiment as config
from benchmark.published import printed_figures

HERE = Path(__file__).parent
CONF = HERE.parents[1] / "conf"
GOLDEN = HERE / "command_lines.md"

SEEDS = {
    "000": (
        "Encoders on CPU, Inf1 and Inf2: philschmid/aws-neuron-samples, benchmark/results_encoder.md at "
        "73be1c2 (2023-02-13), columns Inf1 and Inf2; blank cells too"
    ),
    "002": "ViT, BEiT and LayoutLMv3 on Inf1, with torch-neuron 1.11.0.2.3.0.0 (2022-04-29)",
    "003": (
        "Inf2 Inference Performance: aws-neuron/aws-neuron-sdk, general/benchmarks/inf2 at 72825d50 "
        "(2024-09-16, SDK 2.20.0)"
    ),
}

EXPERIMENTS = {"000": "encoder_latency", "002": "vision_inferentia", "003": "inf2_performance"}
CASTS = {
    ("000", "inf1"): {"no arguments": "all"},
    ("000", "inf2"): {"no arguments": "matmult"},
    ("002", "inf1"): {"default": "all", "": "all", "none": "none"},
    ("003", "inf2"): {"Matmult-BF16": "matmult", "None": "none"},
}
"""By seed and hardware: what a table calls a cast, as our fast_math."""

FLAGS = {
    "--target": (
        "compiler/neuronx-cc/api-reference-guide/index.rst:85, inf2 | trn1 | trn1n | trn2. "
        "cpu_backend=True needs it: api-torch-neuronx-trace.rst:53. The device says which "
        "(DeviceFacts.target)."
    ),
    "--auto-cast": (
        "compiler/neuronx-cc/api-reference-guide/index.rst:102, none | matmult | all. Always given: the "
        "default was matmult until neuronx-cc 2.22.12471 (SDK 2.27.0, 2025-12-19) and is none since: "
        "release-notes/components/compiler.rst:279."
    ),
    "--auto-cast-type": (
        "compiler/neuronx-cc/api-reference-guide/index.rst:114, bf16 | fp16 | tf32 | fp8_e4m3; given "
        "where something is cast."
    ),
    "--optlevel": (
        "compiler/neuronx-cc/api-reference-guide/index.rst:160, 1 | 2 | 3; 2 is the default, given so "
        "that the row says it."
    ),
    "--model-type": (
        "compiler/neuronx-cc/api-reference-guide/index.rst:94, generic | transformer | unet-inference; "
        "generic is the default. `transformer` for ViT: "
        "archive/src/benchmark/pytorch/hf-google-vit_benchmark.py:21; `unet-inference`: "
        "sd2_512_compile.py:133, sdxl_base_1024_compile.py:309; PixArt has both: aws-neuron-samples at "
        "2015d650, torch-neuronx/inference/hf_pretrained_pixart_alpha_inference_on_inf2.ipynb:336,374."
    ),
    "--enable-saturate-infinity": (
        "compiler/neuronx-cc/api-reference-guide/index.rst:174; for CLIP: "
        "archive/src/benchmark/pytorch/hf-openai-clip_benchmark.py:30."
    ),
    "--enable-fast-loading-neuron-binaries": (
        "compiler/neuronx-cc/api-reference-guide/index.rst:179; for Stable Diffusion: "
        "archive/src/benchmark/pytorch/sd2_512_compile.py:133,175,204."
    ),
    "--fast-math": (
        "compiler/neuron-cc/command-line-reference.rst:141. By lines 173 and 175 `all` is fp32-cast-all "
        "fast-relayout, `none` is fp32-cast-matmult-bf16 no-fast-relayout: products are bf16 even then. "
        "Words are tokens of their own."
    ),
    "--neuroncore-pipeline-cores": (
        "compiler/neuron-cc/command-line-reference.rst:90, an integer, 1 by default; seed 002's scripts "
        "always give it."
    ),
    "NEURON_FUSE_SOFTMAX": (
        "archive/src/benchmark/pytorch/sd2_512_compile.py:2, set before torch_neuronx is imported; likewise "
        "for 1.5, and for PixArt in aws-neuron-samples at 2015d650, "
        "torch-neuronx/inference/hf_pretrained_pixart_alpha_inference_on_inf2.ipynb:71."
    ),
    "NEURON_CUSTOM_SILU": (
        "aws-neuron-samples at 2015d650, "
        "torch-neuronx/inference/hf_pretrained_pixart_alpha_inference_on_inf2.ipynb:72."
    ),
    "force_operators": (
        "archive/torch-neuron/api-compilation-python-api.rst:76, `subgraph_builder_function`: which "
        "nodes go to the device. aten::embedding is left out since 1.0.1001.0 for its speed; "
        "`fallback=False` would take it in too (issues #609, #634), but raises AttributeError (line 96) "
        "for aten::amax and aten::repeat, which LayoutLMv3 has and torch-neuron 2.3.0.0 lacks."
    ),
}
"""What justifies a flag: a line of a document of aws-neuron/aws-neuron-sdk at 81ce03ae (2026-08-21)."""
DIFFERENCES = (
    (
        "Seed 000 gives no argument at all, so each compiler's default of early 2023 was in effect: "
        "matmult to bf16 in neuronx-cc, all in neuron-cc. We write it out: without it today's "
        "neuronx-cc would stay in fp32."
    ),
    (
        "Seed 002 gives `--neuroncore-pipeline-cores` alone, and `--fast-math none` where it compares "
        "accuracies: its `default` is `--fast-math all`, which we write out. It compiled for 1 and 4 "
        "cores and published 1."
    ),
    (
        "Seed 003's encoders give none (inf2_benchmark.py:30), and its tables say Matmult-BF16, the "
        "default then: we write that out. So for ResNet, VGG, UNet and the vision Perceivers, which "
        "NeuronPerf compiles."
    ),
    (
        "Perceiver multimodal gives `--auto-cast=none` and `--temp-dir`, a work folder that no "
        "reference lists: perceiver-multimodal_compile.py:322. Ours has a work folder by "
        "compiler_workdir."
    ),
    (
        "Diffusions are compared part by part in fidelity.md: their post_quant_conv is a network of its own, "
        "here it is part of the VAE's decoder."
    ),
    ("`--flag value` here, `--flag=value` in some scripts: the compilers take both."),
)


def cells():
    """The published cells, as mappings."""
    with (HERE / "cells.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def overrides(cell):
    """What composes our configuration of it: everything, and what decides the command line alone."""
    hardware = cell["instance"].partition(".")[0]
    compiler = {"inf1": "neuron", "inf2": "neuronx"}[hardware]
    model = printed_figures.model(cell["model"])
    words = [f"experiment={EXPERIMENTS[cell['seed']]}", f"hardware={hardware}", f"compiler={compiler}"]
    if cell["seed"] == "002":
        words += [f"compiler.fast_math={CASTS['002', hardware][cell['cast']]}"]
        words += ["options=neuron/layoutlmv3_forced"] if "forced" in cell["variant"] else []
    if cell["seed"] == "003":
        line = line_of(model, int(cell["batch"]), int(cell["image_size"].rpartition("x")[2] or 0))
        words += [f"{key}={value}" for key, value in line.items() if key not in {"model", "batch", "task"}]
        rest = [f"task={line['task']}"] if "task" in line else []
    else:
        rest = [f"seq_len={cell['sequence_length']}"] if cell["sequence_length"] else []
    rest += [f"batch={cell['batch'] or 1}", f"hardware.instance_type={cell['instance']}"]
    named = [f"model={model}"]
    has_options = (CONF / "options" / compiler / f"{model}.yaml").is_file() and cell["seed"] == "003"
    return (*words, *named, *rest), (*words, *(named if has_options else ()))


def line_of(model, batch, image_size):
    """The single cell of the experiment that measures a row."""
    lines = [line for line in include() if (line["model"], line["batch"]) == (model, batch)]
    return min(lines, key=lambda line: (line.get("image_size") != image_size, "image_size" in line))


@cache
def include():
    text = (CONF / "experiment" / f"{EXPERIMENTS['003']}.yaml").read_text(encoding="utf-8")
    return [
        {key: value.replace("\\$", "$") if isinstance(value, str) else value for key, value in line.items()}
        for line in yaml.safe_load(text)["include"]
    ]


@cache
def _composed(groups):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", overrides=list(groups))


@cache
def experiment(words):
    """Our configuration with these overrides: groups by Hydra, once for all; values set afterwards."""
    cfg = copy.deepcopy(_composed(tuple(word for word in words if (CONF / word.partition("=")[0]).is_dir())))
    values = [word for word in words if not (CONF / word.partition("=")[0]).is_dir()]
    for override in OverridesParser.create().parse_overrides(values):
        OmegaConf.update(cfg, override.key_or_group, override.value())
    return config.load(cfg, words)


class Compiled(NamedTuple):
    """What its compiler would be given, and where and how it would be called."""

    lines: tuple[tuple[str, str], ...]
    """Part and command line."""
    called: str
    placed: str


def compiled(words):
    """The command lines of a cell, as `plan` prints them, and its copies, callers, steps and placement."""
    e = experiment(words)
    lines = plan.commands(e, {})
    sits = placement.placement(e.task, e.model, e.compiler, e.hardware, e.scenario)
    steps = f", {e.steps} steps" if "steps" in e.task.axes_of(e.model) else ""
    called = f"{e.scenario.replicas} x {e.scenario.workers}{steps}"
    return Compiled(tuple(lines.items()), called, placement.words(placement.column(sits)))


def text():
    """The golden file."""
    groups = {}
    for cell in cells():
        found = compiled(overrides(cell)[1])
        groups.setdefault(found.lines, {}).setdefault((found.called, found.placed), []).append(cell)
    parts = [
        "# Command lines of the published cells",
        "",
        "Written by `python tests/neuron/command_lines.py`, from `cells.csv` and the experiments in conf/.",
        "`plan` prints the same lines. File names of input and output, `--framework` and `--verbose` are the",
        "libraries' own. Called: copies of the model x callers of each.",
        "",
        *(f"- seed {seed}: {source}." for seed, source in SEEDS.items()),
        "",
    ]
    for lines in sorted(groups):
        if len(lines) == 1:
            parts += [f"## `{lines[0][1]}`", ""]
        else:
            parts += [f"## {', '.join(part for part, _ in lines)}: {_models(groups[lines])}", ""]
            parts += [f"- {part}: `{line}`" for part, line in lines] + [""]
        parts += ["| seed | table | model | ours | called | placement | cells |"]
        parts += ["| --- | --- | --- | --- | --- | --- | --- |"]
        parts += [*_rows(groups[lines]), ""]
    used = " ".join(line for lines in groups for _, line in lines)
    parts += ["## By which line each flag and variable is given", ""]
    parts += [f"- `{flag}`: {reason}" for flag, reason in FLAGS.items() if _is_given(flag, used)]
    parts += ["", "## Where the published scripts give something else", ""]
    return "\n".join([*parts, *(f"- {difference}" for difference in DIFFERENCES), ""])


def _is_given(flag, lines):
    return any(word in f" {lines} " for word in (f" {flag} ", f" {flag}=", f" {flag}:"))


def _models(called):
    found = [printed_figures.model(cell["model"]) for together in called.values() for cell in together]
    return ", ".join(dict.fromkeys(found))


def _rows(called):
    """A line for each model of a table that is called in one way, with its batches and sizes."""
    lines = {}
    for how, together in called.items():
        for cell in together:
            key = (cell["seed"], cell["table"], cell["model"], cell["variant"], *how)
            lines.setdefault(key, []).append(_sizes(cell))
    for (seed, table, model, variant, *how), sizes in lines.items():
        named = f"{model} ({variant})" if variant else model
        ours = printed_figures.model(model)
        yield f"| {' | '.join([seed, table, named, ours, *how, ', '.join(dict.fromkeys(sizes))])} |"


def _sizes(cell):
    words = [f"b{cell['batch']}" if cell["batch"] else "batch not stated"]
    words += [f"s{cell['sequence_length']}"] if cell["sequence_length"] else []
    words += [cell["image_size"]] if cell["image_size"] else []
    return " ".join(words)


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{GOLDEN}\n")

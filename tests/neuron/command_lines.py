"""Write command_lines.md: what the Neuron compilers would be given for every published cell, and why.

`python tests/neuron/command_lines.py` writes it anew. `cells.csv` has those columns of the published tables
that say what was compiled; their sources stand in SEEDS. Nothing is compiled: conf/ is composed with each
cell's overrides, and the compiler it names spells its flags.
"""

from __future__ import annotations

import copy
import csv
import shlex
import sys
from functools import cache
from pathlib import Path

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

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

CASTS = {
    ("000", "inf1"): {"no arguments": "all"},
    ("000", "inf2"): {"no arguments": "matmult"},
    ("002", "inf1"): {"default": "all", "": "all", "none": "none"},
    ("003", "inf2"): {"Matmult-BF16": "matmult", "None": "none"},
}
"""By seed and hardware: what a table calls a cast, as our fast_math."""
OPTIONS = {
    "google/vit-base-patch16-224": ("compiler.model_type=transformer",),
    "openai/clip-vit-base-patch32": ("compiler.saturate_infinity=true",),
    "openai/clip-vit-large-patch14": ("compiler.saturate_infinity=true",),
    "Stable Diffusion 1.5": ("compiler.model_type=unet-inference", "compiler.fast_loading=true"),
    "Stable Diffusion 2.1": ("compiler.model_type=unet-inference", "compiler.fast_loading=true"),
    "Stable Diffusion 2 Inpainting": ("compiler.model_type=unet-inference",),
    "Stable Diffusion XL Base": ("compiler.model_type=unet-inference",),
    "Stable Diffusion XL Base & Refiner": ("compiler.model_type=unet-inference",),
}
"""Of seed 003: what its scripts give beside the cast."""
FORCED = "compiler.force_operators=[aten::embedding]"

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
        "sd2_512_compile.py:133, sdxl_base_1024_compile.py:309."
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
        "Stable Diffusion gives `--model-type=unet-inference` to the UNet alone, and fast loading to "
        "all networks but the XL ones: here one compiler's options hold for all networks of a pipeline. "
        "No script of 2 Inpainting that compiles is published: its line is that of the XL ones."
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
    cast = CASTS[cell["seed"], hardware][cell["cast"]]
    deciding = [f"hardware={hardware}", f"compiler.fast_math={cast}"]
    if hardware == "inf1":
        deciding += [f"compiler.pipeline_cores={cell['pipeline_cores'] or 1}"]
    if cell["seed"] == "003":
        deciding += OPTIONS.get(cell["model"], ())
    if "forced" in cell["variant"]:
        deciding += [FORCED]
    rest = [f"model={printed_figures.model(cell['model'])}", f"batch={cell['batch'] or 1}"]
    rest += [f"hardware.instance_type={cell['instance']}"]
    if cell["sequence_length"]:
        rest += [f"seq_len={cell['sequence_length']}"]
    if cell["task"] == "Raw Output (AutoModel)":
        rest += ["task=feature_extraction"]
    return (*deciding, *rest), tuple(deciding)


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


def command_line(words):
    """What its compiler would be given, as one line."""
    e = experiment(words)
    if e.compiler.name == "neuronx":
        return shlex.join(["neuronx-cc", "compile", *e.compiler.flags(e.hardware.facts().target)])
    line = shlex.join(["neuron-cc", "compile", *e.compiler.flags()])
    forced = e.compiler.force_operators
    return line if forced is None else f"{line}, force_operators: {' '.join(forced)}"


def text():
    """The golden file."""
    groups = {}
    for cell in cells():
        groups.setdefault(command_line(overrides(cell)[1]), []).append(cell)
    parts = [
        "# Command lines of the published cells",
        "",
        "Written by `python tests/neuron/command_lines.py`, from `cells.csv` and conf/. File names of input",
        "and output, `--framework` and `--verbose` are the libraries' own.",
        "",
        *(f"- seed {seed}: {source}." for seed, source in SEEDS.items()),
        "",
    ]
    for line in sorted(groups):
        parts += [
            f"## `{line}`",
            "",
            "| seed | table | model | ours | cells |",
            "| --- | --- | --- | --- | --- |",
        ]
        parts += [*_rows(groups[line]), ""]
    used = {word for line in groups for word in FLAGS if f"{word}:" in line or f" {word} " in f"{line} "}
    parts += ["## By which line each flag is given", ""]
    parts += [f"- `{flag}`: {reason}" for flag, reason in FLAGS.items() if flag in used]
    parts += ["", "## Where the published scripts give something else", ""]
    return "\n".join([*parts, *(f"- {difference}" for difference in DIFFERENCES), ""])


def _rows(found):
    """A line for each model of a table, with its batches and sizes."""
    lines = {}
    for cell in found:
        key = (cell["seed"], cell["table"], cell["model"], cell["variant"])
        lines.setdefault(key, []).append(_sizes(cell))
    for (seed, table, model, variant), sizes in lines.items():
        named = f"{model} ({variant})" if variant else model
        ours = printed_figures.model(model)
        yield f"| {seed} | {table} | {named} | {ours} | {', '.join(dict.fromkeys(sizes))} |"


def _sizes(cell):
    words = [f"b{cell['batch']}" if cell["batch"] else "batch not stated"]
    words += [f"s{cell['sequence_length']}"] if cell["sequence_length"] else []
    words += [cell["image_size"]] if cell["image_size"] else []
    return " ".join(words)


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{GOLDEN}\n")

"""Where each part of each copy sits, without a device, and what doesn't fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark import placement
from benchmark.stages.plan import plan

TWO = ("hardware=inf2", "scenario=throughput", "scenario.replicas=2")


def column(experiment):
    e = experiment
    return placement.column(placement.placement(e.task, e.model, e.compiler, e.hardware, e.scenario))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["hardware=inf2", "model=bert_tiny"], {"0/model": "0"}),
        ([*TWO, "model=bert_tiny"], {"0/model": "0", "1/model": "1"}),
        ([*TWO, "model=vit_tiny", "compiler=optimum_neuron"], {"0/model": "0", "1/model": "1"}),
        (["hardware=inf2", "model=t5_tiny"], {"0/prefill": "0", "0/decode": "0"}),
        (["hardware=inf2", "model=t5_tiny", "hardware.cores=2"], {"0/prefill": "0", "0/decode": "1"}),
        (
            [*TWO, "model=sd_tiny"],
            {
                f"{replica}/{part}": str(replica)
                for replica in (0, 1)
                for part in ("text_encoder", "unet", "vae_decoder")
            },
        ),
        (
            ["hardware=inf2", "hardware.cores=2", "model=pixart_tiny"],
            {"0/text_encoder": "0", "0/transformer": "0-1", "0/vae_decoder": "0"},
        ),
        (
            ["hardware=inf2", "hardware.cores=2", "model=sd_tiny", "compiler.denoiser_data_parallel=false"],
            {"0/text_encoder": "0", "0/unet": "1", "0/vae_decoder": "0"},
        ),
        (
            [*TWO, "hardware.instance_type=inf2.24xlarge", "hardware.cores=4", "model=sdxl_refined_tiny"],
            {
                **{f"0/{part}": "0" for part in ("text_encoder", "text_encoder_2")},
                "0/unet": "0-1",
                "0/refiner": "0-1",
                "0/vae_decoder": "0",
                **{f"1/{part}": "2" for part in ("text_encoder", "text_encoder_2")},
                "1/unet": "2-3",
                "1/refiner": "2-3",
                "1/vae_decoder": "2",
            },
        ),
        (
            ["hardware=inf1", "model=bert_tiny", "compiler.pipeline_cores=4", "hardware.cores=4"],
            {"0/model": "0-3"},
        ),
        (["hardware=cpu", "model=bert_tiny"], {}),
    ],
)
def test_a_cell_says_where_its_parts_sit(compose, overrides, expected):
    assert column(compose(*overrides)) == expected


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            [*TWO, "hardware.cores=1", "model=bert_tiny"],
            "scenario.replicas=2 needs hardware.cores=2, not 1: use as many cores, or fewer replicas",
        ),
        (
            ["hardware=inf2", "hardware.cores=2", "model=bert_tiny"],
            (
                "hardware.cores=2: one copy of model=bert_tiny can use 1: use hardware.cores=1, "
                "or as many replicas as cores"
            ),
        ),
        (
            [*TWO, "hardware.instance_type=inf2.24xlarge", "hardware.cores=3", "model=bert_tiny"],
            (
                "hardware.cores=3: 2 copies of model=bert_tiny can use 2: use hardware.cores=2, "
                "or as many replicas as cores"
            ),
        ),
        (
            ["hardware=inf2", "model=sd_tiny", "compiler.denoiser_data_parallel=true", "hardware.cores=1"],
            (
                "scenario.replicas=1 of 2 cores each needs hardware.cores=2, not 1: use as many cores, or "
                "fewer replicas"
            ),
        ),
        (
            ["hardware=inf2", "model=bert_tiny", "compiler.denoiser_data_parallel=true"],
            (
                "compiler=neuronx: denoiser_data_parallel=true has no effect on model=bert_tiny, which has "
                "no denoiser: use null"
            ),
        ),
        (
            ["hardware=inf2", "model=t5_3b"],
            (
                "model=t5_3b: the weights of prefill, decode take 16.7 GiB, and a core has 16 GiB: use 2 "
                "cores for each replica (hardware.cores), or a smaller model"
            ),
        ),
        (
            ["hardware=inf2", "model=sdxl_refined", "hardware.cores=2"],
            (
                "model=sdxl_refined: the weights of text_encoder, text_encoder_2, unet, refiner, vae_decoder "
                "take 21.3 GiB, and a core has 16 GiB: use a smaller model"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_the_plan_with_the_mend(compose, overrides, sentence):
    (run,) = plan([compose(*overrides)], lambda _: {}).runs
    assert (run.fate, run.reason) == ("incompatible", sentence)


@pytest.mark.parametrize(
    "overrides",
    [
        ["hardware=inf2", "model=t5_3b", "hardware.cores=2"],
        ["hardware=inf2", "model=t5_3b", "compiler.fast_math=all"],
        ["hardware=inf1", "model=bert_large"],
        ["hardware=inf2", "model=sdxl"],
        ["hardware=trn2", "model=t5_3b"],
    ],
)
def test_what_may_fit_is_not_refused(compose, overrides):
    e = compose(*overrides)
    assert not [*placement.refusals(e.task, e.model, e.compiler, e.hardware, e.scenario)]


def test_the_cores_of_the_host_take_the_place_of_those_of_the_plan(compose):
    e = compose(*TWO, "model=t5_tiny")
    placed = placement.placement(e.task, e.model, e.compiler, e.hardware, e.scenario)
    here = placement.column(placement.moved(placed, [(6,), (7,)]))
    assert here == {"0/prefill": "6", "0/decode": "6", "1/prefill": "7", "1/decode": "7"}
    assert placement.words(here) == (
        "replica 0: prefill on core 6, decode on core 6; replica 1: prefill on core 7, decode on core 7"
    )
    assert (
        placement.words({"0/unet": "0-1", "0/vae_decoder": "0"}) == "unet on cores 0-1, vae_decoder on core 0"
    )


def test_cells_share_an_artefact_where_the_parts_of_a_copy_have_the_same_cores(compose):
    one, own, two = (
        compose("model=t5_tiny", *words)
        for words in (["hardware=inf2"], ["hardware=inf2", "hardware.cores=2"], TWO)
    )
    alike = [replace(e, model=one.model, task=one.task, compiler=one.compiler) for e in (one, own, two)]
    groups = [run.artifact_group for run in plan(alike, lambda _: {}).runs]
    assert groups[0] == groups[2] != groups[1]

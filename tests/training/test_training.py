"""Real trainings in real processes: ranks equal one process, faults are found, rows say what was trained."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import cell_of, environment_of
from benchmark.errors import Unavailable, WrongAnswer
from benchmark.execution.forkserver import ChildLimits, Forkserver
from benchmark.host import libraries
from benchmark.stages import train as stage
from benchmark.stages.build import build

pytestmark = pytest.mark.real

SMALL = {"vocab_size": 512, "hidden_size": 32, "intermediate_size": 64}
TINY = (
    "scenario=training",
    "model=bert_tiny",
    "seq_len=16",
    "scenario.steps=20",
    "scenario.items=64",
    "scenario.warmup_steps=2",
    "hardware.threads=1",
    "~model.parameters",
    *(f"model.architecture.{name}={value}" for name, value in SMALL.items()),
    "+model.architecture.hidden_dropout_prob=0.0",
    "+model.architecture.attention_probs_dropout_prob=0.0",
)
SGD = ("scenario.optimizer=sgd", "scenario.lr=0.05", "scenario.momentum=0.9")
"""Adam would divide by the size of gradients, and a bias of keys has gradients of rounding alone."""


@pytest.fixture(scope="module")
def server():
    modules = ("benchmark.stages.train", "benchmark.training.loop", "benchmark.models.composite")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(
        0, range(os.cpu_count() or 1)
    )  # a rank has a core; a worker of the suite has one in all
    running = Forkserver((*modules, "transformers.models.bert.modeling_bert", __name__))
    yield running
    running.close()
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def entries(compile_cache_of_all):
    """The cache of all tests: weights and references are made once."""
    cache = CompileCache(compile_cache_of_all)
    cache.prepare()
    return cache


@pytest.fixture
def trained(server, compose, entries, tmp_path):
    """Train a cell; return its measurement and its parameters."""

    def run(*overrides, base=TINY, work=stage._train):
        cell = cell_of(compose(*base, "scenario.save=true", *overrides))
        e, limits = cell.experiment, ChildLimits(log=tmp_path / "log", timeout_s=200)
        versions = {**libraries.versions(*e.task.libraries, install=""), **e.compiler.versions()}

        def call(function, *arguments):
            return server.call(limits, function, *arguments)

        workload = build(cell, environment_of(e.hardware.facts(), versions, {}), entries, call)
        folder = tmp_path / f"weights-{len([*tmp_path.iterdir()])}"
        measured = call(work, cell, workload, folder)
        return measured, load_file(Path(measured.trained.checkpoint) / "model.safetensors")

    return run


def difference(one, other):
    """Greatest difference between two tensors of a name, relative to the norm of the first."""
    assert one.keys() == other.keys()
    return max(
        float(np.linalg.norm(one[name] - other[name]) / max(np.linalg.norm(one[name]), 1e-12)) for name in one
    )


def unshared(cell, workload, folder):
    """In the child: ranks that don't average their gradients."""
    from benchmark.training import sharing

    sharing._ddp = lambda learner, _: learner
    return stage._train(cell, workload, folder)


def test_two_ranks_train_what_one_process_trains_with_twice_the_batch(trained):
    """DDP, FSDP2 and accumulation; and a training whose ranks don't share is found out."""
    one, whole = trained("batch=8", *SGD)
    assert len(one.timing.nanoseconds) == 18
    assert np.ptp(one.trained.losses) > 0.01
    for several in (
        ("scenario.ranks=2",),
        ("scenario.ranks=2", "scenario.strategy=fsdp2", "scenario.accumulation=2", "batch=2"),
        ("scenario.accumulation=2", "scenario.checkpointing=true"),
    ):
        ranks, shared = trained("batch=4", *SGD, *several)
        assert difference(whole, shared) < 1e-4, several
        assert ranks.trained.losses == pytest.approx(one.trained.losses, rel=1e-4)
        assert ranks.trained.step_items == one.trained.step_items == 8
        assert ranks.trained.flops == one.trained.flops
        stage.judge_training(ranks.trained)

    faulty, apart = trained("batch=4", *SGD, "scenario.ranks=2", work=unshared)
    assert difference(whole, apart) > 1e-3
    with pytest.raises(WrongAnswer, match="their gradients are not averaged"):
        stage.judge_training(faulty.trained)


def test_a_process_bound_to_fewer_cores_than_ranks_says_so(compose, monkeypatch, tmp_path):
    cell = cell_of(compose(*TINY, "scenario.ranks=2"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(Unavailable, match=r"scenario\.ranks=2: this process may use 1 cores or cards"):
        stage._train(cell, None, tmp_path)


def test_a_seed_trains_the_same_twice_and_a_checkpoint_is_trained_on(trained):
    first, weights = trained("batch=8")
    again, same = trained("batch=8")
    assert first.trained.losses == again.trained.losses
    assert difference(weights, same) == 0
    other, _ = trained("batch=8", "seed=1")
    assert other.trained.losses != first.trained.losses
    further, _ = trained("batch=8", f"weights={first.trained.checkpoint}")
    assert further.trained.losses[0] < first.trained.losses[0]


def test_a_data_set_is_trained_on_and_its_other_items_are_answered(trained, tmp_path):
    """Digits whose class is the brightest quarter of the image: learnt in few steps."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(400):
        image, label = rng.integers(0, 60, (8, 8)), number % 4
        row, column = divmod(label, 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 190
        lines.append(",".join(map(str, [*image.ravel(), label])))
    (tmp_path / "quarters.csv").write_text("\n".join(lines))
    measured, _ = trained(
        "hardware.threads=1",
        "~model.parameters",
        "model.architecture.num_labels=4",
        "model.architecture.image_size=8",
        "model.architecture.patch_size=4",
        "dataset=pixel_table",
        f"dataset.path={tmp_path}/quarters.csv",
        "dataset.test_share=0.25",
        "batch=20",
        "scenario.steps=null",
        "scenario.epochs=4",
        base=("scenario=training", "model=vit_mnist"),
    )
    answered = measured.trained.answered
    assert len(measured.trained.losses) == 4 * 300 // 20
    assert (answered.count, answered.dataset) == (100, "pixel_table")
    assert answered.accuracy[0] > 0.9
    assert answered.accuracy[1] < answered.accuracy[0]

"""Sweeps as public repositories write them: each runs as written, or is refused with the way to write it."""

from __future__ import annotations

import os

import pytest
from hydra.experimental.callback import Callback

from benchmark.config import others
from benchmark.store.results import ResultsStore

LISTS = "hydra: {mode: MULTIRUN, sweeper: {params: {model: [bert_tiny, vit_tiny], batch: [1, 2]}}}"
SHAPES = {
    "optuna's search": (
        'hydra: {mode: MULTIRUN, sweeper: {n_trials: 20, params: {batch: "range(1,3)"}}}',
        "error: hydra.sweeper.n_trials: unknown to the sweeper of this project, whose keys are params and",
    ),
    "axes as texts": (
        'hydra: {mode: MULTIRUN, sweeper: {params: {model: "bert_tiny,vit_tiny", batch: "1,2"}}}',
        [("bert_tiny", 1), ("bert_tiny", 2), ("vit_tiny", 1), ("vit_tiny", 2)],
    ),
    "axes by functions": (
        'hydra: {mode: MULTIRUN, sweeper: {params: {model: glob(bert_t*), batch: "choice(1,4)"}}}',
        [("bert_tiny", 1), ("bert_tiny", 4)],
    ),
    "lists of names and values": (
        LISTS,
        "error: model=[bert_tiny,vit_tiny]: should be one value: to sweep write model=bert_tiny,vit_tiny ",
    ),
    "a list where a value is meant": (
        "batch: [1, 2, 4]\nhydra: {mode: MULTIRUN}",
        "error: batch=[1,2,4]: should be one value: to sweep write batch=1,2,4 after -m, or",
    ),
    "paired lists": (
        "pair: [{model: [bert_tiny, vit_tiny], batch: [1, 8]}]\nhydra: {mode: MULTIRUN}",
        [("bert_tiny", 1), ("vit_tiny", 8)],
    ),
    "a launcher of its own": (
        """
        defaults: [{override /hydra/launcher: basic}]
        hydra: {mode: MULTIRUN, sweeper: {params: {batch: "1,2"}}}
        """,
        [("bert_tiny", 1), ("bert_tiny", 2)],
    ),
    "options of another launcher": (
        'hydra: {mode: MULTIRUN, launcher: {n_jobs: 2}, sweeper: {params: {batch: "1,2"}}}',
        "error: hydra.launcher.n_jobs: the launcher `staged` has no options: choose the launcher that has it",
    ),
    "a folder for each job": (
        """
        hydra:
          mode: MULTIRUN
          sweep: {dir: "sweeps/${campaign}", subdir: "${hydra.job.override_dirname}"}
          sweeper: {params: {batch: "1,2"}}
        """,
        "error: hydra.sweep.subdir=${hydra.job.override_dirname}: the cells of a grid share output_folder",
    ),
    "a folder to work in": (
        'hydra: {mode: MULTIRUN, job: {chdir: true}, sweeper: {params: {batch: "1,2"}}}',
        "error: hydra.job.chdir=true: ",
    ),
    "variables": (
        'hydra: {mode: MULTIRUN, job: {env_set: {SHAPE_MARK: "1"}}, sweeper: {params: {batch: "1,2"}}}',
        [("bert_tiny", 1), ("bert_tiny", 2)],
    ),
    "variables of each cell": (
        'hydra: {mode: MULTIRUN, job: {env_set: {SHAPE_MARK: "${seed}"}}, sweeper: {params: {seed: "1,2"}}}',
        "error: hydra.job.env_set.SHAPE_MARK: differs between cells (1, 2), which share one environment",
    ),
    "a callback for each job": (
        f"hydra: {{mode: MULTIRUN, callbacks: {{mine: {{_target_: {__name__}.OnJob}}}}}}",
        "error: hydra.callbacks.mine: the launcher `staged` never calls on_job_end: use on_multirun_end, or",
    ),
    "axes as a list": (
        "hydra: {mode: MULTIRUN, sweeper: {params: [batch=1]}}",
        "error: hydra.sweeper.params=['batch=1']: should be a mapping such as {batch: \"1,2\"}",
    ),
    "axes below a group": (
        'hydra: {mode: MULTIRUN, sweeper: {params: {compiler: {fast_math: "none,all"}}}}',
        (
            "error: hydra.sweeper.params.compiler: an axis is one key with its values: write "
            'compiler.fast_math: "none,all"'
        ),
    ),
    "a sweep where a number is meant": (
        'batch: "1, 2"\nhydra: {mode: MULTIRUN}',
        "error: batch=1, 2: should be one value: to sweep write batch=1,2 after -m, or",
    ),
    "a name where a group is meant": (
        "model: vit_tiny",
        (
            "error: model=vit_tiny: a YAML chooses a name in its defaults list: write "
            "`defaults: [override /model: vit_tiny]`"
        ),
    ),
    "names where a group is meant": (
        'scenario: "latency,throughput"',
        "error: scenario=latency,throughput: should be one value: to sweep write scenario=latency,throughput",
    ),
    "a group without its slash": (
        "defaults: [{override hydra/launcher: basic}]",
        "error: experiment/shape.yaml: there is no such group beside it: write `override /hydra/launcher:`",
    ),
    "a group that isn't overridden": (
        "defaults: [{/model: vit_tiny}]",
        (
            "error: model: has a value already: leave out the + before model=, or in a defaults list write "
            "`override /model:`"
        ),
    ),
    "a sweeper by its class": (
        "hydra: {mode: MULTIRUN, sweeper: {_target_: hydra_plugins.hydra_ax_sweeper.AxSweeper}}",
        "error: hydra_plugins.hydra_ax_sweeper.AxSweeper: no installed plug-in of Hydra: choose one by name",
    ),
    "a folder by the number of the job": (
        "output_folder: outputs/${hydra.job.num}\nhydra: {mode: MULTIRUN}",
        "error: hydra.sweep.dir: needs hydra.job.num, which only a single job has",
    ),
    "a launcher for one cell": (
        "defaults: [{override /hydra/launcher: basic}]",
        "error: hydra/launcher=basic: works only in a grid: add -m, or hydra.mode: MULTIRUN",
    ),
    "axes without a mode": (
        'hydra: {sweeper: {params: {batch: "1,2"}}}',
        "error: hydra.sweeper.params: works only in a grid: add -m, or hydra.mode: MULTIRUN",
    ),
}
"""A diff over the defaults, and the cells that it makes or the start of the refusal."""


class OnJob(Callback):
    """Wants each job's end."""

    def on_job_end(self, config, job_return, **kwargs): ...


class AtTheEnd(Callback):
    """Leaves a file when a grid or a run has ended."""

    def on_multirun_end(self, config, **kwargs):  # noqa: ARG002 - Hydra's signature
        with open("ended", "a") as file:  # noqa: PTH123
            file.write("grid ")

    def on_run_end(self, config, job_return, **kwargs):  # noqa: ARG002
        with open("ended", "a") as file:  # noqa: PTH123
            file.write(f"run {job_return.return_value} ")


@pytest.fixture
def own(tmp_path):
    """Write experiments into a folder of one's own; return the flag that finds them."""

    def written(**experiments):
        folder = tmp_path / "mine" / "experiment"
        folder.mkdir(parents=True)
        for name, text in experiments.items():
            (folder / f"{name}.yaml").write_text(f"# @package _global_\n{text}")
        return f"hydra.searchpath=[file://{tmp_path}/mine]"

    return written


@pytest.fixture
def cells(main, tmp_path, monkeypatch):
    """Run a command on the simulated device; return model and batch of its rows, or its last error."""
    monkeypatch.setenv("SHAPE_MARK", "before")  # restored afterwards: a run sets it for this process

    def ran(*arguments):
        code, lines = main(*arguments, "hardware=simulated", "sampling=quick", "sampling.repeats=1")
        if code:
            return next(line for line in lines if line.startswith("error: "))
        rows = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
        assert {row["status"] for row in rows} == {"ok"}
        return sorted((row["model"], row["batch_size"]) for row in rows)

    return ran


@pytest.mark.parametrize("name", SHAPES)
def test_a_public_shape_of_a_sweep_runs_or_is_refused_with_what_to_write(cells, own, name, monkeypatch):
    monkeypatch.setattr(others, "modules", lambda: frozenset({__name__}))  # as benchmark.yaml does
    text, expected = SHAPES[name]
    found = cells("experiment=shape", own(shape=text))
    assert found == expected or (isinstance(expected, str) and found.startswith(expected))


@pytest.mark.parametrize("command", [[], ["-m"], ["-m", "hydra/launcher=basic"]])
def test_an_experiment_without_its_package_is_refused(cells, tmp_path, command):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "lost.yaml").write_text("batch: 3")
    refused = cells(*command, "experiment=lost", f"hydra.searchpath=[file://{tmp_path}/mine]")
    assert refused.startswith("error: experiment: its YAML sets nothing: let it begin with the line")


def test_each_of_several_experiments_has_its_own_grid(cells, own):
    flag = own(
        a='hydra: {mode: MULTIRUN, sweeper: {params: {batch: "1,2"}}}',
        b="defaults: [{override /model: vit_tiny}]\npair: [{batch: [4, 8], seed: [1, 2]}]",
    )
    assert cells("-m", "experiment=a,b", "campaign=both", flag) == [
        ("bert_tiny", 1),
        ("bert_tiny", 2),
        ("vit_tiny", 4),
        ("vit_tiny", 8),
    ]


def test_a_launcher_in_one_of_several_experiments_is_refused(cells, own):
    flag = own(a="batch: 1", b="defaults: [{override /hydra/launcher: basic}]")
    outcome_text = cells("-m", "experiment=a,b", flag)
    assert outcome_text.startswith("error: hydra.launcher: set by a choice that is swept (experiment=b")


@pytest.mark.parametrize("command", [[], ["-m"]])
@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("model=[bert_tiny,vit_tiny]", "error: model=[bert_tiny,vit_tiny]: should be one value"),
        ("experiment=[a,b]", "error: experiment=[a,b]: should be one value: to sweep write experiment=a,b"),
        ("experiment=c", "error: model=[bert_tiny,vit_tiny]: should be one value"),
    ],
)
def test_a_list_of_names_is_never_merged_in_silence(cells, own, command, override, start):
    sweep = 'hydra: {mode: MULTIRUN, sweeper: {params: {batch: "1,2"}}}'
    flag = own(a=sweep, b=sweep, c="defaults: [{override /model: [bert_tiny, vit_tiny]}]")
    assert cells(*command, override, flag).startswith(start)


def test_variables_are_set_and_are_in_the_row(cells, tmp_path):
    cells("-m", "batch=1,2", "+hydra.job.env_set.SHAPE_MARK=here")
    assert os.environ["SHAPE_MARK"] == "here"
    rows = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    assert [dict(row["environment_variables"])["SHAPE_MARK"] for row in rows] == ["here", "here"]


def test_callbacks_hear_of_the_end_of_a_grid_and_of_a_run(cells, tmp_path):
    callback = f"+hydra.callbacks.mine._target_={__name__}.AtTheEnd"
    cells("-m", "batch=1,2", callback)
    cells("batch=1", callback)
    assert (tmp_path / "ended").read_text() == "grid run 0 "


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (
            ["-m", "batch=1,2", "batch=4"],
            "error: batch=1,2 and batch=4: write the values of a key in one place",
        ),
        (["-m", "model=glob(zzz*)"], "error: model=glob(zzz*): no name matches"),
        (
            ["-m", "hydra.sweeper.params.batch=1,2"],
            "error: hydra.sweeper.params.batch=1,2: Hydra reads its own",
        ),
        (["-m", "+hydra.sweeper.n_trials=3"], "error: hydra.sweeper.n_trials: unknown to the sweeper"),
        (
            ["hydra.sweeper.params.batch=1"],
            "error: hydra.sweeper.params.batch: no axis of the experiment: write",
        ),
        (["hydra.job.env_set.A=1"], "error: hydra.job.env_set.A: not set yet: write +hydra.job.env_set.A="),
        (
            ["+hydra.job.env_set.A=${seed}"],
            "error: hydra.job.env_set.A: Interpolation key 'seed' not found: ",
        ),
        (["+batch=1"], "error: batch: has a value already: leave out the + before batch="),
        (["++model=vit_tiny"], "error: model: has a value already: leave out the ++ before model="),
        (
            ["-m", 'batch="1","2"'],
            "error: batch=1: should be a valid integer, is a text: leave out the quotes",
        ),
        (["sampling.min_repeats=9"], "error: sampling.min_repeats=9: is above sampling.repeats="),
        (["--package", "model"], "error: --package: works only with --cfg"),
        (["--bogus"], "error: --bogus: there is no such flag; --hydra-help lists them"),
        (["--info", "batch=1"], "error: argument --info/-i: invalid choice: 'batch=1'"),
        (
            ["--config-name", "mine"],
            "error: --config-name mine: there is no mine.yaml in conf/ or --config-dir",
        ),
        (["-m", "hydra.sweeper.max_batch_size=3"], "error: hydra.sweeper.max_batch_size: `staged` takes the"),
    ],
)
def test_nothing_of_the_command_line_is_dropped(cells, arguments, start):
    assert cells(*arguments).startswith(start)


def test_a_fraction_is_not_called_a_text(cells):
    assert cells("sampling.max_calls=1.5") == "error: sampling.max_calls=1.5: should be a valid integer"


def test_an_error_of_a_launcher_is_one_line(cells):
    submitit = pytest.importorskip("submitit")
    if submitit.SlurmExecutor.affinity() >= 0:
        pytest.skip("this host has Slurm")
    refused = cells("-m", "hydra/launcher=submitit_slurm", "batch=1,2")
    assert refused.startswith("error: hydra/launcher=submitit_slurm: RuntimeError: Could not detect")


def test_an_option_of_one_compiler_only_is_explained(main):
    code, lines = main(
        "-m",
        "compiler=simulated,eager",
        "compiler.fault=none,raise",
        "hardware=simulated",
        "sampling.repeats=1",
    )
    assert code == 1
    assert lines[0].startswith("error: compiler.fault: compiler=eager has no such key: ")


def test_flags_may_stand_anywhere(main, tmp_path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("# @package _global_\nbatch: 3")
    code, _ = main(
        "hardware=simulated",
        "--config-dir",
        str(tmp_path / "mine"),
        "experiment=own",
        "-m",
        "seed=1,2",
        "sampling.repeats=1",
    )
    rows = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    assert (code, [row["batch_size"] for row in rows]) == (0, [3, 3])


@pytest.mark.parametrize("sweeper", ["basic", "grid"])
@pytest.mark.parametrize("launcher", ["basic", "staged"])
def test_one_impossible_and_one_failed_cell_end_no_grid(main, tmp_path, sweeper, launcher):
    chosen = [f"hydra/launcher={launcher}", f"hydra/sweeper={sweeper}"]
    code, _ = main("-m", "hardware=simulated", "sampling.repeats=1", "seq_len=8,1000000", *chosen)
    assert code == 0
    code, _ = main("-m", "hardware=simulated", "sampling.repeats=1", "compiler.fault=raise,none", *chosen)
    assert code == 2
    rows = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    assert sorted(row["status"] for row in rows) == ["crashed", "incompatible", "ok", "ok"]


def test_an_experiment_cannot_sweep_experiments(cells, own):
    flag = own(a="batch: 1", b='hydra: {mode: MULTIRUN, sweeper: {params: {experiment: "a,b"}}}')
    assert cells("experiment=b", flag).startswith(
        "error: hydra.sweeper.params.experiment: experiment=b can't sweep experiments: write experiment=a,b"
    )

"""An artefact is compiled once and tells for ever how long that took."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import cell_of, environment_of
from benchmark.compilers.simulated import Simulated
from benchmark.errors import CompileFailed, Crashed, OutOfMemory, UnsupportedOperator
from benchmark.execution.forkserver import inline
from benchmark.records import CompileReport, frozen
from benchmark.stages.build import build
from benchmark.stages.compile import compile_

FLAGS = ("--auto-cast", "none")


@frozen
class Slow(Simulated):
    """Takes its time, and tells flags."""

    error: str = ""

    def compile(self, workload, folder):
        time.sleep(0.002)
        if self.error:
            raise {"memory": MemoryError(), "other": ValueError("cannot lower aten::foo")}[self.error]
        super().compile(workload, folder)
        return CompileReport(flags=FLAGS, subgraphs=2, unsupported_ops=("aten::bar",))


@pytest.fixture
def cache(tmp_path):
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    return opened


@pytest.fixture
def compiled(cache):
    """Compile an experiment as the pipeline would."""

    def artifact(experiment, call=inline, versions=None, settings=None):
        cell = cell_of(experiment)
        facts = experiment.hardware.facts()
        environment = environment_of(facts, versions or {"compiler": "1"}, settings or {})
        return compile_(cell, build(cell, environment, cache, call), environment, cache, call)

    return artifact


@pytest.fixture
def slow(simulated):
    return replace(simulated(), compiler=Slow())


def test_what_the_compiler_said_is_in_the_artefact(slow, compiled):
    artifact = compiled(slow)
    assert artifact.report == CompileReport(flags=FLAGS, subgraphs=2, unsupported_ops=("aten::bar",))
    assert (artifact.folder / "model" / "law.json").is_file()
    assert artifact.artifact_bytes == (artifact.folder / "model" / "law.json").stat().st_size
    assert artifact.key == artifact.folder.name


def test_a_hit_tells_the_original_seconds_and_report(slow, compiled):
    first, second = compiled(slow), compiled(slow)
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert first.compile_s >= 0.002
    assert second.compile_s == first.compile_s
    assert second.report == first.report
    assert second.key == first.key


def test_variables_that_change_the_program_are_part_of_the_key(slow, compiled):
    @frozen
    class Reading(Slow):
        @property
        def variables(self):
            return "NEURON_\\w+"

    reading = replace(slow, compiler=Reading())
    settings = [{}, {"NEURON_FUSE_SOFTMAX": "1"}, {"NEURON_FUSE_SOFTMAX": "0"}, {"OMP_NUM_THREADS": "1"}]
    keys = [compiled(reading, settings=one).key for one in settings]
    assert len({*keys}) == 3
    assert keys[0] == keys[3]


@pytest.mark.parametrize("kind", [Crashed, CompileFailed])
def test_a_failure_that_others_have_seen_is_called_known(slow, compiled, kind):
    @frozen
    class Failing(Slow):
        def known_fault(self, model_type, versions):
            return f"{model_type} fails with {versions['compiler']} (its release notes)"

        def compile(self, workload, folder):  # noqa: ARG002 - the seam's signature
            raise kind("ended by SIGSEGV")

    with pytest.raises(kind, match=r"SIGSEGV; known: bert fails with 1 \(its release notes\)"):
        compiled(replace(slow, compiler=Failing()))


def test_the_child_is_not_asked_for_what_is_in_the_cache(slow, compiled):
    compiled(slow)

    def never(function, *arguments):
        raise AssertionError(function)

    assert compiled(slow, never).cache_hit


@pytest.mark.parametrize(
    "change",
    [
        lambda e: replace(e, batch=2),
        lambda e: replace(e, seq_len=64),
        lambda e: replace(e, seed=1),
        lambda e: replace(e, compiler=replace(e.compiler, fast_math="all")),
        lambda e: replace(e, compiler=replace(e.compiler, call_ms=2.0)),
        lambda e: replace(e, model=replace(e.model, architecture={"model_type": "bert"})),
    ],
    ids=["batch", "length", "seed", "fast_math", "option", "architecture"],
)
def test_whatever_decides_the_code_is_part_of_the_key(slow, compiled, change):
    assert compiled(slow).key != compiled(change(slow)).key


def test_versions_are_part_of_the_key(slow, compiled):
    assert compiled(slow).key != compiled(slow, versions={"compiler": "2"}).key


@pytest.mark.parametrize(
    "change",
    [
        lambda e: replace(e, campaign="another"),
        lambda e: replace(e, sampling=replace(e.sampling, min_calls=1)),
        lambda e: replace(e, hardware=replace(e.hardware, name="another name")),
        lambda e: replace(e, model=replace(e.model, name="another_name")),
    ],
    ids=["campaign", "sampling", "hardware's name", "model's name"],
)
def test_names_and_effort_are_no_part_of_the_key(slow, compiled, change):
    assert compiled(slow).key == compiled(change(slow)).key


def test_a_compiler_that_leaves_nothing_behind_is_not_run(compose, cache, simulated):
    eager = compose("compiler=eager")
    environment = environment_of(eager.hardware.facts(), {}, {})
    workload = build(cell_of(simulated()), environment, cache, inline)
    artifact = compile_(cell_of(eager), workload, environment, cache, None)
    assert (artifact.folder, artifact.key, artifact.cache_hit, artifact.compile_s) == (None, None, None, None)
    assert cache.entries() == []


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"fault": "raise"}, CompileFailed, "RuntimeError: simulated fault 'raise'"),
        ({"fault": "unsupported_op"}, UnsupportedOperator, "aten::imagined has no kernel"),
        ({"error": "other"}, CompileFailed, "ValueError: cannot lower aten::foo"),
        ({"error": "memory"}, OutOfMemory, "MemoryError: use a smaller batch or length"),
    ],
)
def test_a_compiler_that_gives_up_is_said_apart(slow, compiled, options, kind, text):
    with pytest.raises(kind) as failed:
        compiled(replace(slow, compiler=Slow(fault_stage="compile", **options)))
    assert type(failed.value) is kind
    assert text in str(failed.value)


def test_a_compiler_that_gives_up_leaves_nothing_in_the_cache(slow, compiled, cache):
    with pytest.raises(CompileFailed):
        compiled(replace(slow, compiler=Slow(error="other")))
    assert cache.entries() == []


def test_a_child_that_dies_is_not_taken_for_a_compiler_that_gives_up(slow, compiled):
    def dying(function, *arguments):
        raise Crashed("the child was ended by SIGSEGV")

    with pytest.raises(Crashed, match="SIGSEGV"):
        compiled(slow, dying)

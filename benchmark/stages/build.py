"""Make the weights (once per architecture), the inputs and their fp32 answers (once per shape)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.cache.compile_cache import Entries, Entry
from benchmark.cache.manifest import content_key
from benchmark.cell import Cell, Environment, stated_parameters, versions_of_reference
from benchmark.errors import BenchmarkError, Incompatible, Unavailable, missing_library
from benchmark.execution.failures import cause, describe, is_ours
from benchmark.identity import code_digest, no_weights, options_of, source_digest, weights_digest
from benchmark.models.gguf_header import SUFFIX as GGUF
from benchmark.placement import of_copy
from benchmark.protocols import Call
from benchmark.records import Model, Workload

_OTHER_SEED = 10007
"""Between the seeds of both inputs: prime, so that photographs and passages in turn aren't the same ones."""


def build(cell: Cell, environment: Environment, cache: Entries, call: Call) -> Workload:
    """Return the cell's workload; weights and reference come from the cache if it has them.

    Raises:
        Unavailable: the weights are not available here.
        RunFailure: the model couldn't be built.
    """
    e = cell.experiment
    if e.hardware.simulated:
        return _imagined(cell, environment)
    versions = versions_of_reference(cell, environment)
    weights = _weights(cell, versions, cache, call)
    reference = _reference(cell, versions, weights, cache, call)
    load = partial(e.task.module, weights.folder, cell.shape)
    made = _Made(weights.folder, weights.digest, reference.folder)
    whole = _workload(cell, environment, made, load, reference.manifest.facts)
    parts = (
        _workload(cell, environment, made.of_part(facts["name"]), partial(_part, load, facts["name"]), facts)
        for facts in reference.manifest.facts.get("parts", ())
    )
    if e.weights == "random":  # a part may be left out, such as the encoder of a VAE
        whole = replace(whole, parameters=weights.facts["parameters"])
    untrained = tuple(weights.facts.get("untrained", ()))
    return replace(whole, parts=tuple(parts), untrained=untrained)


class _Weights(NamedTuple):
    """Weights of a model."""

    folder: Path
    digest: str
    """Hash of their content."""
    facts: Mapping[str, Any]
    """What `Task.make_weights` returned."""


class _Made(NamedTuple):
    """Files of a workload."""

    weights: Path
    digest: str
    reference: Path

    def of_part(self, name: str) -> _Made:
        return self._replace(reference=self.reference / name)


def _workload(
    cell: Cell, environment: Environment, made: _Made, load: Callable[[], Any], facts: Mapping[str, Any]
) -> Workload:
    """A network, or several, from the facts that `composite.write_reference` returned."""
    e = cell.experiment
    return Workload(
        name=facts["name"],
        load_module=load,
        calls=facts["calls"],
        input_names=tuple(facts["input_names"]),
        input_shapes={name: tuple(shape) for name, shape in facts["input_shapes"].items()},
        input_dtypes=dict(facts["input_dtypes"]),
        reference=made.reference,
        weights_digest=made.digest,
        parameters=facts["parameters"],
        flops_per_call=facts["flops_per_call"],
        weight_bytes=facts["weight_bytes"],
        padding_share=facts.get("padding_share"),
        shape=cell.shape,
        threads=environment.facts.threads,
        torch_device=e.hardware.torch_device or "cpu",
        target=environment.facts.target,
        task=e.task.name,
        weights=made.weights,
        cores=of_copy(e.task, e.model, e.compiler, e.hardware, e.scenario).get(facts["name"], ()),
        states=tuple(facts.get("states", ())),
    )


def _part(load: Callable[[], Any], name: str) -> Any:
    """In a child: one network of a model in parts."""
    return load().parts[name]()


def _imagined(cell: Cell, environment: Environment) -> Workload:
    """A workload for simulated devices."""
    e = cell.experiment
    return Workload(
        load_module=_nothing,
        input_names=(),
        input_shapes={},
        input_dtypes={},
        reference=None,
        weights_digest=content_key({"architecture": e.model.architecture, "seed": e.seed}),
        parameters=stated_parameters(e),
        flops_per_call=None,
        weight_bytes=None,
        padding_share=None,
        shape=cell.shape,
        threads=environment.facts.threads,
        torch_device="cpu",
    )


def _nothing() -> None:
    """The module of a simulated workload."""


def _weights(cell: Cell, versions: Mapping[str, str], cache: Entries, call: Call) -> _Weights:
    """Weights from the cache, made or converted if it lacks them; or those of a local folder."""
    e = cell.experiment
    is_gguf = e.weights.endswith(GGUF)
    if e.weights not in {"random", "pretrained"} and not is_gguf:
        return _local_weights(cell, versions, cache, call)
    made_of: dict[str, Any] = {"task": options_of(e.task), "weights": "gguf" if is_gguf else e.weights}
    if is_gguf:
        if (digest := weights_digest(Path(e.weights))) is None:
            raise Unavailable(no_weights(Path(e.weights)))
        made_of |= {"converted": digest, "architecture": dict(e.model.architecture), "versions": versions}
        made_of |= {"code": code_digest(e.task), "parameters": stated_parameters(e)}
    elif e.weights == "random":
        made_of |= {"architecture": dict(e.model.architecture), "seed": e.seed, "versions": versions}
        made_of |= {"code": code_digest(e.task), "parameters": stated_parameters(e)}
    else:
        made_of |= {"hub_id": e.model.hub_id, "revision": e.model.revision or "main"}
    entry = cache.get_or_build(
        "weights",
        made_of,
        lambda folder: call(_make_weights, e.task, e.model, e.weights, e.seed, folder),
    )
    digest = content_key({"files": {name: file.sha256 for name, file in entry.manifest.files.items()}})
    return _Weights(entry.folder, digest, entry.manifest.facts)


def _local_weights(cell: Cell, versions: Mapping[str, str], cache: Entries, call: Call) -> _Weights:
    """The folder itself, once it is checked: the cache remembers that it holds this model."""
    e = cell.experiment
    folder = Path(e.weights).resolve()
    digest = weights_digest(folder)
    if digest is None:
        raise Unavailable(no_weights(Path(e.weights)))
    checked = {
        "checked": digest,
        "task": options_of(e.task),
        "architecture": dict(e.model.architecture),
        "parameters": stated_parameters(e),
        "versions": versions,
        "code": code_digest(e.task),
    }
    entry = cache.get_or_build(
        "weights", checked, lambda target: call(_make_weights, e.task, e.model, str(folder), e.seed, target)
    )
    return _Weights(folder, digest, entry.manifest.facts)


def _reference(
    cell: Cell, versions: Mapping[str, str], weights: _Weights, cache: Entries, call: Call
) -> Entry:
    """Inputs, and the answers of the eager fp32 model to them.

    Raises:
        Incompatible: the model refused the shape, or its answers differ from those of an independent path.
    """
    e = cell.experiment
    made_of = {
        "weights": weights.digest,
        "task": options_of(e.task),
        "code": code_digest(e.task),
        "reference": source_digest(frozenset({"benchmark.models.composite"})),
        "model": dict(e.model.architecture),
        "shape": asdict(cell.shape),
        "inputs": e.inputs,
        "seed": e.seed,
        "versions": versions,
    }
    entry = cache.get_or_build(
        "reference",
        made_of,
        lambda target: call(_make_reference, cell, weights.folder, target),
    )
    if refusal := entry.manifest.facts.get(
        "refused"
    ):  # remembered: the other cells of a grid don't try again
        raise Incompatible(refusal)
    return entry


def _make_weights(task: Any, model: Any, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
    with _explained(model, partial(_refused_weights, model)):
        facts = task.make_weights(model, weights, seed, folder)
    return {"label": f"{model.name} {weights}", **facts}


def _make_reference(cell: Cell, weights: Path, folder: Path) -> Mapping[str, Any]:
    """In the child: one forward pass in fp32."""
    from benchmark.models import composite

    e = cell.experiment
    e.hardware.configure_process()
    real = weights if e.inputs == "real" else None
    try:
        with _explained(e.model, partial(_refused_call, cell)):
            inputs, second = (
                e.task.inputs(e.model, cell.shape, seed, real) for seed in (e.seed, e.seed + _OTHER_SEED)
            )
            if real is None:
                second = composite.unlike(inputs, second)
            module = e.task.module(weights, cell.shape)
            facts = composite.write_reference(module, inputs, folder, e.hardware.facts().threads, second)
    except Incompatible as error:
        facts = {"refused": str(error)}
    return {"label": f"{e.model.name} {cell.shape.label}", **facts}


@contextmanager
def _explained(model: Model, refusal: Callable[[Exception], str]) -> Iterator[None]:
    """In the child: turn what a library says about a model into a refusal.

    Raises:
        Incompatible: with the text of `refusal`. Failures of this program and errors of memory and files stay
            as they are.
        Unavailable: the model needs a library that isn't installed.
    """
    try:
        yield
    except ImportError as error:
        raise Unavailable(f"model={model.name}: {missing_library(error)}") from error
    except Exception as error:
        is_plain = describe(error)[0] == "crashed" and not isinstance(error, (BenchmarkError, OSError))
        if not is_plain or is_ours(error):
            raise
        raise Incompatible(f"model={model.name}: {refusal(error)}") from error


def _refused_weights(model: Model, error: Exception) -> str:
    return f"its weights can't be made: {cause(error)}; correct `architecture` in {model.file or 'its YAML'}"


def _refused_call(cell: Cell, error: Exception) -> str:
    """Why the model can't be called as the task does."""
    model, shape = cell.experiment.model, cell.shape
    is_unusual = shape.image_size != model.image_size if shape.image_size else isinstance(error, IndexError)
    if is_unusual:
        usual = f"; its own image_size is {model.image_size}" if shape.image_size and model.image_size else ""
        return f"it can't take {shape.label}: {cause(error)}{usual}"
    return (
        f"it can't be called with the inputs of {cell.experiment.task.name}: {cause(error)}; "
        f"choose another task, or correct `architecture` in {model.file or 'its YAML'}"
    )

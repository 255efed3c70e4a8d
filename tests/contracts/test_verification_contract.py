"""What the check of answers sees: models that are broken on purpose, block by block."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest

from benchmark.config.folder import CONF, read
from benchmark.config.sweep import grid
from benchmark.records import Model, Shape
from benchmark.stages.verify import cosine, relative_error
from tests.contracts.test_task_contract import TASKS, chosen

pytestmark = pytest.mark.real

ENCODER = {"model_type": "bert", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128}
ENCODER |= {"num_hidden_layers": 2, "num_attention_heads": 2}
CONVNEXT = {"model_type": "convnext", "image_size": 64, "num_channels": 3, "num_labels": 1000}
CONVNEXT |= {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
OURS = {
    "reranker": ("text_classification", {**ENCODER, "num_labels": 1}),
    "two labels": ("text_classification", {**ENCODER, "num_labels": 2}),
    "convnext": ("image_classification", CONVNEXT),
}
"""Models that the check of one cosine couldn't tell from broken ones."""
TWINS = ("bert_tiny", "vit_tiny", "resnet_tiny", "clip_tiny", "gpt2_tiny", "t5_tiny")
"""Twins of other families: encoder, vision, two towers, generation."""
UNSEEN: dict[tuple[str, str, str], str] = {}
"""Mutations that the check doesn't see: model, mutation, block; and why."""


Errors = tuple[float | None, float, float]
"""Relative error, least cosine, least cosine on the first inputs."""


class Broken(NamedTuple):
    """A mutated model: its errors, and what the check of one cosine, without drawn weights, had said."""

    model: str
    mutation: str
    block: str
    error: float | None
    cosine: float
    old_cosine: float


def zoo() -> dict[str, tuple[str, Model]]:
    """Models by name, with their tasks."""
    twins = {name: read(CONF / "model" / f"{name}.yaml") for name in TWINS}
    made = {
        name: (chosen(model), Model(**{key: value for key, value in model.items() if key != "defaults"}))
        for name, model in twins.items()
    }
    for name, (task, architecture) in OURS.items():
        made[name] = (task, Model(name=name, architecture=architecture, parameters={task: 1}))
    return made


def broken_models(root: Path) -> list[Broken]:
    """In a child: every mutation of every block."""
    import torch

    from benchmark.models import networks

    torch.set_num_threads(1)
    networks.check_parameters = lambda *_: None
    spread, found = networks.spread_weights, list[Broken]()
    for name, (task, model) in zoo().items():
        errors = []
        for how in (spread, lambda *_: None):
            networks.spread_weights = how
            with TemporaryDirectory(dir=root) as folder:
                TASKS[task]().make_weights(model, "random", 0, Path(folder))
                errors.append(dict(_errors(task, model, Path(folder))))
        for (mutation, block), (error, least, _) in errors[0].items():
            old = errors[1].get((mutation, block), (0.0, 1.0, 1.0))  # zeros before: it changed nothing
            found.append(Broken(name, mutation, block, error, least, old[2]))
    return found


def _errors(task: str, model: Model, folder: Path) -> Iterator[tuple[tuple[str, str], Errors]]:
    """Each mutation and block with its relative error, its cosine, and its cosine on the first inputs."""
    from benchmark.models import composite

    plugin = TASKS[task]()
    vision = model.architecture.get("vision_config", model.architecture)
    size = model.image_size or vision.get("image_size")
    axes = {"sequence_length": 32, "input_length": 16, "output_length": 4, "image_size": size}
    shape = Shape(batch_size=1, **{axis: axes[axis] for axis in plugin.axes})
    first = plugin.inputs(model, shape, 0)
    second = composite.unlike(first, plugin.inputs(model, shape, 1))
    module = plugin.module(folder, shape)
    parts = {name: load() for name, load in getattr(module, "parts", {}).items()} or {"model": module}
    forced = [_chosen_tokens(module, parts, given) for given in (first, second)]
    references = [_answers(module, parts, *given) for given in zip((first, second), forced, strict=True)]

    def errors(networks: dict[str, Any], *inputs: dict[str, Any]) -> Errors:
        made = [_answers(module, networks, *given) for given in zip(inputs, forced, strict=True)]
        sets = [list(zip(*both, strict=True)) for both in zip(made, references, strict=True)]
        relative = [relative_error(*both, 1e-3) for both in zip(*sets, strict=True)]
        cosines = [min(cosine(*pair) for pair in pairs) for pairs in sets]
        return max((error for error in relative if error is not None), default=None), min(cosines), cosines[0]

    for mutation, block, changed in _mutated(parts):
        yield (mutation, block), errors(changed, first, second)
    if "attention_mask" in first:
        unmasked = {**second, "attention_mask": first["attention_mask"]}
        yield ("mask off", ""), errors(parts, first, unmasked)


def _chosen_tokens(module: Any, parts: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Answers that are choices, which broken models are forced to."""
    import torch

    if not hasattr(module, "parts"):
        return {}
    with torch.inference_mode():
        return {name: module.run(parts, given, int)[name] for name in module.forced_tokens}


def _answers(
    module: Any, parts: dict[str, Any], given: dict[str, Any], forced: dict[str, Any]
) -> list[np.ndarray]:
    import torch

    with torch.inference_mode():
        if not hasattr(module, "parts"):
            return [np.array(output) for output in parts["model"](*given.values())]
        outputs = module.run_teacher_forced(parts, given, forced)
    return [np.array(output) for name, output in outputs.items() if name not in forced]


def _mutated(parts: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, block and parts of each broken copy."""
    for block in _blocks(parts):
        for mutation, change in MUTATIONS.items():
            changed = copy.deepcopy(parts)
            if _change(changed, change, lambda name, of=block: f".{of}." in f".{name}", dimensions=2):
                yield mutation, block, changed
    for mutation, word in (("position off", "position"), ("bias off", "bias")):
        changed = copy.deepcopy(parts)
        if _change(changed, _zero, lambda name, part=word: part in name, dimensions=1):
            yield mutation, "", changed


def _blocks(parts: dict[str, Any]) -> list[str]:
    """Names of the repeated blocks: entries of lists of modules that have matrices, outermost ones."""
    import torch

    (part, *_) = parts.values()
    found = list[str]()
    for name, module in part.named_modules():
        if isinstance(module, torch.nn.ModuleList) and not any(
            name.startswith(f"{block}.") for block in found
        ):
            found += [
                f"{name}.{entry}"
                for entry, block in module.named_children()
                if any(parameter.dim() > 1 for parameter in block.parameters())
            ]
    return found or [name for name, child in part.model.named_children()]


def _change(parts: dict[str, Any], change: Any, chosen_by: Callable[[str], bool], dimensions: int) -> bool:
    """Change the weights that are chosen, in each part alike; return whether there were any but zeros."""
    import torch

    changed = False
    with torch.no_grad():
        for part in parts.values():
            generator = torch.Generator().manual_seed(1)
            for name, parameter in part.named_parameters():
                if parameter.dim() >= dimensions and chosen_by(name) and parameter.any():
                    change(parameter, generator)
                    changed = True
    return changed


def _zero(matrix: Any, _: Any) -> None:
    matrix.zero_()


def _shuffle(matrix: Any, generator: Any) -> None:
    import torch

    order = torch.randperm(matrix.numel(), generator=generator)
    matrix.copy_(matrix.flatten()[order].view_as(matrix))


def _noise(matrix: Any, generator: Any) -> None:
    import torch

    matrix.mul_(1 + 0.2 * torch.randn(matrix.shape, generator=generator))


MUTATIONS = {"zero": _zero, "shuffle": _shuffle, "noise": _noise}


@pytest.fixture(scope="module")
def broken(in_a_child, tmp_path_factory):
    """Every mutation of the zoo's twins."""
    return in_a_child(broken_models, tmp_path_factory.mktemp("mutations"))


@pytest.fixture(scope="module")
def limits():
    """What fp32 compilers are held to."""
    (experiment,) = grid([])
    return experiment.verify


def test_a_broken_block_is_refused(broken, limits):
    most = limits.max_relative_error["none"]
    unseen = {
        (one.model, one.mutation, one.block): one for one in broken if one.error is None or one.error <= most
    }
    assert unseen.keys() == UNSEEN.keys(), unseen.values()


@pytest.mark.parametrize("model", OURS)
def test_one_cosine_did_not_see_it(broken, limits, model):
    """Undrawn weights and the cosine of one answer: the check that this one replaces."""
    blocks = [one for one in broken if one.model == model and one.mutation in MUTATIONS]
    assert any(one.old_cosine >= limits.min_cosine["none"] for one in blocks)

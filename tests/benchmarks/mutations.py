"""What the check of answers sees of broken models, by model and mutation: caught of tried.

    python -m tests.benchmarks.mutations            # every twin, some minutes
    python -m tests.benchmarks.mutations bert_tiny  # some of them

Nothing is compiled: the reference's own networks are broken in eager mode, one thing at a time, and their
answers go through the check of a run, at `fast_math=none`. What it doesn't see is listed with the reason; one
without a reason is exit code 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain, combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file

from benchmark.cell import Cell, cell_of
from benchmark.config.sweep import grid
from benchmark.errors import WrongAnswer
from benchmark.models import composite
from benchmark.records import SECOND, Model, Quality, Shape
from benchmark.stages.verify import compare, judge
from tests.contracts.test_task_contract import MODELS, TASKS, chosen
from tests.stages.test_verify import workload

AXES = {"sequence_length": 32, "input_length": 16, "output_length": 4, "steps": 2}
BATCH = 2

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
SMALLER = {
    "whisper_tiny": {
        "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 1000,
        "max_source_positions": 100, "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1,
        "decoder_start_token_id": 2,
    },
}  # fmt: skip
"""Published models without a smaller twin, made smaller here."""

_POSITIONS = re.compile(
    r"position_emb|positions_emb|embed_positions|relative_position|wpe|pos_encoding|relative_attention_bias"
    r"|rel_pos|rel_attn\.r$|r_r_bias|pos_embed$|time_embeddings|position_encodings"
)
"""Parameters and buffers that hold positions."""
_COMPUTED = ("DetrSinePositionEmbedding", "PerceiverFourierPositionEncoding")
"""Modules that compute positions from nothing but the shape of their input."""

Given = dict[str, torch.Tensor]


class Mutation(NamedTuple):
    """One thing broken."""

    kind: str
    where: str


class Tried(NamedTuple):
    """A mutation, and what the check said of it."""

    model: str
    mutation: Mutation
    quality: Quality
    refusal: str | None
    """None: the check didn't see it."""


class Subject:
    """A model with its reference to both sets of inputs, whose networks can be broken and mended."""

    def __init__(self, name: str, task: str, model: Model, root: Path, cell: Cell) -> None:
        plugin = TASKS[task]()
        vision = model.architecture.get("vision_config", model.architecture)
        axes = {**AXES, "image_size": model.image_size or vision.get("image_size")}
        shape = Shape(batch_size=BATCH, **{axis: axes[axis] for axis in plugin.axes})
        self.name, self._cell, self._root = name, cell, root / "reference"
        weights = root / "weights"
        for folder in (weights, self._root):
            folder.mkdir()
        plugin.make_weights(model, "random", 0, weights)
        first = plugin.inputs(model, shape, 0)
        second = composite.unlike(first, plugin.inputs(model, shape, 10007))
        composite.write_reference(plugin.module(weights, shape), first, self._root, 1, second)
        self.inputs: tuple[Given, Given] = (dict(first), dict(second))
        self.module = plugin.module(weights, shape)
        self.is_composite = isinstance(self.module, composite.CompositeModel)
        self.parts: dict[str, Any] = (
            {part: load() for part, load in self.module.parts.items()}
            if self.is_composite
            else {"model": self.module}
        )

    @property
    def networks(self) -> dict[str, list[Any]]:
        """Networks that are broken together: both halves of a generation have the same weights."""
        if self.is_composite and self.module.forced_tokens:
            return {"": [*self.parts.values()]}
        return {f"{name}: " if self.is_composite else "": [part] for name, part in self.parts.items()}

    def answers(self, inputs: Sequence[Given] | None = None) -> list[list[np.ndarray]]:
        """Answers to both sets of inputs."""
        made = []
        for given, folder in zip(inputs or self.inputs, (self._root, self._root / SECOND), strict=True):
            with torch.inference_mode():
                if self.is_composite:
                    forced = dict(load_file(folder / "forced_tokens.safetensors"))
                    outputs = self.module.run_teacher_forced(self.parts, dict(given), forced)
                    outputs = [outputs[name] for name in outputs if name not in forced]
                else:
                    outputs = self.module(*given.values())
            made.append([np.array(output.float()) for output in outputs])
        return made

    def check(self, mutation: Mutation, answers: list[list[np.ndarray]]) -> Tried:
        """Compare the answers as a run does."""
        first, second = map(tuple, answers)
        quality = compare(
            workload(self._root), SimpleNamespace(answers=first, second_answers=second, trained=None)
        )
        try:
            judge(self._cell, quality)
        except WrongAnswer as error:
            return Tried(self.name, mutation, quality, str(error))
        return Tried(self.name, mutation, quality, None)


def tries(subject: Subject) -> Iterator[Tried]:
    """Break everything in turn."""
    right = subject.answers()
    yield subject.check(Mutation("unbroken", ""), right)
    for kind, where, broken in chain(
        *(kinds(subject) for kinds in (_weights, _positions, _masks, _constants))
    ):
        with broken:
            yield subject.check(Mutation(kind, where), subject.answers())
    for kind, where, inputs in _inputs(subject):
        yield subject.check(Mutation(kind, where), subject.answers(inputs))
    yield subject.check(Mutation("swapped items", ""), [[array[::-1] for array in made] for made in right])
    first = [[np.repeat(array[:1], len(array), axis=0) for array in made] for made in right]
    yield subject.check(Mutation("swapped items", "the first for each"), first)
    for one, other in combinations(range(len(right[0])), 2):
        if right[0][one].shape == right[0][other].shape:
            order = [{one: other, other: one}.get(place, place) for place in range(len(right[0]))]
            swapped = [[made[place] for place in order] for made in right]
            yield subject.check(Mutation("swapped outputs", f"{one} and {other}"), swapped)


Broken = Iterator[tuple[str, str, Any]]
"""Kind, place, and a context in which the model is broken."""


def _weights(subject: Subject) -> Broken:
    """Matrices of each block, and of each module outside blocks; each bias by itself."""
    for part_name, group in subject.networks.items():
        blocks = _blocks(group[0])
        for block in blocks:
            for kind, change in MATRICES.items():
                inside = [_named(part, f"{block}.") for part in group]
                matrices = [
                    {name: tensor for name, tensor in named.items() if tensor.dim() > 1 and tensor.any()}
                    for named in inside
                ]
                if any(matrices):
                    yield kind, f"{part_name}{block}", _changed(matrices, change)
        for name, bias in group[0].named_parameters():
            if re.search(r"bias|beta$", name) and bias.dim() == 1 and bias.any():
                same = [_named(part, name) for part in group]
                yield "bias off", f"{part_name}{name}", _changed(same, _zero)


def _positions(subject: Subject) -> Broken:
    """Every position of a network off."""
    for part_name, group in subject.networks.items():
        tensors = [
            {name: tensor for name, tensor in _named(part, "").items() if _POSITIONS.search(name)}
            for part in group
        ]
        computed = [m for part in group for m in part.modules() if type(m).__name__ in _COMPUTED]
        if any(tensors) or computed:
            yield "position off", part_name, _without_positions(tensors, computed)


def _masks(subject: Subject) -> Broken:
    """The mask that attention gets or makes itself, such as a causal one, off."""
    before = torch.nn.functional.scaled_dot_product_attention
    seen: list[bool] = []

    def watched(*args: Any, **named: Any) -> Any:
        mask = named.get("attn_mask")
        hides = mask is not None and bool((~mask if mask.dtype is torch.bool else mask).any())
        seen.append(hides or bool(named.get("is_causal")))
        return before(*args, **named)

    def unmasked(*args: Any, **named: Any) -> Any:
        return before(*args, **{**named, "attn_mask": None, "is_causal": False})

    with mock.patch("torch.nn.functional.scaled_dot_product_attention", watched):
        subject.answers()
    if any(seen):
        yield (
            "mask off",
            "attention",
            mock.patch("torch.nn.functional.scaled_dot_product_attention", unmasked),
        )


def _constants(subject: Subject) -> Broken:
    """A network of several that always reads what it was given first, as if that were a constant of it."""
    for name, part in subject.parts.items() if subject.is_composite else ():
        states = [
            place for place, given in enumerate(part.input_names) if given.startswith(("self_", "cross_"))
        ]
        for place, given in enumerate(part.input_names):
            if place not in states[1:]:
                places = states if place in states else [place]
                what = "states" if place in states else given
                yield "frozen input", f"{name}: {what}", _frozen(part, places)


def _inputs(subject: Subject) -> Iterator[tuple[str, str, Sequence[Given]]]:
    """An input that is a constant of the compiled model, wrong masks, inputs in another's place."""
    first, second = subject.inputs
    for name, values in first.items():
        if name.endswith("attention_mask"):
            late = torch.cat([second[name][:, :1], second[name][:, :-1]], dim=1)
            for where, mask in {"one token late": late, "from the other end": second[name].flip(1)}.items():
                yield "mask wrong", f"{name}, {where}", (first, {**second, name: mask})
            yield "mask off", name, (first, {**second, name: values})
        else:
            yield "frozen input", name, (first, {**second, name: values})
    for one, other in combinations(first, 2):
        if first[one].shape == first[other].shape and first[one].dtype == first[other].dtype:
            swapped = [{**given, one: given[other], other: given[one]} for given in subject.inputs]
            yield "swapped inputs", f"{one} and {other}", swapped


def _blocks(part: Any) -> list[str]:
    """Innermost entries of lists of modules with two matrices or more; then modules with matrices outside."""
    lists = (torch.nn.ModuleList, torch.nn.Sequential)
    found = list[str]()
    for name, module in part.named_modules():
        if isinstance(module, lists):
            found += [
                f"{name}.{entry}"
                for entry, block in module.named_children()
                if sum(parameter.dim() > 1 for parameter in block.parameters()) > 1
            ]
    inner = [block for block in found if not any(other.startswith(f"{block}.") for other in found)]
    covered = tuple(f"{block}." for block in inner)
    outside = dict.fromkeys(
        name.rpartition(".")[0]
        for name, parameter in part.named_parameters()
        if parameter.dim() > 1 and not name.startswith(covered)
    )
    return [*inner, *outside]


def _named(part: Any, prefix: str) -> dict[str, torch.Tensor]:
    """Parameters and buffers of real numbers whose names begin so."""
    both = (*part.named_parameters(), *part.named_buffers())
    return {name: tensor for name, tensor in both if name.startswith(prefix) and tensor.is_floating_point()}


@contextmanager
def _changed(groups: Sequence[dict[str, torch.Tensor]], change: Any) -> Iterator[None]:
    """Change the tensors, the same way in each group, and change them back."""
    before = [{name: tensor.detach().clone() for name, tensor in tensors.items()} for tensors in groups]
    with torch.no_grad():
        for tensors in groups:
            generator = torch.Generator().manual_seed(1)
            for tensor in tensors.values():
                change(tensor, generator)
        yield
        for tensors, copies in zip(groups, before, strict=True):
            for name, tensor in tensors.items():
                tensor.copy_(copies[name])


@contextmanager
def _without_positions(tensors: Sequence[dict[str, torch.Tensor]], computed: Sequence[Any]) -> Iterator[None]:
    def zeros(_: Any, __: Any, output: Any) -> Any:
        return output * 0

    handles = [module.register_forward_hook(zeros) for module in computed]
    with _changed(tensors, _zero):
        yield
    for handle in handles:
        handle.remove()


@contextmanager
def _frozen(part: Any, places: Sequence[int]) -> Iterator[None]:
    """Give the inputs at these places the values that they have in the first call."""
    first: dict[int, torch.Tensor] = {}

    def constant(_: Any, tensors: Any) -> Any:
        for place in places:
            first.setdefault(place, tensors[place].clone())
        return tuple(first.get(place, tensor) for place, tensor in enumerate(tensors))

    handle = part.register_forward_pre_hook(constant)
    yield
    handle.remove()


def _zero(tensor: torch.Tensor, _: Any) -> None:
    tensor.zero_()


def _shuffle(matrix: torch.Tensor, generator: torch.Generator) -> None:
    order = torch.randperm(matrix.numel(), generator=generator)
    matrix.copy_(matrix.flatten()[order].view_as(matrix))


def _noise(matrix: torch.Tensor, generator: torch.Generator) -> None:
    matrix.mul_(1 + 0.2 * torch.randn(matrix.shape, generator=generator))


MATRICES = {"zero": _zero, "shuffle": _shuffle, "noise": _noise}


def zoo() -> dict[str, tuple[str, Model]]:
    """Models by name, with their tasks."""
    made = {}
    for name, values in MODELS.items():
        fields = {key: value for key, value in values.items() if key != "defaults"}
        if name in SMALLER:
            fields["architecture"] = {**fields["architecture"], **SMALLER[name]}
        made[name] = (chosen(values), Model(**fields))
    for name, (task, architecture) in OURS.items():
        made[name] = (task, Model(name=name, architecture=architecture, parameters={task: 1}))
    return made


def try_one(name: str) -> list[Tried]:
    """Every mutation of a model."""
    torch.set_num_threads(1)
    task, model = zoo()[name]
    (experiment,) = grid(["compiler=eager"])
    with (
        mock.patch("benchmark.models.networks.check_parameters", return_value=None),
        TemporaryDirectory() as root,
    ):
        return [*tries(Subject(name, task, model, Path(root), cell_of(experiment)))]


@contextmanager
def undrawn_weights() -> Iterator[None]:
    """Leave the weights as they are born."""
    with mock.patch("benchmark.models.networks.spread_weights", return_value=None):
        yield


EXPLAINED = (
    (r"", "bias off", r"(\.k_proj|key|k_lin|to_k|Wk)\.bias$", "it adds the same to all scores of a softmax"),
    (r"", "", r"vae_decoder: .*\bquant_conv", "it belongs to the other half of the VAE"),
    (r"", "", r"vae_encoder: .*\bpost_quant_conv", "it belongs to the other half of the VAE"),
    (
        r"sdxl",
        "",
        r"text_encoder: model\.(encoder\.layers\.1|final_layer_norm)",
        "SDXL reads the layer before",
    ),
    (r"sdxl", "frozen input", r"time_ids", "the image's size, which is the same in each call"),
    (r"sdxl_refined", "frozen input", r"unet: timestep", "one step of two is the base's"),
    (r"detr_tiny", "bias off", r"decoder\.layers\.0\.self_attn\.q_proj", "that attention reads zeros only"),
    (r"detr_tiny", "noise", r"query_position_embeddings", "all of that table is 0.8 % of the answer"),
    (r"perceiver_multimodal", "frozen input", r"^label$", "a call to encode and decode has no label: zeros"),
)
"""Why the check doesn't see a mutation: patterns of the model, the kind and the place."""
LACKING = {
    "position off": "convolutions, whose positions are those of their weights",
    "mask off": "pixels: nothing is masked",
    "mask wrong": "no mask among its inputs",
    "swapped inputs": "no two inputs of one shape and type",
    "swapped outputs": "no two outputs of one shape",
    "bias off": "no biases",
}
"""Why models have nothing to break so."""
COLUMNS = (
    "zero", "shuffle", "noise", "bias off", "position off", "mask off", "mask wrong", "frozen input",
    "swapped inputs", "swapped items", "swapped outputs",
)  # fmt: skip


def explanation(one: Tried) -> str | None:
    """Why the check can't see this mutation; None: it should."""
    for model, kind, where, reason in EXPLAINED:
        if re.search(model, one.model) and kind in one.mutation.kind and re.search(where, one.mutation.where):
            return reason
    return None


def table(found: Sequence[Tried]) -> str:
    """Caught of tried, by model and kind; without what can't be seen."""
    lines = ["model".ljust(26) + "".join(f"{column:>16}" for column in COLUMNS)]
    for name in [*dict.fromkeys(one.model for one in found), "all"]:
        cells = []
        for column in COLUMNS:
            of_kind = [
                one
                for one in found
                if name in {one.model, "all"} and one.mutation.kind == column
                if one.refusal or not explanation(one)
            ]
            seen = sum(one.refusal is not None for one in of_kind)
            cells.append(f"{seen}/{len(of_kind)}" if of_kind else "-")
        lines.append(name.ljust(26) + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    """Print the table, and what isn't seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="names; none: all")
    names = parser.parse_args().models or [*zoo()]
    start = time.perf_counter()
    with ProcessPoolExecutor(2) as workers:
        slowest_first = sorted(names, key=lambda name: not re.match("sd|pixart", name))
        made = dict(zip(slowest_first, workers.map(try_one, slowest_first), strict=True))
    found = [one for name in names for one in made[name]]
    unseen = [one for one in found if one.refusal is None and one.mutation.kind != "unbroken"]
    wrong = [one for one in found if one.refusal is not None and one.mutation.kind == "unbroken"]
    wrong += [one for one in unseen if explanation(one) is None]
    print(table(found))
    reasons = Counter((one.mutation.kind, explanation(one)) for one in unseen)
    for (kind, reason), count in reasons.items():
        print(f"not seen: {count} x {kind}: {reason or 'no reason is known'}")
    for kind, reason in LACKING.items():
        lacking = [name for name in names if kind not in {one.mutation.kind for one in made[name]}]
        print(
            f"not tried: {kind} of {', '.join(lacking)}: {reason}" if lacking else "",
            end="\n" * bool(lacking),
        )
    least = min((one for one in found if one.refusal and one.quality.relative_error), key=_error)
    print(f"least error that was caught: {_error(least):.3g} ({least.model}, {': '.join(least.mutation)})")
    for one in wrong:
        print("WRONG", one.model, *one.mutation, one.quality)
    print(f"{len(found)} checks, {time.perf_counter() - start:.0f} s of wall time")
    return 1 if wrong else 0


def _error(one: Tried) -> float:
    return one.quality.relative_error or np.inf


if __name__ == "__main__":
    sys.exit(main())

"""Models of several networks: each network is compiled by itself, all are timed together.

Imported by children only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmark.errors import Incompatible
from benchmark.models import flops, networks
from benchmark.models.networks import Positional
from benchmark.records import SECOND, Arithmetic, Session, Workload

Network = Callable[..., Sequence[torch.Tensor]]
"""A part, compiled or not: positional tensors in, tensors out."""
Tensors = dict[str, torch.Tensor]
"""Inputs or answers by name."""


class CompositeModel:
    """A model of several networks, its parts. `Task.module` may return one of these instead of a network."""

    parts: Mapping[str, Callable[[], Positional]]
    """Functions that load a part, by its name."""
    forced_tokens: tuple[str, ...] = ()
    """Answers that are choices during a call, such as tokens. To compare answers, a compiled model is forced
    to the reference's choices: after one other choice the answers can't be compared."""
    has_tokens = False
    """Whether `on_token` is called after each token."""
    kv_bytes_per_token: float | None = None
    """Bytes of keys and values of one token of one item, as the last call kept them; None: there are none."""

    def run(self, parts: Mapping[str, Network], inputs: Tensors, on_token: Callable[[], None]) -> Tensors:
        """Make one call as a user does; call `on_token` after each token, where there are tokens."""
        raise NotImplementedError

    def run_reference(
        self,
        parts: Mapping[str, Network],
        modules: Mapping[str, Positional],
        inputs: Tensors,
        *,
        drawn_tokens: bool = False,
    ) -> Tensors:
        """Make the reference's call, and hold it to an independent path where there is one.

        `parts` call the `modules` and record the calls. `drawn_tokens` forces random tokens: of its own
        choices, a random model may repeat one, and then it doesn't show which token it reads where.
        """
        del modules, drawn_tokens
        return self.run(parts, inputs, _ignore_token)

    def run_teacher_forced(
        self, parts: Mapping[str, Network], inputs: Tensors, forced_tokens: Tensors
    ) -> Tensors:
        """The same, but with the choices of `forced_tokens` (teacher forcing)."""
        del forced_tokens
        return self.run(parts, inputs, _ignore_token)

    def run_scored(self, parts: Mapping[str, Network], inputs: Tensors, tokens: torch.Tensor) -> Tensors:
        """Score given tokens; only models that make tokens can."""
        raise NotImplementedError

    def run_short(
        self, parts: Mapping[str, Network], inputs: Tensors, on_token: Callable[[], None], tokens: int
    ) -> Tensors:
        """Make the first tokens of a call only; only models that make tokens can."""
        raise NotImplementedError

    def save_image(self, answers: Tensors, file: Path) -> bool:  # noqa: ARG002
        """Save an image of the answers to `file`; return whether there is one."""
        return False

    def parameters(self, of_parts: Sequence[int]) -> int:
        """Parameters of the model, from those of its parts."""
        return sum(of_parts)


def write_reference(
    module: Any,
    inputs: Mapping[str, torch.Tensor],
    folder: Path,
    threads: int | None,
    second_inputs: Mapping[str, torch.Tensor] | None = None,
) -> Mapping[str, Any]:
    """Save the inputs and the fp32 answers to them; return facts about the call and its parts.

    `second_inputs` and the answers to them are saved in the folder `second`.

    These are names, shapes and dtypes of inputs, parameters, and the counts of `models.flops`. The module
    can't be used afterwards.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    inputs = dict(inputs)
    facts = _padding(inputs)
    if not isinstance(module, CompositeModel):
        for given, target in _sets(inputs, second_inputs, folder):
            with torch.inference_mode():
                outputs = module(*given.values())
            _save_answers(dict(zip(module.output_names, outputs, strict=True)), target)
        return facts | {"name": "model", "calls": 1} | _facts(module, inputs)
    recorders = {name: _Recorder(load()) for name, load in module.parts.items()}
    networks = {name: recorder.network for name, recorder in recorders.items()}
    called: Mapping[str, Network] = recorders
    for given, target in _sets(inputs, second_inputs, folder):
        with torch.inference_mode():
            answers = module.run_reference(called, networks, given, drawn_tokens=called is networks)
        forced = {name: answers.pop(name) for name in module.forced_tokens}
        _save(forced, target / "forced_tokens.safetensors")
        _save_answers(answers, target)
        called = networks  # the first call's inputs are recorded, and its calls counted
    parts = [recorder.facts(name, folder) for name, recorder in recorders.items() if recorder.inputs]
    return (
        facts
        | _described(inputs)
        | {
            "name": "model",
            "calls": 1,
            "parts": parts,
            "parameters": module.parameters([part["parameters"] for part in parts]),
            "flops_per_call": _times(parts, "flops_per_call"),
            "weight_bytes": _times(parts, "weight_bytes"),
        }
    )


def unlike(first: Mapping[str, torch.Tensor], drawn: Mapping[str, torch.Tensor]) -> Tensors:
    """Random inputs that differ from the first ones in more than their draw.

    A mean over many positions is almost the same for each draw, and an input that is always the same, such
    as a mask of ones, could be dropped unseen. So normal numbers are shifted by one, up and down in turn by
    item, masks of ones hide the last tokens, each another quarter of them, and constants vary.
    """
    changed, quarters = dict(drawn), 0
    for name, values in drawn.items():
        if values.is_floating_point() and values.abs().max() > 1:  # others, such as images, are bounded
            items = torch.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
            changed[name] = values / 2 + 1 - 2 * (items % 2)
        elif not values.equal(first[name]):
            continue
        elif values.is_floating_point():
            changed[name] = values.flip(-1)
        elif values.ndim == 2:  # noqa: PLR2004 - tokens
            places = torch.arange(values.shape[1])
            if (values == 1).all() and len(places) > 1:
                quarters += 1
                shown = (places < len(places) - quarters * (len(places) // 4)).to(values.dtype)
                changed[name] = shown.expand_as(values).clone()
            else:
                changed[name] = (values - 1 - places).abs()
    return changed


def composite_session(workload: Workload, sessions: Mapping[str, Session]) -> Session:
    """Return a session of the whole model, from the sessions of its parts."""
    model: CompositeModel = workload.load_module()
    stored = networks.read_inputs(workload)
    inputs = dict(zip(workload.input_names, stored, strict=True))
    by_part: Mapping[str, Network] = {name: LoadedPart(session) for name, session in sessions.items()}
    first = next(iter(sessions.values()))
    calls: list[list[int]] = []
    latest: Tensors = {}

    def run() -> Any:
        token_times: list[int] = []
        calls.append(token_times)
        start = time.perf_counter_ns()
        with torch.inference_mode():
            return model.run(by_part, inputs, lambda: token_times.append(time.perf_counter_ns() - start))

    def answers(reference: Path) -> Sequence[Any]:
        nonlocal latest
        forced_tokens = dict(load_file(reference / "forced_tokens.safetensors", device=workload.torch_device))
        with torch.inference_mode():
            latest = model.run_teacher_forced(by_part, inputs, forced_tokens)
        return [tensor for name, tensor in latest.items() if name not in model.forced_tokens]

    def score(tokens: np.ndarray) -> Sequence[Any]:
        given = torch.from_numpy(tokens).to(workload.torch_device)
        with torch.inference_mode():
            return [*model.run_scored(by_part, inputs, given).values()]

    def generate(tokens: int) -> Sequence[int]:
        moments: list[int] = []
        start = time.perf_counter_ns()
        with torch.inference_mode():
            model.run_short(by_part, inputs, lambda: moments.append(time.perf_counter_ns() - start), tokens)
        return moments

    def token_ns() -> Sequence[Sequence[int]]:
        finished = [*calls]
        calls.clear()
        return finished

    return Session(
        run=run,
        inputs=stored,
        answers=answers,
        save_image=lambda file: model.save_image(latest, file),
        token_ns=token_ns if model.has_tokens else None,
        generate=generate if model.has_tokens else None,
        kv_bytes_per_token=lambda: model.kv_bytes_per_token,
        score=score if model.has_tokens else None,
        keeps_states=any(session.write_states for session in sessions.values()),
        arithmetic=_together([session.arithmetic for session in sessions.values()]),
        choices=first.choices,
    )


def _together(parts: Sequence[Arithmetic]) -> Arithmetic:
    """Arithmetic of all parts; types that differ are named with commas, the most exact first."""

    def named(column: str) -> Any:
        found = dict.fromkeys(getattr(part, column) for part in parts)
        return next(iter(found)) if len(found) == 1 else ", ".join(sorted(map(str, found), reverse=True))

    return Arithmetic(**{field.name: named(field.name) for field in fields(Arithmetic)})


class LoadedPart:
    """A loaded part as a function of tensors, whether its runtime takes tensors or arrays."""

    def __init__(self, session: Session) -> None:
        assert session.call is not None  # noqa: S101 - every compiler that takes composite models has it
        self._call, self.write_states = session.call, session.write_states
        self.grows_states, self.state_bytes = session.grows_states, session.state_bytes
        self._takes_arrays = any(isinstance(value, np.ndarray) for value in session.inputs)
        self._dtypes = () if self._takes_arrays else [value.dtype for value in session.inputs]

    def __call__(self, *tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        """Call it; without the states where `write_states` keeps them on the device."""
        if self._takes_arrays:
            arrays = self._call(*(tensor.numpy() for tensor in tensors))
            return [torch.from_numpy(array) for array in arrays]
        return self._call(*map(_converted, tensors, self._dtypes))


def _converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The tensor in this type and contiguous: AOTInductor refuses PixArt's expanded timestep otherwise."""
    return tensor if tensor.dtype is dtype and tensor.is_contiguous() else tensor.to(dtype).contiguous()


class _Recorder:
    """Calls a network; counts the calls and keeps the inputs of the first."""

    def __init__(self, network: Positional) -> None:
        self.network, self.calls = network, 0
        self.inputs: Tensors = {}

    def __call__(self, *tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        if not self.calls:
            named = zip(self.network.input_names, tensors, strict=True)
            self.inputs = {name: tensor.clone() for name, tensor in named}
        self.calls += 1
        return self.network(*tensors)  # type: ignore[no-any-return]

    def facts(self, name: str, folder: Path) -> dict[str, Any]:
        """Save the first call's inputs; return facts about the part."""
        (folder / name).mkdir()
        _save(self.inputs, folder / name / "inputs.safetensors")
        return {"name": name, "calls": self.calls} | _facts(self.network, self.inputs)


def _facts(network: Positional, inputs: Tensors) -> dict[str, Any]:
    return _described(inputs) | {
        "states": list(getattr(network, "states", ())),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "weight_bytes": flops.weight_bytes(network),
        "flops_per_call": flops.flops_per_call(network, tuple(inputs.values())),
    }


def _described(inputs: Tensors) -> dict[str, Any]:
    return {
        "input_names": list(inputs),
        "input_shapes": {name: list(tensor.shape) for name, tensor in inputs.items()},
        "input_dtypes": {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in inputs.items()},
    }


def _padding(inputs: Tensors) -> dict[str, Any]:
    mask = inputs.get("attention_mask")
    return {"padding_share": None if mask is None else 1 - float(mask.float().mean())}


def _times(parts: Sequence[Mapping[str, Any]], what: str) -> int | None:
    """Sum over the parts, each times its calls; None where a part has no count."""
    counts = [part[what] for part in parts]
    return (
        None
        if None in counts
        else sum(count * part["calls"] for count, part in zip(counts, parts, strict=True))
    )


def _sets(
    inputs: Tensors, second: Mapping[str, torch.Tensor] | None, folder: Path
) -> Iterator[tuple[Tensors, Path]]:
    """Save each set of inputs; yield it with the folder for its answers."""
    for given, target in ((inputs, folder), (second, folder / SECOND)):
        if given is not None:
            target.mkdir(exist_ok=True)
            _save(dict(given), target / "inputs.safetensors")
            yield dict(given), target


def _save(tensors: Tensors, file: Path) -> None:
    # Cloned: safetensors refuses views of each other, such as CLIP's outputs for a batch of 1.
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file)


def _save_answers(answers: Tensors, folder: Path) -> None:
    """Number the names, to keep the order: a compiled model answers by position.

    Raises:
        Incompatible: answers aren't numbers, so that nothing could be compared with them.
    """
    if broken := [name for name, output in answers.items() if output.isnan().any()]:
        raise Incompatible(f"its fp32 answers aren't numbers (NaN in {', '.join(broken)}): use other weights")
    numbered = {f"{i:03d}-{name}": output.float() for i, (name, output) in enumerate(answers.items())}
    _save(numbered, folder / "outputs.safetensors")


def _ignore_token() -> None:
    """Callback of a call whose tokens aren't timed."""

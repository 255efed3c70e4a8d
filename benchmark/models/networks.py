"""Transformers models: made from a configuration, saved, loaded, wrapped for exporters.

Imported by children only. Tasks and compilers share it; the core never imports torch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

from benchmark.errors import (
    BenchmarkError,
    ConfigError,
    Fallback,
    Incompatible,
    LibraryMissing,
    Unavailable,
    missing_library,
)
from benchmark.models import architectures, numerics
from benchmark.precision import Dtype
from benchmark.records import Arithmetic, Model, Session, Workload
from benchmark.spelling import nearest, suggest

_DRAWN = 0.1
"""Standard deviation of weights that are born constant."""
_TABLE = 0.5
"""Standard deviation of tables that no layer of torch owns."""
_NO_SCALE = 0.5
"""Constants from here on are something else, such as temperatures."""

try:
    from transformers import conversion_mapping, initialization

    # Built here, in the server that children are forked from. Each child would compile 900 patterns, 0.2 s.
    conversion_mapping.get_checkpoint_conversion_mapping("bert")
except (ImportError, AttributeError):  # transformers before 5 has neither
    initialization = None


class Positional(torch.nn.Module):  # type: ignore[misc]
    """Module with positional tensors as inputs and plain tensors as outputs, as every exporter needs."""

    def __init__(
        self,
        model: torch.nn.Module,
        input_names: Sequence[str],
        output_names: Sequence[str],
        **constants: Any,
    ) -> None:
        super().__init__()
        self.model = model
        self.input_names = tuple(input_names)
        self.output_names = tuple(output_names)
        self.constants = constants

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the named outputs. Inputs go by name: the model's forward may have another order."""
        outputs = self.model(**dict(zip(self.input_names, tensors, strict=True)), **self.constants)
        return tuple(_answer(outputs, name) for name in self.output_names)


def _answer(outputs: Any, name: str) -> torch.Tensor:
    """The tensor of this name; of a model that calls its answer otherwise, the most similar or first one.

    Raises:
        Incompatible: there is no tensor.
    """
    if isinstance(answer := getattr(outputs, name, None), torch.Tensor):
        return answer
    named = dict(outputs) if isinstance(outputs, Mapping) else {"outputs": outputs}
    named.pop("loss", None)
    last_word = name.rpartition("_")[2]
    for field in sorted(named, key=lambda field: last_word not in field):
        if (answer := _first_tensor(named[field])) is not None:
            return answer
    raise Incompatible(f"it returns no tensor, but a {type(outputs).__name__}: choose another task")


def _first_tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, (list, tuple)):
        return next((found for part in value if (found := _first_tensor(part)) is not None), None)
    return value if isinstance(value, torch.Tensor) else None


def without_memory(network: torch.nn.Module) -> dict[str, Any]:
    """Arguments that keep a network from also returning a cache for the next token."""
    known = inspect.signature(network.forward).parameters
    return {name: False for name in ("use_cache", "use_mems") if name in known}


def taken(network: Any, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the inputs that a network, or its class, takes: some have no attention mask."""
    known = inspect.signature(network.forward).parameters
    return tuple(name for name in names if name in known or name not in architectures.OPTIONAL)


def without_unknown(auto_class: str, model: Model, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that the model's class takes."""
    kind = network_class(auto_class, configuration(model))
    return {name: inputs[name] for name in taken(kind, inputs)}


def write_weights(  # noqa: PLR0913, PLR0917 - which model, and where to
    auto_class: str, model: Model, task: str, weights: str, seed: int, folder: Path
) -> Mapping[str, Any]:
    """Save a model with random weights by the seed, or the published one, into `folder`.

    `weights` may also be a folder: then nothing is saved, and the folder is held to the YAML.

    Raises:
        ConfigError: the YAML states another number of parameters for the task, or another model.
        Unavailable: the hub can't be reached, and its cache on this host lacks the model.
    """
    if weights == "pretrained":
        return _write_pretrained(auto_class, model, folder)
    if weights != "random":
        return check_folder(auto_class, model, task, Path(weights))
    config = configuration(model)
    kind = network_class(auto_class, config)
    torch.manual_seed(seed)
    with _built(model):
        network = kind._from_config(config).eval()  # noqa: SLF001 - from_config, of a class
    check_parameters(model, task, network.num_parameters())
    spread_weights(network, seed)
    network.save_pretrained(folder)
    return {"parameters": network.num_parameters()}


def spread_weights(network: torch.nn.Module, seed: int) -> None:
    """Change the weights that hide others, so that every block and bias reaches the answers.

    Constant ones are drawn: biases and tables of zeros become small, scales of one vary around it, and the
    scales that open a block slowly in training, such as ConvNeXt's 1e-6, become one. Matrices whose draw lets
    the signal vanish get the size that keeps it: 1 / sqrt(inputs), convolutions He's (2015). Tables that
    tell positions or latents apart get the size of a signal.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.modules.conv._ConvNd):  # noqa: SLF001 - the base of all
                # Residual networks draw the last one of a block smaller, and would grow without that.
                _enlarge(module.weight, (2 / module.weight[0].numel()) ** 0.5, if_below=1 / 3)
            elif isinstance(module, torch.nn.Linear) and not name.endswith(".q"):
                # T5's `q` has in its weights what others divide the products of attention by.
                # LayoutLMv3's `rel_pos_bias` reads one input of many, and is divided as those products are.
                one_input = name.rpartition(".")[2].startswith("rel_pos")
                _enlarge(module.weight, 1.0 if one_input else module.in_features**-0.5)
            elif isinstance(module, transformers.pytorch_utils.Conv1D):
                _enlarge(module.weight, module.weight.shape[0] ** -0.5)
            elif isinstance(module, torch.nn.modules.batchnorm._NormBase) and module.affine:  # noqa: SLF001
                module.weight.fill_(1)  # MobileViT's are near zero
            elif not isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
                for parameter in module.parameters(recurse=False):
                    _enlarge_bare(parameter)
        for parameter in network.parameters():
            value = float(parameter.flatten()[0]) if parameter.numel() else 0.0
            is_scale = parameter.numel() > 1 and (value == 1 or 0 < value < _NO_SCALE)
            if (parameter == value).all() and (value == 0 or is_scale):
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.copy_(_DRAWN * noise + (1 if is_scale else 0))


def _enlarge_bare(parameter: torch.Tensor) -> None:
    """Enlarge a parameter that no layer of torch owns: a table, or a projection of three dimensions."""
    if parameter.ndim == 2:  # noqa: PLR2004 - a table, such as Perceiver's latents
        _enlarge(parameter, _TABLE)
    elif parameter.ndim == 3:  # noqa: PLR2004 - XLNet's (inputs, heads, width), experts' (experts, inputs, outputs)
        _enlarge(parameter, max(parameter.shape[:-1]) ** -0.5)


def _enlarge(weight: torch.Tensor, size: float, if_below: float = 1.0) -> None:
    """Give the weight this standard deviation, if its own is less than that share of it."""
    if 0 < (own := float(weight.std())) < if_below * size:
        weight.mul_(size / own)


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Turn whatever a library raises into a refusal.

    Raises:
        ConfigError: it raised anything.
        LibraryMissing: it needs a library that isn't installed.
    """
    try:
        yield
    except BenchmarkError:
        raise
    except ImportError as error:
        raise LibraryMissing(f"{what}: {missing_library(error)}") from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigError(f"{what}: {reason}") from error


@contextmanager
def explained(what: str, advice: str) -> Iterator[None]:
    """Turn what transformers says into a mistake of the configuration.

    Raises:
        ConfigError: the library refused it; errors of memory and of files stay as they are.
    """
    try:
        yield
    except (BenchmarkError, MemoryError, OSError, RuntimeError):
        raise
    except ImportError as error:
        raise LibraryMissing(f"{what}: {missing_library(error)}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{what}: {type(error).__name__}: {reason}; {advice}") from error


def _built(model: Model) -> AbstractContextManager[None]:
    return explained(
        f"model={model.name}: transformers can't build this architecture",
        f"correct `architecture` in {model.file or 'its YAML'}",
    )


def configuration(model: Model) -> Any:
    """The transformers configuration of an architecture; a nested one names its own `model_type`.

    Raises:
        ConfigError: transformers doesn't know the architecture, or refuses a field.
    """
    with _built(model):
        fields = {name: _nested(value) for name, value in model.architecture.items() if name != "model_type"}
        return transformers.AutoConfig.for_model(model.architecture["model_type"], **fields)


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("model_type"):
        rest = {name: inner for name, inner in value.items() if name != "model_type"}
        return transformers.AutoConfig.for_model(value["model_type"], **rest)
    return value


def network_class(auto_class: str, config: Any) -> Any:
    """The class that an Auto class chooses; of several, the one that `architectures` names.

    `auto_class` may also be a class of one architecture, for models without an Auto class.

    Raises:
        ConfigError: the Auto class has no class for this architecture.
    """
    kind = getattr(transformers, auto_class)
    if not hasattr(kind, "_model_mapping"):
        return kind
    try:
        found = kind._model_mapping[type(config)]  # noqa: SLF001 - it has no public name
    except KeyError as error:
        raise ConfigError(
            f"transformers has no {auto_class} for model_type {config.model_type}: choose another task"
        ) from error
    classes = found if isinstance(found, (tuple, list)) else (found,)
    named = [kind for kind in classes if kind.__name__ in (config.architectures or ())]
    return (named or classes)[0]


def check_parameters(model: Model, task: str, count: int) -> None:
    """Check that an architecture is the published one, by its number of parameters.

    Raises:
        ConfigError: the YAML states another number for the task.
    """
    if count == (stated := model.parameters.get(task, count)):
        return
    names = architectures.field_names(str(model.architecture.get("model_type")))
    hints = {name: nearest(name, names, 0.8) for name in model.architecture if name not in names}
    misspelled = [f"{name}: {suggest(hint)} " for name, hint in hints.items() if hint]
    raise ConfigError(
        f"model.parameters.{task}={stated}: this architecture has {count}; "
        f"{''.join(misspelled)}correct {model.file or 'its YAML'}, or give the model another name"
    )


def check_folder(
    auto_class: str, model: Model, task: str, folder: Path, named: Path | None = None
) -> Mapping[str, Any]:
    """Check that the weights in a local folder are those of the YAML's model with this task's head.

    `named` is what the user named, where the folder was made of it.

    Raises:
        ConfigError: another model, another number of parameters, or tensors that are missing or left over.
    """
    own = configuration(model)
    named = named or folder
    with explained(f"weights={named}: transformers can't read it", "save it again with save_pretrained"):
        theirs = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        kind = network_class(auto_class, theirs)
        network, loaded = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    other = {
        name: f"{name} is {getattr(theirs, name, None)}, the YAML's {getattr(own, name)}"
        for name in ("num_labels", *model.architecture)
        if isinstance(getattr(own, name, None), (str, int, float, list))
        and not name.endswith(("architectures", "token_id"))
        and not _same(getattr(theirs, name, None), getattr(own, name))
    }
    hint = other.pop("num_labels", None)
    shapes = [str(key[0] if isinstance(key, tuple) else key) for key in loaded["mismatched_keys"]]
    body = {name for name, _ in network.base_model.named_children()}  # keys elsewhere are other heads
    prefix = f"{network.base_model_prefix}."
    over = [key for key in loaded["unexpected_keys"] if key.removeprefix(prefix).partition(".")[0] in body]
    count = network.num_parameters()
    with torch.device("meta"):
        stated = model.parameters.get(task) or kind(own).num_parameters()
    for found, why in (
        (theirs.model_type != own.model_type, f"a {theirs.model_type} is no {own.model_type}"),
        (shapes, f"its tensors have other shapes: {few(shapes)}"),
        (loaded["missing_keys"], f"it lacks {few(loaded['missing_keys'])}"),
        (over, f"it has layers that the model lacks: {few(over)}"),
        (other, "; ".join(other.values())),
        (
            count != stated,
            f"it has {count} parameters, and the YAML {stated}" + (f" ({hint})" if hint else ""),
        ),
    ):
        if found:
            raise ConfigError(
                f"weights={named}: not those of model={model.name} with this task: {why}: "
                f"choose another model, task or folder, or correct {model.file or 'its YAML'}"
            )
    return {"parameters": count}


def _same(theirs: Any, own: Any) -> bool:
    """Whether a field is the same; a GGUF file keeps real numbers in 32 bits."""
    reals = isinstance(theirs, float) and isinstance(own, (int, float))
    return math.isclose(theirs, own, rel_tol=1e-6) if reals else bool(theirs == own)


def few(names: Iterable[str]) -> str:
    """The first name, and how many more there are."""
    first, *more = [*sorted(names), ""][:-1] or [""]
    return f"{first} and {len(more)} more" if more else first


def _write_pretrained(auto_class: str, model: Model, folder: Path) -> Mapping[str, Any]:
    revision = model.revision or "main"
    torch.manual_seed(0)  # of a head that the published weights lack
    try:
        config = transformers.AutoConfig.from_pretrained(
            model.hub_id, revision=revision, trust_remote_code=False
        )
        kind = network_class(auto_class, config)
        network, loaded = kind.from_pretrained(model.hub_id, revision=revision, output_loading_info=True)
    except OSError as error:
        raise not_published_here(model) from error
    network.save_pretrained(folder)
    _write_processors(model.hub_id, revision, folder)
    return {
        "parameters": network.num_parameters(),
        "commit": getattr(network.config, "_commit_hash", None),
        "untrained": sorted(loaded["missing_keys"]),
    }


def not_published_here(model: Model) -> Unavailable:
    """Return the error for published weights that can't be loaded on this host."""
    return Unavailable(
        f"weights=pretrained: {model.hub_id}@{model.revision or 'main'} is not on this host, nor can the hub "
        f"be reached: run `hf download {model.hub_id}` where there is a network, or use weights=FOLDER"
    )


def _write_processors(hub_id: str | None, revision: str, folder: Path) -> None:
    """Save the tokenizer and the image processor, where there are any: `inputs=real` needs them."""
    for kind in (transformers.AutoTokenizer, transformers.AutoImageProcessor):
        with suppress(OSError, ValueError, KeyError):
            processor = kind.from_pretrained(hub_id, revision=revision, trust_remote_code=False)
            processor.save_pretrained(folder)


def read_network(auto_class: str, folder: Path) -> torch.nn.Module:
    """Load the model in `folder` in fp32 and eval mode, its weights memory-mapped."""
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    kind = network_class(auto_class, config)
    network = _as_saved(kind, config, folder) or kind.from_pretrained(folder, local_files_only=True)
    return network.float().eval()


def _as_saved(kind: Any, config: Any, folder: Path) -> torch.nn.Module | None:
    """The model in `folder`, if its file has exactly the tensors that the class has, by name and shape.

    `from_pretrained` also renames, ties, splits and quantises. It compiles its patterns for that in each
    process: a third of the time in which a child loads a tiny model.
    """
    file = folder / "model.safetensors"
    if initialization is None or not file.is_file() or getattr(config, "quantization_config", None):
        return None
    with initialization.no_init_weights():
        network = kind._from_config(config)  # noqa: SLF001 - from_config, of a class
    tensors = load_file(file)
    if {name: tensor.shape for name, tensor in network.state_dict().items()} != {
        name: tensor.shape for name, tensor in tensors.items()
    }:
        return None
    network.load_state_dict(tensors, assign=True)
    return network


def exportable(module: torch.nn.Module) -> torch.nn.Module:
    """Let mixtures of experts multiply in batches: exporters can't express the default product of groups."""
    for part in module.modules():
        if isinstance(part, transformers.PreTrainedModel):
            with suppress(AttributeError, ValueError):  # transformers 4, or a model with its own
                part.set_experts_implementation("batched_mm")
    return module


def read_inputs(workload: Workload, dtype: Dtype = "fp32") -> tuple[torch.Tensor, ...]:
    """Load the workload's inputs in the module's order, on its device, real numbers in `dtype`."""
    assert workload.reference is not None  # noqa: S101 - not simulated
    stored = load_file(workload.reference / "inputs.safetensors", device=workload.torch_device)
    inputs = (stored[name] for name in workload.input_names)
    return tuple(
        tensor.to(numerics.TYPES[dtype]) if tensor.is_floating_point() else tensor for tensor in inputs
    )


def device_session(
    compiled: Callable[..., Any], inputs: tuple[torch.Tensor, ...], device: str, arithmetic: Arithmetic
) -> Session:
    """Session of a compiled module on a device that computes asynchronously, after a first call.

    Timed: copy the inputs to the device, run, copy the answers back; that copy waits for the device.

    Raises:
        Fallback: an answer was computed elsewhere.
    """

    def run_on_device(tensors: Iterable[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():  # a switch of the process would be one of this thread alone
            answers = compiled(*(tensor.to(device) for tensor in tensors))
        return answers if isinstance(answers, tuple) else (answers,)

    def call(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(answer.cpu() for answer in run_on_device(tensors))

    kind = torch.device(device).type
    if elsewhere := {one.device.type for one in run_on_device(inputs)} - {kind}:
        raise Fallback(f"answers lie on {', '.join(sorted(elsewhere))}, not on {kind}")
    return Session(run=lambda: call(*inputs), call=call, inputs=inputs, arithmetic=arithmetic)


def inference_session(
    model: Callable[..., Sequence[torch.Tensor]], inputs: tuple[torch.Tensor, ...], arithmetic: Arithmetic
) -> Session:
    """Return a session that calls `model` under inference mode."""

    def call(*tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        with torch.inference_mode():
            return model(*tensors)

    return Session(run=lambda: call(*inputs), call=call, arithmetic=arithmetic, inputs=inputs)


def reference_session(
    module: Callable[..., Sequence[torch.Tensor]], inputs: tuple[torch.Tensor, ...], threads: int | None
) -> Session:
    """Return a session of the eager fp32 model, whose products are exact ones."""
    if threads:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    exact = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")
    return inference_session(module, inputs, exact)

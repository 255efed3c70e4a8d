"""Text to image by a pipeline of diffusers, whose networks are the parts: text encoders, denoiser, VAE.

The pipeline runs its usual steps, guidance and schedule. In place of its networks it has stand-ins that call
the compiled ones. Imported by children only.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
import transformers
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKLOutput
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from benchmark.errors import ConfigError, Incompatible
from benchmark.models import networks
from benchmark.models.composite import CompositeModel, Network, Tensors
from benchmark.models.networks import Positional
from benchmark.models.pipelines import NETWORKS
from benchmark.records import Model, Shape

REFINED = 0.8
"""Share of the steps before the refiner starts, as the documentation of SDXL advises."""
_INDEX = "model_index.json"
_TEXTS = {"": "prompt", "negative_": ""}
"""Texts in place of the tokens of the inputs, by the sign of their names."""
_COMPARED_STEPS = 2
"""Steps that are compared with the pipeline's own: one of each denoiser."""
_FROM_NOISE = 0.01
"""Share of the steps before a refiner that makes all of them; diffusers takes no 0."""
_TOLERANCE = 1e-3
"""Most relative error of the image, against that of the pipeline's own call."""


def write_weights(model: Model, task: str, seed: int, folder: Path) -> Mapping[str, Any]:
    """Save the networks of an architecture with random weights by the seed, a sub-folder each.

    Raises:
        ConfigError: the YAML states another number of parameters.
    """
    count = 0
    for name, described in model.architecture.items():
        if name not in {*NETWORKS, "scheduler"}:
            continue
        torch.manual_seed(seed)
        made = _made(described)
        if isinstance(made, torch.nn.Module):
            count += sum(parameter.numel() for parameter in made.parameters())
            networks.spread_weights(made, seed)
        made.save_pretrained(folder / name)
    networks.check_parameters(model, task, count)
    index = json.dumps({"_class_name": model.architecture["pipeline"]})
    (folder / _INDEX).write_text(index, encoding="utf-8")
    return {"parameters": count}


def parameters(model: Model) -> int:
    """Parameters of all networks of an architecture."""
    made = (_made(model.architecture[name]) for name in NETWORKS if name in model.architecture)
    return sum(parameter.numel() for network in made for parameter in network.parameters())


def check_folder(model: Model, task: str, folder: Path) -> Mapping[str, Any]:
    """Check that a local folder holds the pipeline of the YAML: its class, its networks, fields and tensors.

    Raises:
        ConfigError: it holds another one, or tensors are missing or left over.
    """
    stated, names = model.architecture["pipeline"], [name for name in NETWORKS if name in model.architecture]
    kind = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["_class_name"]
    absent = [name for name in names if not (folder / name / "config.json").is_file()]
    reasons = [f"a {kind} is no {stated}"] if kind != stated else []
    reasons += [f"it lacks {', '.join(absent)}"] if absent else []
    reasons = reasons or [
        f"{name}: {reason}"
        for name in names
        for reason in _differences(model.architecture[name], folder / name)
    ]
    if reasons:
        raise ConfigError(
            f"weights={folder}: not those of model={model.name}: {reasons[0]}: choose another model or "
            f"folder, or correct {model.file or 'its YAML'}"
        )
    count = sum(_checked(model, name, folder / name) for name in names)
    networks.check_parameters(model, task, count)
    return {"parameters": count}


def _differences(described: Mapping[str, Any], folder: Path) -> list[str]:
    """Fields of a network that its folder has otherwise than the YAML."""
    theirs = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    of_diffusers = "model_type" not in described
    names = {name: "_class_name" if name == "class" and of_diffusers else name for name in described}
    return [
        f"{name} is {theirs[key]}, the YAML's {described[name]}"
        for name, key in names.items()
        if key in theirs and theirs[key] != described[name]
    ]


def _checked(model: Model, name: str, folder: Path) -> int:
    """Parameters of one network in a folder, once it is loaded.

    Raises:
        ConfigError: tensors are missing, left over, or of another shape.
    """
    described = model.architecture[name]
    library = transformers if "model_type" in described else diffusers
    with networks.refused(f"weights={folder}: can't be read as the {name} of model={model.name}"):
        network, loaded = getattr(library, described["class"]).from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    for what, keys in (("lacks", "missing_keys"), ("has more than the model:", "unexpected_keys")):
        if found := loaded[keys]:
            raise ConfigError(
                f"weights={folder}: not the {name} of model={model.name}: it {what} {networks.few(found)}"
            )
    return sum(parameter.numel() for parameter in network.parameters())


def write_pretrained(model: Model, folder: Path) -> Mapping[str, Any]:
    """Save the published pipeline, and the refiner where the architecture has one.

    Raises:
        Unavailable: the hub can't be reached, and its cache on this host lacks a model.
    """
    revision = model.revision or "main"
    kind = getattr(diffusers, model.architecture["pipeline"])
    try:
        pipeline = kind.from_pretrained(model.hub_id, revision=revision)
        pipeline.save_pretrained(folder)
        if refiner := model.architecture.get("refiner"):
            unet = diffusers.UNet2DConditionModel.from_pretrained(refiner["hub_id"], subfolder="unet")
            unet.save_pretrained(folder / "refiner")
    except OSError as error:
        raise networks.not_published_here(model) from error
    parts = (value for value in pipeline.components.values() if isinstance(value, torch.nn.Module))
    return {"parameters": sum(parameter.numel() for part in parts for parameter in part.parameters())}


def _made(described: Mapping[str, Any]) -> Any:
    """Network or scheduler, made from its class and configuration."""
    fields = {
        name: value for name, value in described.items() if name not in {"class", "model_type", "hub_id"}
    }
    if "model_type" not in described:
        return getattr(diffusers, described["class"]).from_config(fields)
    config = transformers.AutoConfig.for_model(described["model_type"], **fields)
    return getattr(transformers, described["class"])(config).eval()


class Diffusion(CompositeModel):
    """One call denoises the latents of a batch in `steps` steps and decodes them."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self._folder, self._shape = folder, shape
        self._kind = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["_class_name"]
        self.parts = {
            name: partial(getattr(self, f"_{kind}"), name)
            for name, kind in (
                ("text_encoder", "text"),
                ("text_encoder_2", "text"),
                ("unet", "denoiser"),
                ("transformer", "denoiser"),
                ("refiner", "denoiser"),
            )
            if (folder / name).is_dir()
        }
        self.parts["vae_decoder"] = partial(self._half_of_vae, "decoder")
        if "Inpaint" in self._kind:
            self.parts["vae_encoder"] = partial(self._half_of_vae, "encoder")

    def run(self, parts: Mapping[str, Network], inputs: Tensors, on_token: Callable[[], None]) -> Tensors:  # noqa: ARG002
        """Encode, denoise, decode."""
        return self._run(parts, inputs, self._shape.steps)

    def _run(self, parts: Mapping[str, Network], inputs: Tensors, count: int | None) -> Tensors:
        pipeline = self._pipeline
        for stand_in in self._stand_ins.values():
            stand_in.parts, stand_in.device = parts, inputs["latents"].device
        steps = {"num_inference_steps": count, "output_type": "latent"}
        prompt, given = self._prompt(parts, inputs), self._given(inputs)
        if "PixArt" in self._kind:
            given["negative_prompt"] = None
        if self._refiner is None:
            latents = pipeline(**prompt, **given, **steps).images
        else:
            latents = pipeline(**prompt, **given, **steps, denoising_end=REFINED).images
            latents = self._refiner(
                **self._prompt_of_refiner(prompt), image=latents, **steps, denoising_start=REFINED
            ).images
        (image,) = parts["vae_decoder"](latents / pipeline.vae.config.scaling_factor)
        return {"latents": latents, "image": image}

    def run_reference(
        self,
        parts: Mapping[str, Network],
        modules: Mapping[str, Positional],
        inputs: Tensors,
        *,
        drawn_tokens: bool = False,
    ) -> Tensors:
        """Make the call, and calls of parts alone; compare with the pipeline's own call once.

        Raises:
            Incompatible: diffusers' own pipeline draws another image with these networks.
        """
        steps = min(self._shape.steps or 1, _COMPARED_STEPS)
        answers = self.run(parts, inputs, lambda: None)
        if not drawn_tokens:
            image = self._run(modules, inputs, steps)["image"]
            theirs = self._library_image(modules, inputs, steps)
            error = float((image - theirs).norm() / (theirs - theirs.mean()).norm())
            if not error <= _TOLERANCE:  # also true for NaN
                raise Incompatible(
                    f"the networks of this pipeline, run one by one, draw another image than diffusers' own "
                    f"{self._kind}: an error of {error:.2%} ({_TOLERANCE:.1%} is rounding): "
                    "choose another model"
                )
        return self._with_parts_alone(modules, inputs, answers)

    def run_teacher_forced(
        self, parts: Mapping[str, Network], inputs: Tensors, forced_tokens: Tensors
    ) -> Tensors:
        """Make the same calls: nothing is chosen."""
        del forced_tokens
        return self._with_parts_alone(parts, inputs, self.run(parts, inputs, lambda: None))

    def _library_image(self, modules: Mapping[str, Positional], inputs: Tensors, count: int) -> torch.Tensor:
        """Image that diffusers' own pipeline draws with the networks themselves, from tokens to pixels."""
        kind, tokens = getattr(diffusers, self._kind), _Tokens(inputs)
        own = {name: modules[name].model for name in NETWORKS if name in modules and name != "refiner"}
        own |= {name: tokens for name in ("tokenizer", "tokenizer_2") if name in _arguments(kind)}
        own["vae"] = _load(diffusers.AutoencoderKL, self._folder / "vae")
        if "safety_checker" in _arguments(kind):
            own |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = _quiet(kind(**own, scheduler=self._scheduler()))
        texts = {sign: [text] * self._shape.batch_size for sign, text in _TEXTS.items()}
        prompt = {f"{sign}prompt": text for sign, text in texts.items()}
        steps: dict[str, Any] = {"num_inference_steps": count, "output_type": "pt"}
        given = self._given(inputs) | ({"clean_caption": False} if "PixArt" in self._kind else {})
        if "refiner" in modules:
            noisy = {"output_type": "latent", "denoising_end": REFINED}
            latents = pipeline(**prompt, **given, **{**steps, **noisy}).images
            pipeline = self._refiner_of(modules["refiner"].model, {**own, "tokenizer_2": tokens})
            given = {"image": latents, "denoising_start": REFINED}
        pipeline.image_processor.postprocess = lambda image, **_: image  # pixels as they are, not cut off
        return pipeline(**prompt, **given, **steps).images

    def _given(self, inputs: Tensors) -> dict[str, Any]:
        """What the pipeline gets besides the prompt."""
        given: dict[str, Any] = {"height": self._shape.image_size, "width": self._shape.image_size}
        given["latents"] = inputs["latents"]
        if "Inpaint" in self._kind:
            given |= {"image": inputs["image"], "mask_image": inputs["mask"], "strength": 1.0}
            given["generator"] = torch.Generator().manual_seed(0)  # the VAE's encoder draws a sample
        elif "PixArt" in self._kind:
            given["use_resolution_binning"] = False
        return given

    def _with_parts_alone(self, parts: Mapping[str, Network], inputs: Tensors, answers: Tensors) -> Tensors:
        """Add answers of parts that hardly show in the image, to plain inputs.

        Random denoisers leave latents so large that they hide what the VAE adds, and a refiner ends a call
        with small steps.
        """
        (image,) = parts["vae_decoder"](inputs["latents"])
        alone = {"image_of_noise": image}
        if "vae_encoder" in parts:
            (alone["moments"],) = parts["vae_encoder"](inputs["image"])
        if self._refiner is not None:
            for stand_in in self._stand_ins.values():
                stand_in.parts = parts
            alone["refined_noise"] = self._refiner(
                **self._prompt_of_refiner(self._prompt(parts, inputs)),
                image=inputs["latents"],
                denoising_start=_FROM_NOISE,
                num_inference_steps=_COMPARED_STEPS,
                output_type="latent",
            ).images
        return {**answers, **alone}

    def save_image(self, answers: Tensors, file: Path) -> bool:
        """Save the first image of the batch."""
        from PIL import Image

        pixels = (answers["image"][0].float().cpu() / 2 + 0.5).clamp(0, 1) * 255
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.round().to(torch.uint8).permute(1, 2, 0).numpy()).save(file)
        return True

    def _prompt(self, parts: Mapping[str, Network], inputs: Tensors) -> dict[str, Any]:
        """Embeddings of the prompt and of the empty one, under the pipeline's names."""
        embedded: dict[str, Any] = {}
        for sign, ids in (("", inputs["input_ids"]), ("negative_", inputs["negative_input_ids"])):
            if "PixArt" in self._kind:
                mask = inputs[f"{sign}attention_mask"]
                (embedded[f"{sign}prompt_embeds"],) = parts["text_encoder"](ids, mask)
                embedded[f"{sign}prompt_attention_mask"] = mask
                continue
            embeds = [parts["text_encoder"](ids)[0]]
            if "text_encoder_2" in parts:
                second, embedded[f"{sign}pooled_prompt_embeds"] = parts["text_encoder_2"](ids)
                embeds.append(second)
            embedded[f"{sign}prompt_embeds"] = torch.cat(embeds, dim=-1)
        return embedded

    def _prompt_of_refiner(self, prompt: Mapping[str, Any]) -> dict[str, Any]:
        """The refiner reads the embeddings of the second text encoder only."""
        width = self._stand_ins["text_encoder_2"].config.hidden_size
        return {
            name: value if "pooled" in name else value[..., -width:].contiguous()
            for name, value in prompt.items()
        }

    @cached_property
    def _stand_ins(self) -> dict[str, _StandIn]:
        names = [name for name in (*NETWORKS,) if (self._folder / name).is_dir()]
        return {name: _StandIn(name, self._folder / name) for name in names}

    @cached_property
    def _pipeline(self) -> Any:
        stand_ins, kind = dict(self._stand_ins), getattr(diffusers, self._kind)
        stand_ins.pop("refiner", None)
        nothing: dict[str, Any] = {
            name: None for name in ("tokenizer", "tokenizer_2") if name in _arguments(kind)
        }
        if "safety_checker" in _arguments(kind):
            nothing |= {"safety_checker": None, "feature_extractor": None}
            nothing["requires_safety_checker"] = False
        return _quiet(kind(**stand_ins, **nothing, scheduler=self._scheduler()))

    @cached_property
    def _refiner(self) -> Any:
        if "refiner" not in self._stand_ins:
            return None
        return self._refiner_of(self._stand_ins["refiner"], {**self._stand_ins, "tokenizer_2": None})

    def _refiner_of(self, unet: Any, others: Mapping[str, Any]) -> Any:
        """The refiner's pipeline; it shares these networks with the base's."""
        return _quiet(
            diffusers.StableDiffusionXLImg2ImgPipeline(
                **{name: others[name] for name in ("vae", "text_encoder_2", "tokenizer_2")},
                unet=unet,
                text_encoder=None,
                tokenizer=None,
                scheduler=self._scheduler(),
                requires_aesthetics_score=True,
            )
        )

    def _scheduler(self) -> Any:
        file = self._folder / "scheduler" / "scheduler_config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        return getattr(diffusers, config["_class_name"]).from_config(config)

    def _text(self, name: str) -> Positional:
        config = transformers.AutoConfig.from_pretrained(self._folder / name, trust_remote_code=False)
        network = _load(getattr(transformers, config.architectures[0]), self._folder / name)
        if "PixArt" in self._kind:
            return Positional(network, ("input_ids", "attention_mask"), ("last_hidden_state",)).eval()  # type: ignore[no-any-return]
        return _Text(network, last="XL" not in self._kind).eval()  # type: ignore[no-any-return]

    def _denoiser(self, name: str) -> Positional:
        network = _load(_kind_of(self._folder / name), self._folder / name)
        return _Denoiser(network, _inputs_of(name, network.config)).eval()  # type: ignore[no-any-return]

    def _half_of_vae(self, half: str) -> Positional:
        return _HalfOfVae(_load(diffusers.AutoencoderKL, self._folder / "vae"), half).eval()  # type: ignore[no-any-return]


def _kind_of(folder: Path) -> Any:
    return getattr(diffusers, json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"])


def _load(kind: Any, folder: Path) -> Any:
    """Load a network in fp32, its weights memory-mapped."""
    named = (
        {"dtype": torch.float32}
        if kind.__module__.startswith("transformers")
        else {"torch_dtype": torch.float32}
    )
    return kind.from_pretrained(folder, local_files_only=True, **named).eval()


def _arguments(kind: Any) -> Mapping[str, Any]:
    return inspect.signature(kind.__init__).parameters


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class _Text(Positional):
    """CLIP: the last hidden states; for SDXL those of the last layer but one, and the text's embedding."""

    def __init__(self, network: torch.nn.Module, *, last: bool) -> None:
        super().__init__(network, ("input_ids",), ())
        self.last = last

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what the pipeline reads of the text."""
        outputs = self.model(input_ids=tensors[0], output_hidden_states=not self.last)
        if self.last:
            return (outputs.last_hidden_state,)
        pooled = getattr(outputs, "text_embeds", None)
        return (outputs.hidden_states[-2], *(() if pooled is None else (pooled,)))


class _Denoiser(Positional):
    """A U-Net or a transformer: noisy latents, timestep and text in, noise out."""

    def __init__(self, network: torch.nn.Module, input_names: tuple[str, ...]) -> None:
        super().__init__(network, input_names, ())

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the predicted noise."""
        given: dict[str, Any] = dict(zip(self.input_names, tensors, strict=True))
        added: dict[str, Any] = {
            name: given.pop(name) for name in ("text_embeds", "time_ids") if name in given
        }
        if "hidden_states" in given:
            added = {"resolution": None, "aspect_ratio": None}
        return tuple(self.model(**given, added_cond_kwargs=added or None, return_dict=False))


class _HalfOfVae(Positional):
    """The decoder: latents in, pixels of -1 to 1 out. The encoder: pixels in, means and log variances out."""

    def __init__(self, network: torch.nn.Module, half: str) -> None:
        super().__init__(network, ("latents",) if half == "decoder" else ("pixels",), ())
        self.half = half
        setattr(network, "encoder" if half == "decoder" else "decoder", None)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the output of this half."""
        if self.half == "decoder":
            return (self.model.decode(tensors[0], return_dict=False)[0],)
        return (self.model._encode(tensors[0]),)  # noqa: SLF001 - `encode` wraps it in a distribution


class _StandIn(torch.nn.Module):  # type: ignore[misc]
    """Stands for a network in the pipeline: has its configuration, and passes calls to the part."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__()
        self.name = name
        self.parts: Mapping[str, Network] = {}
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.config = FrozenDict(config)
        self.dtype, self.device = torch.float32, torch.device("cpu")
        width = config.get("projection_class_embeddings_input_dim")
        self.add_embedding = SimpleNamespace(linear_1=SimpleNamespace(in_features=width))

    def forward(self, sample: torch.Tensor, *times: torch.Tensor, **given: Any) -> Sequence[torch.Tensor]:
        """Return the answer of the part."""
        names = _inputs_of(self.name, self.config)
        tensors = {names[0]: sample, **dict(zip(names[1:], times, strict=False))}
        tensors |= {**given, **(given.get("added_cond_kwargs") or {})}
        return self.parts[self.name](*(tensors[name] for name in names))

    def encode(self, pixels: torch.Tensor) -> Any:
        """Encode with the VAE: return a distribution of latents."""
        (moments,) = self.parts["vae_encoder"](pixels)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments))


class _Tokens:
    """Stands for a tokenizer: returns the tokens of the inputs."""

    def __init__(self, inputs: Tensors) -> None:
        self._inputs, self.model_max_length = inputs, inputs["input_ids"].shape[1]

    def __call__(self, texts: Sequence[str], **_: Any) -> Any:
        """Return the tokens of the prompt, or of the empty one, and their mask."""
        (sign,) = {sign for sign, text in _TEXTS.items() if texts[0] == text}
        named = {name: self._inputs.get(f"{sign}{name}") for name in ("input_ids", "attention_mask")}
        return SimpleNamespace(**named)

    def tokenize(self, _: str) -> list[str]:
        """Return no words: the pipeline looks for those of textual inversion."""
        return []


def _inputs_of(name: str, config: Any) -> tuple[str, ...]:
    """Names of a denoiser's inputs, in order."""
    if name == "transformer":
        return ("hidden_states", "encoder_hidden_states", "encoder_attention_mask", "timestep")
    added = ("text_embeds", "time_ids") if config.get("addition_embed_type") == "text_time" else ()
    return ("sample", "timestep", "encoder_hidden_states", *added)

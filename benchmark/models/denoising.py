"""The networks of a diffusion pipeline: as compilers take them, and as the pipeline takes what was compiled.

Imported by children only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKLOutput
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from benchmark.models.composite import Network
from benchmark.models.networks import Positional


class Text(Positional):
    """CLIP: the last layer's states; for SDXL those of the last but one, and what it makes of the whole."""

    def __init__(self, network: torch.nn.Module, *, last: bool) -> None:
        super().__init__(network, ("input_ids",), ())
        self.last = last

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the pipeline reads of the text."""
        outputs = self.model(input_ids=tensors[0], output_hidden_states=not self.last)
        if self.last:
            return (outputs.last_hidden_state,)
        pooled = getattr(outputs, "text_embeds", None)
        return (outputs.hidden_states[-2], *(() if pooled is None else (pooled,)))


class Denoiser(Positional):
    """A U-Net or a transformer: noisy latents, time and text in, noise out."""

    def __init__(self, network: torch.nn.Module, input_names: tuple[str, ...]) -> None:
        super().__init__(network, input_names, ())

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The noise in the latents."""
        given: dict[str, Any] = dict(zip(self.input_names, tensors, strict=True))
        added: dict[str, Any] = {
            name: given.pop(name) for name in ("text_embeds", "time_ids") if name in given
        }
        if "hidden_states" in given:
            added = {"resolution": None, "aspect_ratio": None}
        return tuple(self.model(**given, added_cond_kwargs=added or None, return_dict=False))


class HalfOfVae(Positional):
    """The decoder: latents in, pixels in -1…1 out. The encoder: pixels in, means and log variances out."""

    def __init__(self, network: torch.nn.Module, half: str) -> None:
        super().__init__(network, ("latents",) if half == "decoder" else ("pixels",), ())
        self.half = half
        setattr(network, "encoder" if half == "decoder" else "decoder", None)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What this half makes of its input."""
        if self.half == "decoder":
            return (self.model.decode(tensors[0], return_dict=False)[0],)
        return (self.model._encode(tensors[0]),)  # noqa: SLF001 - `encode` wraps it in a distribution


class StandIn(torch.nn.Module):  # type: ignore[misc]
    """What a pipeline takes for a network: its configuration, and calls that go to the part."""

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
        """What the part answers."""
        names = inputs_of(self.name, self.config)
        tensors = {names[0]: sample, **dict(zip(names[1:], times, strict=False))}
        tensors |= {**given, **(given.get("added_cond_kwargs") or {})}
        return self.parts[self.name](*(tensors[name] for name in names))

    def encode(self, pixels: torch.Tensor) -> Any:
        """Of the VAE: a distribution of latents."""
        (moments,) = self.parts["vae_encoder"](pixels)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments))


def inputs_of(name: str, config: Any) -> tuple[str, ...]:
    """Names of a denoiser's tensors, in order."""
    if name == "transformer":
        return ("hidden_states", "encoder_hidden_states", "encoder_attention_mask", "timestep")
    added = ("text_embeds", "time_ids") if config.get("addition_embed_type") == "text_time" else ()
    return ("sample", "timestep", "encoder_hidden_states", *added)

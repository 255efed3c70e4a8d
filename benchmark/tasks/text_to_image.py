"""Text to image: a prompt and noise in, an image out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.models import pipelines, real_inputs
from benchmark.records import Model, Shape, Unit, frozen
from benchmark.training_records import Objective


@frozen
class TextToImage:
    """A pipeline of diffusers. One call makes a batch of images in `steps` denoising steps."""

    name: ClassVar[str] = "text-to-image"
    axes: ClassVar[tuple[str, ...]] = ("image_size", "steps")
    unit: ClassVar[Unit] = "images"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "diffusers", "safetensors")
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.diffusion",)
    objective: ClassVar[Objective | None] = None

    def axes_of(self, model: Model) -> tuple[str, ...]:  # noqa: ARG002 - the same for every model
        """Image size and steps."""
        return self.axes

    def unit_of(self, model: Model) -> Unit:  # noqa: ARG002 - the same for every model
        """Images."""
        return self.unit

    def parts_of(self, model: Model) -> tuple[str, ...]:
        """The networks of its pipeline."""
        return pipelines.part_names(model.architecture)

    def shares_of(self, model: Model) -> Mapping[str, float]:
        """None is known before the networks are made."""
        del model
        return {}

    def refuse(self, model: Model, shape: Shape) -> str | None:
        """Refuse names that diffusers lacks, and sizes that aren't a multiple of a latent's."""
        if reason := pipelines.refuse(model.architecture):
            return reason
        if shape.image_size is None:
            return "its YAML states no image_size: give image_size=N"
        if shape.image_size % (step := 2 * _pixels(model)):
            return f"image_size={shape.image_size}: should be a multiple of {step}"
        return None

    def make_weights(self, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
        """Save random weights of every network by the seed, or the published ones; check a local folder."""
        from benchmark.models import diffusion

        if weights == "pretrained":
            return diffusion.write_pretrained(model, folder)
        if weights != "random":
            return diffusion.check_folder(model, "text_to_image", Path(weights))
        return diffusion.write_weights(model, "text_to_image", seed, folder)

    def module(self, folder: Path, shape: Shape) -> Any:
        """Load the pipeline; its networks are loaded one by one, when they are needed."""
        from benchmark.models import diffusion

        return diffusion.Diffusion(folder, shape)

    def inputs(self, model: Model, shape: Shape, seed: int, real: Path | None = None) -> Mapping[str, Any]:
        """Random tokens, an empty negative prompt and noise; for inpainting also an image and a mask."""
        import torch

        if real is not None:
            raise real_inputs.refuse(model, "tokenised prompt")
        assert shape.image_size is not None  # noqa: S101 - cells of this task have one
        text, generator = model.architecture["text_encoder"], torch.Generator().manual_seed(seed)
        tokens = (
            shape.batch_size,
            int(model.architecture.get("max_tokens", text.get("max_position_embeddings", 77))),
        )
        end = int(text["vocab_size"]) - 1
        edge = shape.image_size // _pixels(model)
        latents = (shape.batch_size, int(model.architecture["vae"]["latent_channels"]), edge, edge)
        inputs = {
            "input_ids": torch.randint(5, end, tokens, generator=generator),
            "negative_input_ids": torch.full(tokens, end),
            "latents": torch.randn(latents, generator=generator),
        }
        inputs["input_ids"][:, -1] = end  # CLIP reads the embedding of the whole text there
        if "PixArt" in model.architecture["pipeline"]:
            inputs |= {
                f"{sign}attention_mask": torch.ones(tokens, dtype=torch.int64) for sign in ("", "negative_")
            }
        if "Inpaint" in model.architecture["pipeline"]:
            pixels = (shape.batch_size, 3, shape.image_size, shape.image_size)
            half = torch.zeros((shape.batch_size, 1, *pixels[2:]))
            half[..., : shape.image_size // 2] = 1.0
            inputs |= {"image": torch.rand(pixels, generator=generator) * 2 - 1, "mask": half}
        return inputs


def _pixels(model: Model) -> int:
    """Pixels along the edge of a latent."""
    return 1 << (len(model.architecture["vae"]["block_out_channels"]) - 1)

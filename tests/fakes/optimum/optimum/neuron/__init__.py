"""A stand-in for optimum-neuron's classes: what `main_export` traced, called by named inputs on the CPU.

As the real package does on a host without a device, importing it sets NEURON_PLATFORM_TARGET_OVERRIDE and
warns; and a call pads its inputs to the compiled sizes, and copies the answers free of padding.
"""

from __future__ import annotations

import json
import os
import types
import warnings
from pathlib import Path

if os.environ.setdefault("NEURON_PLATFORM_TARGET_OVERRIDE", "trn1") == "trn1":
    warnings.warn("It seems this is running on a CPU-only machine", stacklevel=2)


class _Traced:
    padded: tuple[int, ...] = (0,)
    """Dimensions of the answers that padding is taken from."""
    outputs: tuple[str, ...] = ("logits",)

    def __init__(self, model, config):
        self.model, self.config = model, config
        self.input_static_shapes = {name: tuple(shape) for name, shape in config["neuron"]["shapes"].items()}

    @classmethod
    def from_pretrained(  # noqa: PLR0913, PLR0917 - the real signature
        cls,
        model_id,
        config=None,
        export=False,
        subfolder="",
        revision="main",
        force_download=False,
        local_files_only=False,
        trust_remote_code=False,
        cache_dir=None,
        token=None,
    ):
        """Load what was exported."""
        import torch

        del config, subfolder, revision, force_download, local_files_only, trust_remote_code, cache_dir, token
        if export:
            raise NotImplementedError("this stand-in exports by main_export")
        folder = Path(model_id)
        (file,) = folder.glob("*.neuron")
        message = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(torch.jit.load(str(file)), message)

    def _forward(self, **inputs):
        import torch

        sizes = next(iter(inputs.values())).shape
        padded = [self._pad(name, tensor) for name, tensor in inputs.items()]
        answers = self.model(*padded)[: len(self.outputs)]
        _count(recorded=any(answer.requires_grad for answer in answers))
        for dimension in self.padded:
            index = torch.arange(sizes[dimension])
            answers = [torch.index_select(answer, dimension, index) for answer in answers]
        return types.SimpleNamespace(**dict(zip(self.outputs, answers, strict=True)))

    def _pad(self, name, tensor):
        import torch

        wanted = self.input_static_shapes[name]
        by = [want - have for want, have in zip(wanted, tensor.shape, strict=True)]
        if min(by) < 0:
            raise ValueError(f"Unable to pad {name} with shape: {tensor.shape}")
        return torch.nn.functional.pad(tensor, [size for more in reversed(by) for size in (0, more)])


def _count(*, recorded):
    """Leave a line for a call, and whether it recorded gradients.

    `load_model` puts every network on the first core that is visible.
    """
    if file := os.environ.get("FAKE_NEURON_CALLS"):
        core = int(os.environ["NEURON_RT_VISIBLE_CORES"].partition("-")[0])
        with Path(file).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"core": core, "pid": os.getpid(), "recorded": recorded}) + "\n")


class _Text(_Traced):
    def __call__(self, input_ids, attention_mask, token_type_ids=None, **_):
        """Answer; the real class, too, ignores names that it doesn't know."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self._forward(
            **inputs, **({} if token_type_ids is None else {"token_type_ids": token_type_ids})
        )


class NeuronModelForSequenceClassification(_Text):
    """Logits of (batch, labels)."""


class NeuronModelForFeatureExtraction(_Text):
    """Hidden states of (batch, sequence_length, width)."""

    padded = (0, 1)
    outputs = ("last_hidden_state",)


class NeuronModelForImageClassification(_Traced):
    """Logits of (batch, labels)."""

    def __call__(self, pixel_values, **_):
        """Answer."""
        return self._forward(pixel_values=pixel_values)

"""VGG and U-Net, which transformers doesn't have, as models of its kind: Auto classes then find them.

Layouts: VGG as torchvision 0.15 has `vgg11` and `vgg16` (Simonyan and Zisserman 2014, configurations A, D);
U-Net as github.com/milesial/Pytorch-UNet has it at version 4.0 (2022), which AWS Neuron's samples measure.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSemanticSegmentation,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import ImageClassifierOutput, SemanticSegmenterOutput

try:
    from transformers import initialization as init
except ImportError:  # before 5 it asks for the weights that are missing, of no others
    from torch.nn import init


class VggConfig(PretrainedConfig):  # type: ignore[misc]
    """Of a plain stack of 3x3 convolutions."""

    model_type = "vgg"
    num_channels: int = 3
    stages: list[list[int]] | None = None
    """Widths of the convolutions, each stage ending in a pooling that halves the picture."""
    pooled_size: int = 7
    hidden_size: int = 4096


class UnetConfig(PretrainedConfig):  # type: ignore[misc]
    """Of a U-Net with transposed convolutions on its way up."""

    model_type = "unet"
    num_channels: int = 3
    widths: list[int] | None = None
    """Channels at each depth, from the picture's own size down."""


class VggForImageClassification(PreTrainedModel):  # type: ignore[misc]
    """Convolutions, pooling to a fixed size, three linear layers."""

    config_class = VggConfig
    base_model_prefix = "vgg"
    main_input_name = "pixel_values"

    def __init__(self, config: VggConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        channels = config.num_channels
        for widths in config.stages or ():
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(config.pooled_size)
        hidden = config.hidden_size
        self.classifier = nn.Sequential(
            nn.Linear(channels * config.pooled_size**2, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, config.num_labels),
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, 0, 0.01)
            init.zeros_(module.bias)

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> ImageClassifierOutput:
        """Return logits of (batch, labels)."""
        pooled = self.avgpool(self.features(pixel_values))
        return ImageClassifierOutput(logits=self.classifier(torch.flatten(pooled, 1)))


class _DoubleConv(nn.Sequential):  # type: ignore[misc]
    """Twice a 3x3 convolution, normalised."""

    def __init__(self, channels: int, width: int) -> None:
        layers: list[nn.Module] = []
        for taken in (channels, width):
            layers.append(nn.Conv2d(taken, width, 3, padding=1, bias=False))
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class _Up(nn.Module):  # type: ignore[misc]
    """Twice the size at half the channels, joined with what the way down had at that size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.conv = _DoubleConv(channels, channels // 2)

    def forward(self, deep: torch.Tensor, passed: torch.Tensor) -> torch.Tensor:
        """Pad where a size was odd on the way down."""
        deep = self.up(deep)
        down, right = (passed.size(axis) - deep.size(axis) for axis in (2, 3))
        deep = nn.functional.pad(deep, [right // 2, right - right // 2, down // 2, down - down // 2])
        return self.conv(torch.cat([passed, deep], dim=1))


class UnetForSemanticSegmentation(PreTrainedModel):  # type: ignore[misc]
    """Down through convolutions and poolings, up again, and a row of logits a pixel."""

    config_class = UnetConfig
    base_model_prefix = "unet"
    main_input_name = "pixel_values"

    def __init__(self, config: UnetConfig) -> None:
        super().__init__(config)
        widths = config.widths or []
        self.inc = _DoubleConv(config.num_channels, widths[0])
        steps = pairwise(widths)
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), _DoubleConv(*step)) for step in steps)
        self.up = nn.ModuleList(_Up(width) for width in reversed(widths[1:]))
        self.outc = nn.Conv2d(widths[0], config.num_labels, 1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)
            init.zeros_(module.num_batches_tracked)

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> SemanticSegmenterOutput:
        """Return logits of (batch, labels, height, width)."""
        passed = [self.inc(pixel_values)]
        for down in self.down:
            passed.append(down(passed[-1]))
        deep = passed.pop()
        for up in self.up:
            deep = up(deep, passed.pop())
        return SemanticSegmenterOutput(logits=self.outc(deep))


@cache
def register() -> None:
    """Let transformers' Auto classes find both."""
    AutoConfig.register(VggConfig.model_type, VggConfig)
    AutoConfig.register(UnetConfig.model_type, UnetConfig)
    AutoModelForImageClassification.register(VggConfig, VggForImageClassification)
    AutoModelForSemanticSegmentation.register(UnetConfig, UnetForSemanticSegmentation)

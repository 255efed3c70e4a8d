"""VGG and U-Net, which transformers lacks, as transformers models that its Auto classes find.

VGG is laid out as `vgg11` and `vgg16` of torchvision 0.15 (Simonyan and Zisserman 2014, configurations A, D),
U-Net as version 4.0 of github.com/milesial/Pytorch-UNet (2022), which AWS Neuron's samples measure.
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
except ImportError:  # transformers 4 initialises only the weights that a file lacks
    from torch.nn import init


class VggConfig(PretrainedConfig):  # type: ignore[misc]
    """Configuration of VGG: a stack of 3x3 convolutions."""

    model_type = "vgg"
    num_channels: int = 3
    stages: list[list[int]] | None = None
    """Widths of the convolutions, by stage. Pooling after each stage halves the image."""
    pooled_size: int = 7
    hidden_size: int = 4096


class UnetConfig(PretrainedConfig):  # type: ignore[misc]
    """Configuration of a U-Net with transposed convolutions on the way up."""

    model_type = "unet"
    num_channels: int = 3
    widths: list[int] | None = None
    """Channels at each depth, from the full image size down."""


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
    """Two 3x3 convolutions, each with batch normalisation."""

    def __init__(self, channels: int, width: int) -> None:
        layers: list[nn.Module] = []
        for taken in (channels, width):
            layers.append(nn.Conv2d(taken, width, 3, padding=1, bias=False))
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class _Up(nn.Module):  # type: ignore[misc]
    """Doubles the size, halves the channels, and joins the features of the way down at that size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.conv = _DoubleConv(channels, channels // 2)

    def forward(self, deep: torch.Tensor, passed: torch.Tensor) -> torch.Tensor:
        """Upsample and join; pad where a size was odd on the way down."""
        deep = self.up(deep)
        down, right = (passed.size(axis) - deep.size(axis) for axis in (2, 3))
        deep = nn.functional.pad(deep, [right // 2, right - right // 2, down // 2, down - down // 2])
        return self.conv(torch.cat([passed, deep], dim=1))


class UnetForSemanticSegmentation(PreTrainedModel):  # type: ignore[misc]
    """Down through convolutions and pooling, up again, and one row of logits per pixel."""

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
    """Register both with transformers' Auto classes."""
    AutoConfig.register(VggConfig.model_type, VggConfig)
    AutoConfig.register(UnetConfig.model_type, UnetConfig)
    AutoModelForImageClassification.register(VggConfig, VggForImageClassification)
    AutoModelForSemanticSegmentation.register(UnetConfig, UnetForSemanticSegmentation)

"""Weights in a GGUF file, converted to a folder as `save_pretrained` writes it. Imported by children only.

The numbers are dequantised: the fp32 reference is what the file holds, not the model that it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmark.models import networks
from benchmark.records import Model


def write(auto_class: str, model: Model, task: str, file: Path, folder: Path) -> Mapping[str, Any]:
    """Convert the file into `folder`, with its tokenizer, and hold it to the YAML.

    Raises:
        ConfigError: transformers can't read it, or it holds another model than the YAML's.
    """
    with networks.refused(f"weights={file}: transformers can't read it"):
        read = getattr(transformers, auto_class).from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, local_files_only=True
        )
        config = read.config
        if hasattr(config, "quantization_config"):  # it says that the weights are those of a GGUF
            del config.quantization_config
        kind = type(read)
        network = kind._from_config(config)  # noqa: SLF001 - from_config, of a class
        network.load_state_dict(read.state_dict())
        network.save_pretrained(folder)
    with suppress(OSError, ValueError, KeyError, NotImplementedError):  # texts need it, speed doesn't
        transformers.AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True
        ).save_pretrained(folder)
    return networks.check_folder(auto_class, model, task, folder, named=file)

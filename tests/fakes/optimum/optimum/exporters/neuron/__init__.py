"""A stand-in for optimum-neuron's exporter: `main_export` with the signature of 0.4.5, traced for the CPU.

Stricter than the real one in one point: a size that the model doesn't need is a TypeError, where the real one
drops it without a word. The arguments of the compiler end in config.json, under `neuron`, as there.
"""

from __future__ import annotations

import json
from pathlib import Path

AUTO_CLASSES = {
    "feature-extraction": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "image-classification": "AutoModelForImageClassification",
}
INPUTS = {
    "bert": ("input_ids", "attention_mask", "token_type_ids"),
    "distilbert": ("input_ids", "attention_mask"),
    "vit": ("pixel_values",),
}


def main_export(  # noqa: PLR0913, PLR0917 - the real signature
    model_name_or_path,
    output,
    compiler_kwargs,
    torch_dtype=None,
    tensor_parallel_size=1,
    model=None,
    task="auto",
    dynamic_batch_size=False,
    atol=None,
    cache_dir=None,
    disable_neuron_cache=False,
    compiler_workdir=None,
    inline_weights_to_neff=True,
    optlevel="2",
    trust_remote_code=False,
    subfolder="",
    revision="main",
    force_download=False,
    local_files_only=False,
    token=None,
    do_validation=True,
    submodels=None,
    output_attentions=False,
    output_hidden_states=False,
    library_name=None,
    controlnet_ids=None,
    lora_args=None,
    ip_adapter_args=None,
    **input_shapes,
):
    """Write `model.neuron` and config.json into the folder `output`."""
    del torch_dtype, model, atol, cache_dir, trust_remote_code, subfolder, revision, force_download, token
    del submodels, output_attentions, output_hidden_states, controlnet_ids, lora_args, ip_adapter_args
    if set(compiler_kwargs) - {"auto_cast", "auto_cast_type", "instance_type"}:
        raise TypeError(f"export() got unexpected arguments in {sorted(compiler_kwargs)}")
    # As `prepare_compiler_flags` joins them: everything has to be text.
    flags = ["--auto-cast", "none"]
    if compiler_kwargs["auto_cast"] is not None:
        cast = {"matmul": "matmult"}.get(compiler_kwargs["auto_cast"], compiler_kwargs["auto_cast"])
        flags = ["--auto-cast", cast, "--auto-cast-type", compiler_kwargs["auto_cast_type"]]
    flags += ["--optlevel", optlevel]
    if compiler_kwargs["instance_type"] is not None:
        flags += ["--target", compiler_kwargs["instance_type"]]
    message = {
        "compiler_args": " ".join([*flags, "--model-type", "transformer"]),
        "optlevel": optlevel,
        **compiler_kwargs,
        "inline_weights_to_neff": inline_weights_to_neff,
        "dynamic_batch_size": dynamic_batch_size,
        "tensor_parallel_size": tensor_parallel_size,
        "disable_neuron_cache": disable_neuron_cache,
        "do_validation": do_validation,
        "local_files_only": local_files_only,
        "library_name": library_name,
        "task": task,
        "name": str(model_name_or_path),
        "has_compiler_workdir": Path(compiler_workdir).is_dir(),
        **{f"static_{axis}": size for axis, size in input_shapes.items()},
    }
    _trace(model_name_or_path, Path(output), task, input_shapes, message)


def _trace(name, output, task, sizes, message):
    import torch
    import transformers

    network = getattr(transformers, AUTO_CLASSES[task]).from_pretrained(name).eval()
    config = network.config
    names, inputs = INPUTS[config.model_type], {}
    axes = ("batch_size",) if names == ("pixel_values",) else ("batch_size", "sequence_length")
    if set(sizes) - set(axes):
        raise TypeError(f"sizes that {config.model_type} doesn't need: {sorted(set(sizes) - set(axes))}")
    if missing := [axis for axis in axes if axis not in sizes]:
        raise AttributeError(f"Cannot find the value of `{missing[0]}` which is mandatory for exporting")
    for one in names:
        if one == "pixel_values":
            edge = config.image_size
            inputs[one] = torch.rand(sizes["batch_size"], config.num_channels, edge, edge)
        else:
            inputs[one] = torch.ones(sizes["batch_size"], sizes["sequence_length"], dtype=torch.int64)

    class ByName(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, *tensors):
            return self.network(**dict(zip(names, tensors, strict=True))).to_tuple()

    with torch.no_grad():
        traced = torch.jit.trace(ByName(), tuple(inputs.values()), strict=False, check_trace=False)
    torch.jit.save(traced, str(output / "model.neuron"))
    message["shapes"] = {one: list(tensor.shape) for one, tensor in inputs.items()}
    written = {**config.to_dict(), "neuron": message}
    (output / "config.json").write_text(json.dumps(written, default=str), encoding="utf-8")

"""Run by an interpreter that has optimum-neuron 0.4.5: which of our models does its own registry take?

`python tests/neuron/optimum_registry.py` prints one JSON object: what importing it changed in the environment
and warned of, its registry of transformers models with the axes of an export, and for each of our models and
its tasks the inputs of the network that would be compiled, or null. Device libraries are stand-ins.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes" / "optimum_device_libraries"))

import device_libraries

ROOT = Path(__file__).parents[2]
SIZES = {
    "batch_size": 1,
    "text_batch_size": 1,
    "image_batch_size": 1,
    "sequence_length": 16,
    "num_channels": 3,
    "height": 32,
    "width": 32,
}


def registry(manager):
    """Axes of an export by model type and task, as the library has them."""
    return {
        f"{model_type} {task}": list(constructor.func.get_mandatory_axes_for_task(task))
        for model_type, exporters in manager._SUPPORTED_MODEL_TYPE.items()
        for task, constructor in exporters.get("neuron", {}).items()
    }


def inputs(manager, model, task):
    """Names of the network's inputs for one of our models, or None."""
    from optimum.neuron.utils import InputShapesArguments

    from benchmark.models import networks
    from benchmark.records import Model

    fields = ("architecture", "parameters", "hub_id")
    typed = Model(name=model["name"], **{key: model[key] for key in fields if key in model})
    try:
        constructor = manager.get_exporter_config_constructor(
            exporter="neuron",
            model_type=typed.architecture.get("model_type"),
            task=task,
            library_name="transformers",
        )
    except (KeyError, ValueError):
        return None
    axes = constructor.func.get_mandatory_axes_for_task(task)
    shapes = InputShapesArguments(**{axis: SIZES[axis] for axis in axes})
    return list(constructor(networks.configuration(typed), input_shapes=shapes).inputs)


def main():
    """Print what it says."""
    before = dict(os.environ)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        import optimum.neuron
    changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
    device_libraries.install()
    from optimum.exporters.neuron import model_configs  # noqa: F401 - it registers
    from optimum.exporters.tasks import TasksManager
    from optimum.neuron.version import __version__

    del optimum
    models = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "conf" / "model").glob("*.yaml"))]
    ours = {
        f"{model['name']} {task}": inputs(TasksManager, model, task.replace("_", "-"))
        for model in models
        for task in model["parameters"]
    }
    wanted_text = {
        "version": __version__,
        "changed": changed,
        "warned": [str(one.message) for one in warned],
        "registry": registry(TasksManager),
        "ours": ours,
    }
    print(json.dumps(wanted_text))


if __name__ == "__main__":
    main()

"""Import the classes of every small model of conf/model, for the server that tests fork children from."""

from __future__ import annotations

import diffusers
import transformers

from benchmark.models import convnets, networks
from benchmark.records import Model
from tests.plugins import CONF, group, read

TASKS = group("task")

convnets.register()
for path in CONF.glob("model/*_tiny.yaml"):
    model = Model(**{field: value for field, value in read(path).items() if field != "defaults"})
    for task in model.parameters:
        if auto_class := getattr(TASKS[task], "auto_class", None):
            networks.network_class(auto_class, networks.configuration(model))
    for part in model.architecture.values():
        if isinstance(part, dict) and "class" in part:
            getattr(diffusers if hasattr(diffusers, part["class"]) else transformers, part["class"])

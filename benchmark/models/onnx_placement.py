"""Which nodes of a graph ONNX Runtime leaves to the CPU, by a profile of one call."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_CPU: Final = "CPUExecutionProvider"
_SHAPES: Final = frozenset({"int64", "int32", "bool"})
_LARGEST_SHAPE: Final = 64
"""Elements: more than the axes of any tensor."""


def computed_on_cpu(profile: Path) -> list[str]:
    """Operators that ran on the CPU and computed more than shapes.

    Small integers, such as those that a Reshape takes, are computed there on purpose (onnxruntime#17930): it
    costs no copy of an activation.
    """
    events = json.loads(profile.read_text(encoding="utf-8"))
    nodes = [event["args"] for event in events if event.get("name", "").endswith("_kernel_time")]
    left = {node["op_name"] for node in nodes if node.get("provider") == _CPU and not _is_of_shapes(node)}
    return sorted(left)


def _is_of_shapes(node: Mapping[str, Any]) -> bool:
    """Whether all answers of a node are a few integers."""
    answers = [answer for one in node.get("output_type_shape", ()) for answer in one.items()]
    return bool(answers) and all(
        kind in _SHAPES and math.prod(shape) <= _LARGEST_SHAPE for kind, shape in answers
    )

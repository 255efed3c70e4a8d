"""The axes of a cell: what can differ between two cells. Everything that lists axes reads this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Axis(NamedTuple):
    """One axis, by the names that it has in different places."""

    column: str
    """In a stored row."""
    key: str
    """In the configuration; empty for axes that only published figures have."""
    header: str
    """Over a column of a table."""
    mark: str = ""
    """Stands before the value in a label, such as `b` in `b8`; only sizes have one."""
    unit: str = ""
    """Of its values; empty where they have none."""

    @property
    def words(self) -> str:
        """In a sentence."""
        return self.column.replace("_", " ")


AXES: Final = (
    Axis("model", "model", "model"),
    Axis("hardware", "hardware", "hardware"),
    Axis("instance_type", "hardware.instance_type", "instance"),
    Axis("compiler", "compiler", "compiler"),
    Axis("fast_math", "compiler.fast_math", "math"),
    Axis("quantization", "compiler.quantization", "quantization"),
    Axis("batch_size", "batch", "batch", "b", "items"),
    Axis("sequence_length", "seq_len", "seq", "s", "tokens"),
    Axis("input_length", "input_length", "input", "in", "tokens"),
    Axis("output_length", "output_length", "output", "out", "tokens"),
    Axis("image_size", "image_size", "image", "px", "pixels"),
    Axis("steps", "steps", "steps", "steps"),
    Axis("task", "task", "task"),
    Axis("weights", "weights", "weights"),
    Axis("input_source", "inputs", "inputs"),
    Axis("scenario", "scenario", "scenario"),
    Axis("replicas", "scenario.replicas", "replicas"),
    Axis("workers", "scenario.workers", "workers"),
    Axis("threads", "hardware.threads", "threads"),
    Axis("pipeline_cores", "compiler.pipeline_cores", "cores"),
    Axis("tensor_parallel", "", "tp"),
    Axis("data_parallel", "scenario.ranks", "ranks"),
)
"""The order is that of tables and labels. Options of one compiler are no axes: they count in `cell_id`."""

BY_COLUMN: Final[Mapping[str, Axis]] = {axis.column: axis for axis in AXES}
COLUMNS: Final = tuple(BY_COLUMN)
SIZES: Final = tuple(axis.column for axis in AXES if axis.mark)
"""How large a call is."""
GROWING: Final = ("batch_size", "sequence_length")
"""Along these a model needs more memory and more time; cells that differ in nothing else are one family."""
USUAL: Final = ("model", "hardware", "compiler", "fast_math", *GROWING)
"""What tables and labels show of a cell."""


def without(*columns: str) -> tuple[str, ...]:
    """Columns of all axes but these."""
    return tuple(name for name in COLUMNS if name not in columns)


def label(values: Mapping[str, object]) -> str:
    """Values in a few characters, such as `bert cpu eager none b8 s128`; those that are None are left out."""
    return " ".join(f"{BY_COLUMN[name].mark}{value}" for name, value in values.items() if value is not None)

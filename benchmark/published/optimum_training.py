"""Reports of optimum-benchmark's training scenario, whose samples/s are corrected.

By its version 0.6.0. A report has the targets overall, warmup and train; each has the latency of its steps in
seconds. `Throughput.from_latency` (trackers/latency.py) divides the samples of all steps by the mean time of
one, so the rate is too high by the number of steps. Of several processes the rates, each of its own samples,
are averaged instead of summed, and the latencies are put one behind the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

TARGETS: Final = ("train", "overall")
"""Steps after the warm-up, else all of them."""
_OPTIMIZERS: Final = {"adamw": "adamw", "sgd": "sgd"}
_AGREES: Final = 0.01


class Training(NamedTuple):
    """What a training report says, in our columns."""

    target: str
    """The target that its latencies are those of."""
    values: Mapping[str, Any]
    correction: str
    """What was corrected, in a sentence; empty: nothing."""


def target_of(report: Mapping[str, Any]) -> str:
    """The target whose steps count; empty where the report is of no training."""
    return next((name for name in TARGETS if (report.get(name) or {}).get("latency")), "")


def read(config: Mapping[str, Any], report: Mapping[str, Any]) -> Training:
    """Columns of a training, beside those of any report.

    Raises:
        ValueError: the configuration lacks the batch, by which samples/s are computed.
    """
    target = target_of(report)
    arguments = (config.get("scenario") or {}).get("training_arguments") or {}
    batch = arguments.get("per_device_train_batch_size")
    if not batch:
        raise ValueError(
            "its configuration has no per_device_train_batch_size: put benchmark_config.json beside"
        )
    accumulation = arguments.get("gradient_accumulation_steps") or 1
    launcher = config.get("launcher") or {}
    ranks = int(launcher.get("nproc_per_node") or 1) if launcher.get("name") == "torchrun" else 1
    step_items, mean_s = batch * accumulation * ranks, report[target]["latency"]["mean"]
    rate = step_items / mean_s
    printed = (report[target].get("throughput") or {}).get("value")
    values = {
        "scenario": "training",
        "batch_size": batch,
        "accumulation": accumulation,
        "data_parallel": ranks,
        "global_batch_size": step_items,
        "strategy": "ddp" if ranks > 1 else None,
        "optimizer": next(
            (ours for name, ours in _OPTIMIZERS.items() if name in str(arguments.get("optim"))), None
        ),
        "learning_rate": arguments.get("learning_rate"),
        "checkpointing": arguments.get("gradient_checkpointing"),
        "fast_math": "all" if arguments.get("bf16") or arguments.get("fp16") else None,
        "sequence_length": ((config.get("scenario") or {}).get("dataset_shapes") or {}).get(
            "sequence_length"
        ),
        "throughput_per_s": rate,
        "throughput_unit": "items",
    }
    return Training(target, values, _correction(printed, rate, step_items, mean_s))


def _correction(printed: float | None, rate: float, step_items: int, mean_s: float) -> str:
    if printed is None or abs(printed / rate - 1) <= _AGREES:
        return ""
    return (
        f"it prints {printed:.6g} samples/s; a step of {step_items} samples takes {mean_s * 1e3:.4g} ms, "
        f"which is {rate:.6g} samples/s: the row has the latter, {printed / rate:.4g} times less"
    )

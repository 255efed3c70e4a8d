"""Latency of a call that answers items against a call of the same session as `scenario=throughput` makes it.

python tests/benchmarks/accuracy_throughput.py    half a minute. Both are called in turns, block by block.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmark.items import Item
from benchmark.labelled.exam import Asking
from benchmark.labelled.questions import Classes
from benchmark.models import networks
from benchmark.timing.harness import measure_calls, replace_inputs

BATCH, EDGE, BLOCKS = 8, 32, 20


class Pixels:
    """Images that are pixels already."""

    def arrays(self, items):
        return {"pixel_values": np.stack([item.content for item in items])}


def main():
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=192,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=768,
        image_size=EDGE,
        patch_size=4,
    )
    model = transformers.ViTForImageClassification(config).eval()
    inputs = (torch.zeros(BATCH, 3, EDGE, EDGE),)
    session = networks.reference_session(
        networks.Positional(model, ("pixel_values",), ("logits",)), inputs, 1
    )
    rng = np.random.default_rng(0)
    items = [Item(str(n), rng.normal(size=(3, EDGE, EDGE)).astype(np.float32), "a") for n in range(64)]
    questions = Classes(Pixels(), ("a", "b"), range(2), None)
    measure_calls(session.run, 20)
    ratios, every = [], ([], [])
    for turn in range(BLOCKS):
        with tempfile.TemporaryDirectory() as folder:
            asking = Asking(items, questions, BATCH, ("pixel_values",), Path(folder) / "blocks")

            def plain():
                return measure_calls(session.run, 8)

            def answered(asking=asking):
                asking.ask(session, replace_inputs)
                return asking.times()[0]

            both = [plain(), answered()] if turn % 2 else [answered(), plain()][::-1]
            ratios.append(np.median(both[1]) / np.median(both[0]))
            for kept, found in zip(every, both, strict=True):
                kept.extend(found)
    plain_ms, answered_ms = (np.median(one) / 1e6 for one in every)
    half = 1.96 * np.std(np.log(ratios), ddof=1) / np.sqrt(BLOCKS)
    print(f"median call: {plain_ms:.2f} ms as timed elsewhere, {answered_ms:.2f} ms answering items")
    middle, mean = np.exp(np.median(np.log(ratios))), np.exp(np.mean(np.log(ratios)))
    print(f"ratio {middle:.3f} (median of {BLOCKS} turns; mean {mean:.3f}, times or over {np.exp(half):.3f})")


if __name__ == "__main__":
    main()

"""What a person would write: load the model, warm up, time calls with perf_counter_ns. Prints p50 in ms.

python hand_loop.py MODEL_YAML BATCH SEQ_LEN CALLS THREADS
"""

import statistics
import sys
import time
from pathlib import Path

import torch
import transformers
import yaml

WARMUP_S = 0.5


def main() -> None:
    described = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    batch, length, calls, threads = map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    architecture = dict(described["architecture"])
    config = transformers.AutoConfig.for_model(architecture.pop("model_type"), **architecture)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    words = torch.randint(5, architecture["vocab_size"], (batch, length))
    mask = torch.ones(batch, length, dtype=torch.int64)
    with torch.inference_mode():
        until = time.perf_counter() + WARMUP_S
        while time.perf_counter() < until:
            model(input_ids=words, attention_mask=mask)
        took = []
        for _ in range(calls):
            start = time.perf_counter_ns()
            model(input_ids=words, attention_mask=mask)
            took.append(time.perf_counter_ns() - start)
    print(statistics.median(took) / 1e6)


if __name__ == "__main__":
    main()

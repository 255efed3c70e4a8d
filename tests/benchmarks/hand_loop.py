"""What a person would write: load the model, warm up, time calls with perf_counter_ns. Prints p50 in ms.

python hand_loop.py WEIGHTS_FOLDER BATCH SEQ_LEN CALLS THREADS
"""

import statistics
import sys
import time

import torch
import transformers

WARMUP_S = 0.5


def main() -> None:
    folder, (batch, length, calls, threads) = sys.argv[1], map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    words = torch.randint(5, model.config.vocab_size, (batch, length))
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

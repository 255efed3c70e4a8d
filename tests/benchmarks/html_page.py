"""How large the HTML file gets, and how long it takes: `python -m tests.benchmarks.html_page`.

Twenty columns as reports show them; ten are figures that share nothing, the hardest to compress.
"""

from __future__ import annotations

import time

import numpy as np

from benchmark.report.files import html_page
from tests.report.render import sample

NUMBERS = (100, 1_000, 10_000, 100_000)
COLUMNS = (
    "p50_ms",
    "p99_ms",
    "p95_lo_ms",
    "p95_hi_ms",
    "throughput_per_s",
    "usd_per_1m",
    "compile_s",
    "load_s",
    "watts",
)


def rows(number):
    frame = sample.all_rows(number)
    chance = np.random.default_rng(1)
    for name in COLUMNS:
        frame[name] = chance.lognormal(2, 1, number)
    return frame.assign(compiler=chance.choice(["torchscript", "inductor", "neuronx"], number))


def main():
    html_page(sample.document())  # Vega is bundled once a process
    for number in NUMBERS:
        document = sample.document(rows(number))
        start = time.perf_counter()
        page = html_page(document)
        took = time.perf_counter() - start
        megabytes = len(page.encode()) / 1e6
        print(f"{number:>7} rows x {document.rows.shape[1]} columns: {megabytes:.2f} MB in {took:.1f} s")


if __name__ == "__main__":
    main()

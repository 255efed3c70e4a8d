"""A document as reports have them, of invented figures: each kind of chart, origins mixed, hostile texts."""

from __future__ import annotations

import math
import random
from datetime import date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from benchmark.report.charts import completed
from benchmark.report.document import Document, Field, Head, Section, Span, Table

SCRIPT = "<script>alert(1)</script>"
"""A hostile model name."""
ANSI_ERROR = (
    "\x1b[31mError\x1b[0m: **NCC_EVRF001** `aten::x` | [click](javascript:alert(1)) @octocat\x07\n# heading\n"
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07 <img src=x onerror=alert(1)> "
    "$\\input{/etc/passwd}$ %_&#~^"
)
"""A hostile error."""
VEGA = yaml.safe_load((Path(__file__).parent / "charts.yaml").read_text(encoding="utf-8"))
HARDWARE = {"cpu (this host)": "measured", "inf1.2xlarge": "published", "inf2.xlarge": "published"}
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
_SPEED = {"cpu (this host)": 12.0, "inf1.2xlarge": 3.4, "inf2.xlarge": 0.6, "g5.xlarge": 1.9}


def measured(value, text, **more):
    return Field(text=text, value=value, origin="measured", **more)


def latency_table(name="bert_p95", model="BERT"):
    heads = (
        Head(text="Sequence Length", figures=True),
        Head(text="CPU (this host)", figures=True, origin="measured"),
        Head(text="Inf1 (inf1.2xlarge)", figures=True, origin="published"),
        Head(text="Inf2 (inf2.xlarge)", figures=True, origin="published"),
        Head(text="simulated", figures=True, origin="simulated"),
    )
    lines = []
    for length in LENGTHS:
        ms = {hardware: speed * (1 + length / 60) for hardware, speed in _SPEED.items()}
        inf1 = (
            Field(text="compile_error", word=True, origin="published")
            if length == 512
            else Field(text=f"{ms['inf1.2xlarge']:.1f}ms", value=ms["inf1.2xlarge"], origin="published")
        )
        inf2 = Field(
            text=f"{ms['inf2.xlarge']:.1f}ms", value=ms["inf2.xlarge"], origin="published", best=True
        )
        lines.append(
            (
                Field(text=str(length), value=length),
                measured(ms["cpu (this host)"], f"{ms['cpu (this host)']:.1f}ms", run_ids=("9f3c",)),
                inf1,
                inf2,
                Field(text="2.0ms", value=2.0, origin="simulated"),
            )
        )
    return Table(
        name=name,
        caption=f"{model}: p95 latency of one call by sequence length",
        heads=heads,
        lines=tuple(lines),
        notes=("p95 of at least 200 calls, batch 1.", "On-demand prices, us-east-1, 2026-07-20."),
    )


def cost_table():
    heads = (
        Head(text="Model"),
        Head(text="Hardware"),
        Head(text="Throughput (inferences/s)", figures=True),
        Head(text="US$ per 1M", figures=True),
    )
    message = [
        ("ViT", "inf1.2xlarge", 536.718, 0.187, "published"),
        ("ViT", "g5.xlarge", 376.5, 0.743, "published"),
        ("ViT", "cpu (this host)", 41.2, 2.41, "measured"),
        (SCRIPT, "cpu (this host)", 39.0, 2.55, "measured"),
    ]
    lines = tuple(
        (
            Field(text=model),
            Field(text=hardware),
            Field(text=f"{rate:,.1f}", value=rate, origin=origin),
            Field(text=f"${usd:.3f}", value=usd, origin=origin, best=usd == 0.187),
        )
        for model, hardware, rate, usd, origin in message
    )
    return Table(name="vision_cost", caption="Cost, cheapest first", heads=heads, lines=lines)


def chart(name, title, alt, rows):
    return completed(name, title, alt, VEGA[name], rows)


@cache
def by_length():
    rows = [
        {
            "sequence_length": length,
            "p95_ms": _SPEED[hardware] * (1 + length / 60),
            "hardware": hardware,
            "origin": origin,
        }
        for hardware, origin in HARDWARE.items()
        for length in LENGTHS
    ]
    rows[-1]["p95_ms"] = None
    return chart(
        "latency_by_length",
        "BERT: p95 latency by sequence length",
        "Lines of p95 latency over sequence length, one for each of 3 kinds of hardware.",
        rows,
    )


@cache
def bands():
    rows = []
    for model, heavier in (("BERT", 1.0), ("ViT", 2.2), ("BEiT", 2.4)):
        for hardware in HARDWARE:
            for batch in BATCHES:
                p50 = _SPEED[hardware] * heavier * (0.4 + batch * 0.6)
                rows.append(
                    {
                        "model": model,
                        "hardware": hardware,
                        "batch_size": batch,
                        "p50_ms": p50,
                        "p95_ms": p50 * 1.4,
                        "unused": "x",
                    }
                )
    return chart(
        "latency_band",
        "Latency by batch size, p50 to p95",
        "Bands from p50 to p95 latency over batch size, a panel for each of 3 models.",
        rows,
    )


@cache
def pareto():
    rows = []
    for hardware, speed in _SPEED.items():
        for batch in BATCHES:
            ms = speed * (0.4 + batch * 0.6)
            rows.append(
                {
                    "model": "BERT",
                    "hardware": hardware,
                    "batch_size": batch,
                    "p95_ms": ms,
                    "throughput": 1000 * batch / ms,
                    "origin": HARDWARE.get(hardware, "simulated"),
                }
            )
    rows.sort(key=lambda row: (row["p95_ms"], -row["throughput"]))
    most = 0
    for row in rows:
        row["pareto"] = row["throughput"] > most
        most = max(most, row["throughput"])
    return chart(
        "throughput_vs_latency",
        "Throughput against p95 latency, with the Pareto front",
        "Points of throughput over p95 latency by hardware; a dashed line joins those that no other beats.",
        rows,
    )


@cache
def costs():
    rows = [
        {"model": model, "hardware": hardware, "usd_per_1m": usd * heavier, "origin": origin}
        for model, heavier in (("ViT", 1), ("BERT", 0.6))
        for hardware, usd, origin in (
            ("inf1.2xlarge", 0.187, "published"),
            ("g5.xlarge", 0.743, "published"),
            ("cpu (this host)", 2.41, "measured"),
            ("simulated", 1.1, "simulated"),
        )
    ]
    return chart("cost_bars", "Cost per million inferences", "Bars of cost by hardware for 2 models.", rows)


@cache
def heat():
    words = {(64, 512): "OOM", (32, 512): "OOM", (64, 256): "TO", (1, 8): "CE"}
    rows = []
    for batch in BATCHES:
        for length in LENGTHS:
            rate = 4000 * batch**0.4 / (1 + length / 40)
            word = words.get((batch, length))
            rows.append(
                {
                    "batch_size": batch,
                    "sequence_length": length,
                    "throughput": None if word else rate,
                    "shown": word or f"{rate:.0f}",
                }
            )
    return chart(
        "heat_map",
        "Throughput by batch size and sequence length",
        "A grid of throughput figures; 4 cells show why they have none: OOM, TO, CE.",
        rows,
    )


@cache
def ecdf():
    chance = random.Random(1)  # noqa: S311 - invented figures
    rows = []
    for hardware in ("cpu (this host)", "inf2.xlarge"):
        samples = sorted(chance.gauss(10, 0.4) + (2 if chance.random() < 0.2 else 0) for _ in range(200))
        if hardware != "cpu (this host)":
            samples = [ms * 0.8 for ms in samples]
        rows += [
            {"hardware": hardware, "latency_ms": ms, "share": (n + 1) / 200} for n, ms in enumerate(samples)
        ]
    return chart(
        "latency_ecdf", "How latency is spread", "Share of calls over latency; both have two modes.", rows
    )


@cache
def nights():
    rows = []
    for n in range(30):
        ms = 10 + 0.2 * math.sin(n) + (1.5 if n >= 20 else 0)
        rows.append(
            {
                "night": date(2026, 10, 1) + timedelta(days=n),
                "p95_ms": ms,
                "low_ms": 9.6 + (1.5 if n >= 20 else 0),
                "high_ms": 10.4 + (1.5 if n >= 20 else 0),
                "sdk": "2.31" if n < 20 else "2.32",
                "changed": n == 20,
            }
        )
    return chart(
        "timeline", "30 nights of ViT on inf2.xlarge", "p95 by night; it steps up by 15 % on the 21st.", rows
    )


@cache
def cold_start():
    parts = {"load": 3.1, "compile": 61.0, "warm-up": 4.0, "measure": 20.0}
    rows = [
        {"cell": cell, "stage": stage, "seconds": seconds * heavier, "step": step}
        for cell, heavier in (("vit b1", 1), ("beit b1", 1.3))
        for step, (stage, seconds) in enumerate(parts.items())
    ]
    return chart("cold_start", "Where the time goes", "Stacked bars of seconds by stage for 2 cells.", rows)


@cache
def slope():
    rows = [
        {"model": model, "fast_math": how, "p95_ms": ms}
        for model, pair in (("ViT", (5.1, 3.0)), ("BEiT", (6.0, 3.6)))
        for how, ms in zip(("none", "all"), pair, strict=True)
    ]
    return chart(
        "fast_math_slope", "Fast math on and off", "Lines that fall from none to all for 2 models.", rows
    )


def all_rows(number=400):
    chance = random.Random(2)  # noqa: S311 - invented figures
    models = ["bert-base", "distilbert", "vit", "beit", SCRIPT]
    return pd.DataFrame(
        {
            "run_id": [f"{chance.getrandbits(64):016x}" for _ in range(number)],
            "model": [models[n % 5] for n in range(number)],
            "hardware": [[*_SPEED][n % 4] for n in range(number)],
            "batch_size": [BATCHES[n % 7] for n in range(number)],
            "sequence_length": pd.array(
                [LENGTHS[n % 7] if n % 5 < 2 else None for n in range(number)], "Int64"
            ),
            "p95_ms": [round(chance.lognormvariate(2, 1), 3) if n % 9 else None for n in range(number)],
            "status": ["ok" if n % 9 else "compile_error" for n in range(number)],
            "started_at": pd.to_datetime([1.76e9 + 60 * n for n in range(number)], unit="s", utc=True),
            "error": [None if n % 9 else ANSI_ERROR for n in range(number)],
            "origin": [("measured", "published", "simulated")[n % 3] for n in range(number)],
        }
    )


def words_table(name, caption, heads, *lines):
    return Table(
        name=name,
        caption=caption,
        heads=tuple(Head(text=head) for head in heads),
        lines=tuple(tuple(Field(text=text) for text in line) for line in lines),
    )


def document(rows=None):
    return Document(
        name="sample",
        title="Encoders on CPU, Inferentia and Inferentia2",
        made_at=datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc),
        intro=(
            "p95 latency and cost of 5 models: columns measured here beside figures published by others.",
        ),
        findings=(
            "ViT: inf1.2xlarge costs 74 % less per 1M than g5.xlarge ($0.187 against $0.743, on-demand).",
            "Fast math is 1.71x faster; accuracy 76.87 against 76.92 %: no measurable difference (p = 0.85).",
            f"{SCRIPT} is the slowest.",
        ),
        warnings=("3 rows of inf9.xlarge have no price.", f"Left out: {SCRIPT}"),
        coverage=words_table(
            "coverage",
            "What became of what was asked",
            ("Hardware", "asked", "ok", "failed"),
            ("cpu (this host)", "12", "12", "0"),
            ("inf1.2xlarge", "12", "11", "1"),
        ),
        sections=(
            Section(
                title=(
                    Span(text="BERT", code=True),
                    Span(text="bert-base-uncased", link="https://huggingface.co/bert-base-uncased"),
                    Span(text="/ p95 latency"),
                ),
                sentences=("Inf2 is fastest at every length.",),
                tables=(latency_table(),),
                charts=(by_length(), bands()),
            ),
            Section(
                title=(Span(text=SCRIPT, code=True), Span(text="/ costs")), level=3, tables=(cost_table(),)
            ),
            Section(
                title=(Span(text="Throughput and cost"),),
                sentences=("Whoever needs throughput pays in latency.",),
                charts=(pareto(), costs(), heat()),
            ),
            Section(title=(Span(text="Spread and time"),), charts=(ecdf(), nights(), cold_start(), slope())),
        ),
        failures=words_table(
            "failures",
            "Why cells have no figures",
            ("Status", "Cells", "Reason", "Runs"),
            ("compile_error", "44", ANSI_ERROR, "9f3c, 1a2b"),
        ),
        provenance=words_table(
            "provenance",
            "What stands behind the figures",
            ("What", "Which"),
            ("commit", "abc1234"),
            ("prices", "on-demand, us-east-1, 2026-07-20"),
        ),
        reproduce=("python -m benchmark -m experiment=encoder_latency hardware=cpu", "make report"),
        rows=all_rows() if rows is None else rows,
    )

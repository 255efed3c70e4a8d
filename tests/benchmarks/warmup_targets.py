"""Warm-up detection against traces whose truth is known: what it accepts, what it refuses, how p50 is bent.

python tests/benchmarks/warmup_targets.py [--traces 3000] [--seed 0]

Targets: bias of p50 <= 1 %, drifting traces accepted <= 5 %, steady ones refused <= 5 %.

Half of the traces are steady, from the first call on or after a warm-up; they have 60 to 20,000 calls. One
can be judged if its steady part tells as much as 20 independent calls and its warm-up is within 1 % of its
end by half time. How visible a drift is stands in z: how far the medians of six blocks are apart (root of the
sum of squares) against the standard deviation of such a median without drift, wherever in the first 45 % of
the trace one starts. With z < 4 no test can tell; from 6 on it counts as drifting.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from benchmark.stats.steady_state import steady_start

Draw = Callable[[int], np.ndarray]
"""Rows of noise factors, each as long as the trace."""


class Noise(NamedTuple):
    """What varies from call to call."""

    draw: Draw
    calls_per_independent: float = 1.0
    tick: float = 0.0


class Path(NamedTuple):
    """The level of each call, and from which on it is within 1 % of the last."""

    level: np.ndarray
    start: int


def between(rng, low, high):
    """Any order of magnitude is as likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def iid(rng, n):
    deviation = between(rng, 0.01, 0.1)
    return Noise(lambda rows: np.exp(deviation * rng.normal(size=(rows, n))))


def autoregressive(rng, n):
    """On logarithms; in half of the traces with independent noise on top."""
    phi, deviation = 1 - between(rng, 0.02, 0.7), between(rng, 0.01, 0.1)
    share = rng.choice([0.0, rng.uniform(0.2, 0.8)])  # of the variance, which is independent

    def draw(rows):
        shocks = rng.normal(size=(rows, n + 500)) * np.sqrt(1 - phi**2)
        memory = lfilter([1], [1, -phi], shocks)[:, 500:]
        return np.exp(deviation * (np.sqrt(1 - share) * memory + np.sqrt(share) * rng.normal(size=(rows, n))))

    return Noise(draw, 1 + (1 - share) * 2 * phi / (1 - phi))


def gamma_tail(rng, n):
    shape, scale = rng.uniform(0.5, 2), between(rng, 0.01, 0.1)
    return Noise(lambda rows: 1 + scale * rng.gamma(shape, size=(rows, n)) / np.sqrt(shape))


def spikes(rng, n):
    """One call in a hundred takes 2 to 10 times as long; the others are autoregressive."""
    quiet = autoregressive(rng, n)

    def draw(rows):
        hit = rng.random((rows, n)) < 0.01
        return quiet.draw(rows) * np.where(hit, rng.uniform(2, 10, (rows, n)), 1)

    return Noise(draw, quiet.calls_per_independent)


def bimodal(rng, n):
    share, slower, deviation = rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.3), rng.uniform(0.01, 0.03)
    return Noise(
        lambda rows: (
            np.exp(deviation * rng.normal(size=(rows, n))) * (1 + slower * (rng.random((rows, n)) < share))
        )
    )


def switching(rng, n):
    """Two states with memory: a slow one, 5 to 30 % slower, comes and goes at least 40 times."""
    share, slower, deviation = rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.3), rng.uniform(0.01, 0.03)
    cycle = between(rng, 5, max(n / 40, 6))
    leave_fast, leave_slow = min(0.9, 1 / cycle / (1 - share)), min(0.9, 1 / cycle / share)

    def draw(rows):
        pairs = int(3 * n / cycle) + 50
        fast, slow = rng.geometric(leave_fast, (rows, pairs)), rng.geometric(leave_slow, (rows, pairs))
        stays = np.stack([fast, slow], -1).reshape(rows, -1)
        skipped = rng.integers(0, int(5 * cycle) + 1, rows)
        states = [
            np.repeat(np.arange(2 * pairs) % 2, stay)[skip:][:n]
            for stay, skip in zip(stays, skipped, strict=True)
        ]
        return np.exp(deviation * rng.normal(size=(rows, n))) * (1 + slower * np.array(states))

    return Noise(draw, (2 - leave_fast - leave_slow) / (leave_fast + leave_slow))


def periodic(rng, n):
    """A wave, or a disturbance of a tenth to three tenths of the period; at least twelve periods."""
    period, deviation = int(between(rng, 5, max(n / 12, 6))), rng.uniform(0.01, 0.03)
    share, slower = rng.choice([0.0, rng.uniform(0.1, 0.3)]), rng.uniform(0.05, 0.3)

    def draw(rows):
        phase = (np.arange(n) + rng.integers(0, period, (rows, 1))) / period % 1
        wave = phase < share if share else np.sin(2 * np.pi * phase) / 2
        return np.exp(deviation * rng.normal(size=(rows, n))) * (1 + slower * wave)

    return Noise(draw, period / 4)


def quantised(rng, n):
    """A clock that ticks every 1 to 5 % of a call."""
    tick, offset, deviation = rng.uniform(0.01, 0.05), rng.uniform(), between(rng, 0.005, 0.05)

    def draw(rows):
        return np.round(np.exp(deviation * rng.normal(size=(rows, n))) / tick + offset) * tick

    return Noise(draw, tick=tick)


NOISES = (iid, autoregressive, gamma_tail, spikes, bimodal, switching, periodic, quantised)


def no_warmup(_, n):
    return Path(np.ones(n), 0)


def decay(rng, n):
    """First call x1.2 to x5, time constant 1 to 30 % of the trace."""
    first, constant = between(rng, 1.2, 5), n * between(rng, 0.01, 0.3)
    level = 1 + (first - 1) * np.exp(-np.arange(n) / constant)
    return Path(level, int((level > 1.01).sum()))


def tiers(rng, n):
    """One to three steps down within the first 45 % of the trace."""
    steps = rng.integers(1, 4)
    ends = np.sort(rng.uniform(0.01, 0.45, steps) * n).astype(int)
    levels = np.sort(np.exp(rng.uniform(np.log(1.1), np.log(5), steps)))[::-1]
    which = np.searchsorted(ends, np.arange(n), side="right")
    return Path(np.append(levels, 1.0)[which], int(ends[-1]))


def linear(rng, n):
    return Path(1 + between(rng, 0.05, 0.5) * np.arange(n) / n, n)


def ramp(rng, n):
    """Flat for 20 to 60 % of the trace, then a linear drift."""
    part, flat = np.arange(n) / n, rng.uniform(0.2, 0.6)
    return Path(1 + between(rng, 0.05, 0.5) * np.maximum(part - flat, 0) / (1 - flat), n)


def late_step(rng, n):
    return Path(1 + between(rng, 0.05, 0.3) * (np.arange(n) >= rng.uniform(0.5, 0.8) * n), n)


def endless_decay(rng, n):
    """Time constant half of the trace to twice the trace."""
    return Path(1 + between(rng, 0.1, 1) * np.exp(-np.arange(n) / rng.uniform(0.5, 2) / n), n)


def random_walk(rng, n):
    return Path(np.exp(np.cumsum(rng.normal(size=n)) * between(rng, 0.05, 0.3) / np.sqrt(n)), n)


def decay_and_drift(rng, n):
    return Path(decay(rng, n).level * linear(rng, n).level, n)


STEADY = (no_warmup, decay, tiers)
DRIFTING = (linear, ramp, late_step, endless_decay, random_walk, decay_and_drift)


def block_medians(values):
    return np.median(values[..., : values.shape[-1] // 6 * 6].reshape(*values.shape[:-1], 6, -1), -1)


def visibility(level, noises, tick):
    """z of the docstring above."""
    logs = np.log(block_medians(noises))
    deviation = max(logs.std(1, ddof=1).mean(), tick / np.sqrt(12))
    n = len(level)
    apart = [
        np.log(block_medians(level[int(n * begun) :])).std() * np.sqrt(6 * (1 - begun))
        for begun in (0, 0.1, 0.2, 0.3, 0.4, 0.45)
    ]
    return min(apart) / deviation


def judged(rng) -> dict:
    """One trace: what it is and what was made of it."""
    n = int(between(rng, 60, 20_000))
    make_noise = NOISES[rng.integers(len(NOISES))]
    kinds = STEADY if rng.random() < 0.5 else DRIFTING
    make_path = kinds[rng.integers(len(kinds))]
    noise, path = make_noise(rng, n), make_path(rng, n)
    samples, *others = noise.draw(25 if n < 3000 else 13)
    samples = samples * path.level
    began = time.perf_counter()
    start = steady_start(samples)
    message = {
        "ms": 1e3 * (time.perf_counter() - began),
        "noise": make_noise.__name__,
        "path": make_path.__name__,
        "calls": n,
        "refused": start is None,
        "independent": (n - path.start) / noise.calls_per_independent,
        "warm-up": path.start / n,
        "z": visibility(path.level, np.array(others), noise.tick) if kinds is DRIFTING else 0.0,
    }
    if start is not None and path.start < n:
        found = np.median(samples[start:])
        message["bias %"] = 100 * (found / np.median(others) - 1)
        message["own bias %"] = 100 * (found / np.median(samples[path.start :]) - 1)
    return message


def summary(rows: pd.DataFrame, parts: dict[str, pd.Series]) -> pd.DataFrame:
    """Bias against the truth is that of the detector and of chance, own bias against the same trace from the
    true start that of the detector alone.
    """
    message = {}
    for name, part in parts.items():
        own = rows.loc[part, "own bias %"].dropna().abs()
        message[name] = {
            "traces": part.sum(),
            "refused": rows.loc[part, "refused"].mean(),
            "accepted": 1 - rows.loc[part, "refused"].mean(),
            "mean bias %": rows.loc[part, "bias %"].mean(),
            "mean |own bias| %": own.mean(),
            "share of |own bias| > 1 %": (own > 1).mean(),
        }
    return pd.DataFrame(message).T


def tables(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What to print."""
    steady = rows["path"].isin([kind.__name__ for kind in STEADY])
    ends = steady & (rows["warm-up"] <= 0.5)
    known = ends & (rows["independent"] >= 20)
    seen = rows["z"] >= 6
    yield summary(
        rows,
        {
            "steady": known,
            "steady, tells less than 20 calls": ends & ~known,
            "warm-up ends after half time": steady & ~ends,
            "drifting": seen,
            "drift hard to see, z 4 to 6": (rows["z"] >= 4) & ~seen,
            "drift below the noise, z < 4": ~steady & (rows["z"] < 4),
        },
    )
    calls = pd.cut(rows["calls"], [0, 200, 1000, 5000, 20_000])
    size = pd.cut(rows["z"], [6, 9, 20, 50, np.inf])
    for name, part, keys in (
        ("steady", known, [rows["noise"], rows["path"], calls]),
        ("drifting", seen, [size, rows["noise"], rows["path"], calls]),
    ):
        for key in keys:
            table = rows[part].groupby(key[part], observed=True)["refused"].agg(["count", "mean"])
            yield table.set_axis(["traces", "refused"], axis=1).rename_axis(f"{name} by {key.name}")
    taken = rows.groupby(calls, observed=True)["ms"]
    yield pd.DataFrame({f"{q:.0%}": taken.quantile(q) for q in (0.5, 0.95)}).rename_axis("ms by calls")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--traces", type=int, default=3000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    rng = np.random.default_rng(chosen.seed)
    rows = pd.DataFrame([judged(rng) for _ in range(chosen.traces)])
    for table in tables(rows):
        print(table.round(3).to_string(), end="\n\n")


if __name__ == "__main__":
    main()

"""How often intervals, stopping and verdicts are right, on series whose truth is known; asserts nothing.

python tests/benchmarks/interval_targets.py --times 200 --seed 0

Series: lognormal and gamma latencies with memories from none to a hundred calls, two speeds with random
switches, spikes. A case is adequate with 100 independent calls and as many as its percentile needs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import optimize, signal, stats

from benchmark.stats.intervals import estimate_groups, intervals, run_until, samples_needed
from benchmark.stats.ratio_test import compare

QS = (0.5, 0.9, 0.95, 0.99)
ADEQUATE = 100


class Kind(NamedTuple):
    """A kind of series: how to draw n calls, the truth, and after how many calls it forgets."""

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    truth: Callable[[float], float]
    memory: float


def remembering(rng, n, phi):
    shocks = rng.standard_normal(n) * math.sqrt(1 - phi * phi)
    shocks[0] = rng.standard_normal()
    return signal.lfilter([1], [1, -phi], shocks)


def switching(rng, n, often, back, slow):
    """Two speeds: from fast to slow with probability `often` a call, and `back`."""
    slow_first = rng.random() < often / (often + back)
    states = (np.arange(n) + slow_first) % 2
    slowed = np.repeat(states, rng.geometric(np.where(states, back, often)))[:n]
    return np.exp(0.02 * rng.standard_normal(n)) * np.where(slowed, slow, 1.0)


def mixture(q, share, slow):
    def excess(x):
        fast, late = stats.norm.cdf(np.log([x, x / slow]) / 0.02)
        return (1 - share) * fast + share * late - q

    return optimize.brentq(excess, 0.5, 5)


def spiky(rng, n, phi):
    calm = np.exp(0.03 * remembering(rng, n, phi))
    return np.where(rng.random(n) < 0.02, calm * rng.uniform(2, 5, n), calm)


def kinds() -> Iterator[Kind]:
    for phi in (0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98):
        memory = (1 + phi) / (1 - phi)
        yield Kind(
            f"lognormal, phi {phi}",
            lambda rng, n, phi=phi: np.exp(0.05 * remembering(rng, n, phi)),
            lambda q: math.exp(0.05 * stats.norm.ppf(q)),
            memory,
        )
        if phi in {0, 0.6, 0.9}:
            yield Kind(
                f"gamma, phi {phi}",
                lambda rng, n, phi=phi: (
                    1 + 0.1 * stats.gamma.ppf(stats.norm.cdf(remembering(rng, n, phi)), 0.5)
                ),
                lambda q: 1 + 0.1 * stats.gamma.ppf(q, 0.5),
                memory,
            )
            long = spiky(np.random.default_rng(1), 2_000_000, phi)
            yield Kind(
                f"spikes, phi {phi}",
                lambda rng, n, phi=phi: spiky(rng, n, phi),
                lambda q, long=long: float(np.quantile(long, q)),
                memory,
            )
    for often, back, slow in ((0.02, 0.08, 1.1), (0.1, 0.3, 1.3)):
        yield Kind(
            f"two speeds, {often} {back} x{slow}",
            lambda rng, n, often=often, back=back, slow=slow: switching(rng, n, often, back, slow),
            lambda q, share=often / (often + back), slow=slow: mixture(q, share, slow),
            1 + 2 * (1 - often - back) / (often + back),
        )


def one_process(rng, times):
    """Coverage and refusals of `estimate`."""
    covered, refused = [], []
    for kind in kinds():
        for n in (100, 200, 400, 1000, 4000):
            if n / kind.memory < ADEQUATE:
                continue
            qs = [q for q in QS if n >= samples_needed(q)]
            found = np.array([intervals(kind.draw(rng, n), qs) for _ in range(times)])
            for place, q in enumerate(qs):
                lo, hi = found[:, place, 1], found[:, place, 2]
                message = ~np.isnan(lo)
                refused.append(1 - message.mean())
                if message.mean() > 0.2:
                    right = (lo <= kind.truth(q)) & (kind.truth(q) <= hi)
                    covered.append((right[message].mean(), f"{kind.name}, n {n}, p{100 * q:g}"))
    message = f"refused {np.mean(refused):.3f} on average"
    summary("1  one process, 95 % intervals", covered, message)


def several_processes(rng, times):
    covered = []
    for kind in kinds():
        for processes in (3, 5, 8):
            for n in (200, 500):
                if n / kind.memory < 20:
                    continue
                for spread in (0.005, 0.03):
                    for q in (0.5, 0.95):
                        right = message = 0
                        for _ in range(times):
                            groups = [
                                math.exp(spread * rng.standard_normal()) * kind.draw(rng, n)
                                for _ in range(processes)
                            ]
                            _, lo, hi = estimate_groups(groups, q)
                            message += not math.isnan(lo)
                            right += lo <= kind.truth(q) <= hi
                        if message > 0.2 * times:
                            case = f"{kind.name}, {processes} x {n}, spread {spread}, p{100 * q:g}"
                            covered.append((right / message, case))
    summary("1  several processes, 95 % intervals", covered, "")


def stopping(rng, times):
    covered = []
    for kind in kinds():
        for q, rel in ((0.5, 0.005), (0.5, 0.02), (0.9, 0.02), (0.95, 0.02), (0.99, 0.05)):
            right = reached = 0
            for _ in range(times):
                series, drawn = kind.draw(rng, 20_000), [0]

                def draw(k, series=series, drawn=drawn):
                    drawn[0] += k
                    return series[drawn[0] - k : drawn[0]]

                _, lo, hi, _, enough = run_until(draw, q, rel, max_n=20_000)
                reached += enough
                right += enough and lo <= kind.truth(q) <= hi
            if reached > 0.3 * times:
                covered.append((right / reached, f"{kind.name}, p{100 * q:g} to {rel:.1%}"))
    summary("2  stopped when narrow enough", covered, "")


def verdicts(rng, times):
    for rounds in (8, 12):
        for drift in (0.0, 0.3):
            said = {1.0: [], 1.05: []}
            for effect, message in said.items():
                for _ in range(times):
                    host = np.exp(0.15 * rng.standard_normal(rounds))
                    trend = np.exp(np.linspace(0, 1, 200)[None] * drift * rng.standard_normal((rounds, 1)))
                    sides = [
                        10
                        * scale
                        * (host * np.exp(0.02 * rng.standard_normal(rounds)))[:, None]
                        * trend
                        * np.exp(0.03 * np.array([remembering(rng, 200, 0.7) for _ in range(rounds)]))
                        for scale in (1.0, effect)
                    ]
                    message.append(compare(*sides))
            alarms = np.mean([verdict in {"regression", "improvement"} for verdict in said[1.0]])
            found = np.mean([verdict == "regression" for verdict in said[1.05]])
            print(
                f"3  in turns, {rounds:2} rounds, drift {drift}: A/A alarms {alarms:.4f}, +5 % {found:.3f}",
                flush=True,
            )


def summary(name, covered, more):
    rates = np.array([rate for rate, _ in covered])
    worst = ", ".join(f"{rate:.3f} ({case})" for rate, case in sorted(covered)[:3])
    print(f"{name}: {len(rates)} cases, mean {rates.mean():.4f}, worst {worst}; {more}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200, help="series a case")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for part in (one_process, several_processes, stopping, verdicts):
        since = time.perf_counter()
        part(np.random.default_rng(asked.seed), asked.times)
        print(f"   {time.perf_counter() - since:.0f} s", flush=True)


if __name__ == "__main__":
    main()
